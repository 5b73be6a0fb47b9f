import json
from dataclasses import replace

import pandas
import pytest
import torch

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_checks import recipe_faults, refuse
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.modeling_ser_meta import SerMetaModel
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages

CENTRED = [
    "model.standardize_states=true",
    "model.center_by=[speaker]",
    "data.speed_factors=[1.0]",
    *(f"stages.{stage}.{key}" for stage in ("metadata", "emotion") for key in ("freeze_layers=all", "epochs=1")),
]


@pytest.fixture(scope="module")
def recipe(recipe_file, steady_settings):
    return load_recipe(str(recipe_file), [*steady_settings, *CENTRED])


@pytest.fixture(scope="module")
def centred_run(recipe, tmp_path_factory):
    """The folder of a run whose states are centred by speaker; to be read only."""
    folder = tmp_path_factory.mktemp("centred") / "run"
    run_stages(recipe, folder)
    return folder


def collator_of(prepared, model):
    return prepared.build_collator(model, prepared.recipe.stages["emotion"])


def states_of(model, collator, row) -> torch.Tensor:
    """`(layers, frames, width)` of one utterance."""
    batch = collator([row])
    with torch.no_grad():
        encoded = model.eval().encode(batch["input_values"], attention_mask=batch["attention_mask"])
    return torch.stack(encoded.hidden_states)[:, 0]


def test_a_speakers_mean_is_that_of_all_frames_on_either_side(recipe):
    prepared = prepare(recipe)
    model = prepared.new_model()
    collator = collator_of(prepared, model)
    for speaker in ("anna", "finn"):  # one to learn from, one to be tested on
        rows = [row for row in prepared.dataset if row["speaker"] == speaker]
        frames = torch.cat([states_of(model, collator, row) for row in rows], dim=1)
        torch.testing.assert_close(prepared.means[speaker,], frames.mean(dim=1), atol=1e-5, rtol=1e-5)


def test_a_batch_has_the_mean_of_each_ones_group(recipe):
    prepared = prepare(replace(recipe, model=replace(recipe.model, center_by=["speaker", "gender"])))
    rows = [row for row in prepared.dataset if row["gender"] is not None]
    prepared.dataset = prepared.dataset.filter(lambda row: row["gender"] is not None)
    batch = collator_of(prepared, prepared.new_model())([rows[0], rows[-1]])
    expected = [prepared.means[row["speaker"], row["gender"]] for row in (rows[0], rows[-1])]
    assert torch.equal(batch["state_means"], torch.stack(expected))


def test_kept_states_have_the_same_means(recipe, tmp_path):
    plain, cached = prepare(recipe), prepare(replace(recipe, cache=str(tmp_path)))
    for prepared in (plain, cached):
        collator_of(prepared, prepared.new_model())
    for group, mean in plain.means.items():
        torch.testing.assert_close(cached.means[group], mean, atol=1e-3, rtol=1e-3)  # kept in half precision


def test_a_recording_is_centred_by_its_own_mean(centred_run):
    model = SerMetaModel.from_pretrained(centred_run / "model").eval()
    samples, means = torch.randn(2, 8_000), torch.randn(2, 6, 32)
    together = model(samples, state_means=means).logits
    for row in range(2):
        model.standardization.mean.copy_(means[row])
        torch.testing.assert_close(together[row], model(samples[row : row + 1]).logits[0], atol=1e-5, rtol=1e-5)


def test_judging_again_gives_the_runs_own_report_and_says_how(command_line, centred_run, speech_table):
    judge = ["evaluate", centred_run / "model", "table", speech_table, "--split", centred_run / "split.json", "--json"]
    code, printed, _ = command_line(*judge)
    report, expected = json.loads(printed), json.loads((centred_run / "report.json").read_text())
    judged, before = (found["metrics"]["emotion"] for found in (report, expected))
    assert code == 0
    # the means are of other batches, which differ in the last bit
    assert judged.pop("calibration")["ece"] == pytest.approx(before.pop("calibration")["ece"], abs=1e-6)
    assert judged.pop("familiar")["median"] == pytest.approx(before.pop("familiar")["median"], abs=1e-3)
    for found in (judged, before):  # its points are cut at scores, which differ alike
        found.pop("risk_and_coverage")
    assert judged == before
    assert report["protocol"]["states_centred_by"] == expected["protocol"]["states_centred_by"]
    assert expected["protocol"]["states_centred_by"].startswith("speaker, ")


def test_an_adapted_model_hears_a_speaker_as_the_test_did(command_line, refused, centred_run, speech_table, tmp_path):
    adapted, pattern = tmp_path / "finn", speech_table.parent / "finn-*.wav"
    adapt = ["adapt", centred_run / "model", pattern, "--output", adapted]
    code, printed, _ = command_line(*adapt, "--json")
    assert code == 0 and json.loads(printed)["recordings"] == 6
    assert not (adapted / "README.md").exists()  # its figures are not this model's
    code, printed, _ = command_line("predict", adapted, pattern, "--json")
    tested = pandas.read_parquet(centred_run / "predictions.parquet").set_index("utterance_id")
    for line in printed.splitlines():
        result = json.loads(line)
        name = result["file"].rpartition("/")[2]
        (row,) = [row for utterance, row in tested.iterrows() if utterance in name or name in utterance]
        assert max(row["emotion_scores"]) == pytest.approx(result["emotion"][0]["score"], abs=1e-4)
        assert row["emotion_predicted"] == result["emotion"][0]["label"]
    refused(adapt, adapted, "choose a new folder")
    refused(["adapt", adapted, pattern, "--output", tmp_path / "again"], "model.center_by=[speaker]")


def test_card_and_prediction_say_what_a_new_voice_needs(command_line, centred_run, finished_run, speech_table):
    recording = speech_table.parent / "finn-sad-scripted.wav"
    for run, needed in ((centred_run, True), (finished_run, False)):
        _, _, errors = command_line("predict", run / "model", recording)
        card = (run / "model" / "README.md").read_text(encoding="utf-8")
        assert any("ser-meta adapt" in line for line in errors) == ("ser-meta adapt" in card) == needed


def test_what_cannot_be_centred_is_refused(recipe):
    stages = {**recipe.stages, "emotion": replace(recipe.stages["emotion"], freeze_layers="third")}
    with pytest.raises(UserError, match=r"set stages\.emotion\.freeze_layers=all"):
        refuse(recipe_faults(replace(recipe, stages=stages)))
    for settings, reason in (
        ({"center_by": ["emotion"]}, "would give it away"),
        ({"standardize_states": False}, "needs standardize_states=true"),
    ):
        with pytest.raises(UserError, match=reason):
            prepare(replace(recipe, model=replace(recipe.model, **settings))).new_model()
    for column, reason in (("style", r"utterance .* has no style"), ("mood", "the corpus has no mood")):
        prepared = prepare(replace(recipe, model=replace(recipe.model, center_by=[column])))
        with pytest.raises(UserError, match=f"center_by: {reason}"):
            collator_of(prepared, prepared.new_model())
