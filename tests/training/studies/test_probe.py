"""A linear probe of an encoder's layers: `ser-meta probe`."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from transformers import Wav2Vec2Model

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.studies.probe import centred, embed, layer_sets, lowest_layers, probe, probe_layers, suggest

ALONE = [f"layer {layer}" for layer in range(1, 7)]
TOGETHER = [*(f"lowest {count} layers" for count in range(2, 6)), "all layers", "all layers, mean and deviation"]


def test_the_command_tells_what_each_layer_knows(command_line, recipe_file, tmp_path):
    states, output = tmp_path / "states", tmp_path / "probe"
    settings = [recipe_file, f"cache={states}", "cache_layers=false", "data.validation_fraction=0.5"]
    code, printed, _ = command_line("probe", *settings, "model.encoder_layers=2", "--output", output)
    report = json.loads((output / "report.json").read_text())
    assert code == 0 and [row["name"] for row in report["rows"]] == ALONE + TOGETHER
    told = {
        "corpus": "speech",
        "label_map": None,
        "left_out": {},
        "allow_speaker_overlap": False,
        "longest": None,
        "styles": "improvised, scripted",
        "searched": "nothing",
        "folds": ["anna+bela", "cleo+dora", "emil+finn"],
    }
    assert report["protocol"] == {
        **told,
        "judged_on": "validation sides",
        "validation": "speaker",
        "validation_fraction": 0.5,
    }
    suggested = report["suggested"]["encoder_layers"]
    assert f"suggested model.encoder_layers={suggested}" in printed and len(report["suggested"]["differences"]) == 6
    for row in report["rows"]:  # two of four speakers in each of three folds
        emotion = row["pooled"]["metrics"]["emotion"]
        assert emotion["n"] == 36 and f"{emotion['ua']:.1%}" in printed
    assert (output / "report.html").is_file() and (output / "plots" / "layers.png").stat().st_size > 10_000
    kept = {path.name for path in states.iterdir()}
    code, printed, _ = command_line("probe", *settings, "--side", "test", "--output", output, "--json")
    again = json.loads(printed)
    assert code == 0 and {path.name for path in states.iterdir()} == kept  # from the states that were kept
    assert again["protocol"] == told
    assert all(row["pooled"]["metrics"]["emotion"]["n"] == 36 for row in again["rows"])
    assert set(again["rows"][0]["pooled"]["slices"]["style"]) == {"improvised", "scripted"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "cache=null: name a folder that keeps the frozen encoder's states, as cache=FOLDER"),
        (["cache={states}", "--side", "train"], "layers are not judged on the side 'train'"),
        (["cache={states}", "--heard", "2"], "--heard 2 needs recordings that are centred"),
    ],
)
def test_what_cannot_be_probed_is_refused(words, message, command_line, recipe_file, tmp_path):
    words = [word.format(states=tmp_path / "states") for word in words]
    code, _, lines = command_line("probe", recipe_file, *words, "--output", tmp_path / "probe")
    assert code == 2 and message in lines[-1] and not list(tmp_path.iterdir())


def judged(right: dict[str, list[bool]]) -> pd.DataFrame:
    """Predictions of two classes, which are right or wrong by speaker and utterance."""
    rows = [
        {"utterance_id": f"{speaker}-{place}", "speaker": speaker, "emotion": "ab"[place % 2]}
        | {"emotion_predicted": "ab"[place % 2] if ok else "ba"[place % 2]}
        for speaker, of_speaker in right.items()
        for place, ok in enumerate(of_speaker)
    ]
    return pd.DataFrame(rows)


def test_the_fewest_layers_within_one_standard_error_of_the_best():
    names = lowest_layers(4)
    assert names == ["layer 1", "lowest 2 layers", "lowest 3 layers", "all layers"]
    speakers = [f"s{number}" for number in range(12)]
    right, one_wrong, two_wrong = [True] * 8, [False, *[True] * 7], [False, False, *[True] * 6]
    best = {**dict.fromkeys(speakers, right), "s0": one_wrong}
    nearly = {**dict.fromkeys(speakers, right), "s1": one_wrong, "s2": one_wrong}  # better for s0: perhaps by chance
    worse = dict.fromkeys(speakers, two_wrong)  # for every speaker
    tables = dict(zip(names, map(judged, (worse, nearly, best, worse)), strict=True))
    found = suggest(tables, names, "emotion")
    assert (found.encoder_layers, found.best) == (2, 3)
    assert [each["difference"] for each in found.differences] == pytest.approx([23 / 96, 1 / 96, 0, 23 / 96])
    few = {name: table[table["speaker"].isin(speakers[:3])] for name, table in tables.items()}
    assert suggest(few, names, "emotion").encoder_layers == 3  # no interval, and so no error


def test_layers_alone_and_together():
    assert list(layer_sets(6)) == ALONE + TOGETHER
    states, together = np.arange(6), [[0, 1], [0, 1, 2], [0, 1, 2, 3, 4, 5]]
    assert [list(states[layers]) for layers in layer_sets(3).values()] == [[0], [1], [2], *together]
    assert list(layer_sets(1)) == ["layer 1", *TOGETHER[-2:]] and lowest_layers(1) == ["all layers"]


def test_a_probe_reads_mean_and_deviation_of_each_layer(recipe_file, encoder_folder, speech_table, tmp_path):
    prepared = prepare(load_recipe(str(recipe_file), [f"cache={tmp_path}", "data.speed_factors=[1.0]"]))
    embeddings = embed(prepared)
    backbone, recording = Wav2Vec2Model.from_pretrained(encoder_folder).eval(), "emil-sad-scripted.wav"
    with torch.no_grad():
        samples = torch.tensor(soundfile.read(speech_table.parent / recording, dtype="float32")[0])
        states = backbone(samples[None], output_hidden_states=True).hidden_states[1:]
    row = list(prepared.dataset["utterance_id"]).index(recording)
    assert embeddings[row, :6] == pytest.approx(np.stack([state[0].mean(dim=0) for state in states]), abs=2e-3)
    deviations = [state[0].std(dim=0, correction=0) for state in states]
    assert embeddings[row, 6:] == pytest.approx(np.stack(deviations), abs=2e-3)


def test_it_is_judged_on_speakers_that_it_has_not_heard(recipe_file):
    recipe = load_recipe(str(recipe_file), ["data.validation=speaker", "data.validation_fraction=0.5"])
    folds = [prepare(replace(recipe, data=replace(recipe.data, test_fold={"place": place}))) for place in range(3)]
    speakers, emotions = (np.array(folds[0].dataset[name]) for name in ("speaker", "emotion"))
    telling = (emotions[:, None] == np.unique(emotions)).astype(float)
    voices = (speakers[:, None] == np.unique(speakers)).astype(float)  # tell the speaker and nothing else
    for side in ("validation", "test"):
        found = probe(telling, telling, folds, "emotion", side)
        assert len(found) == 36 and (found["emotion"] == found["emotion_predicted"]).all()
        found = probe(voices, voices, folds, "emotion", side)
        assert (found["emotion"] == found["emotion_predicted"]).mean() == pytest.approx(1 / 3)


def test_the_mean_of_a_speaker_or_of_some_recordings_is_taken_off(recipe_file, tmp_path):
    dataset = prepare(load_recipe(str(recipe_file))).dataset
    embeddings = np.random.default_rng(0).normal(size=(36, 6, 4))
    own = np.array(dataset["speaker"]) == "finn"
    assert centred(embeddings, dataset, [], None) is embeddings
    found = centred(embeddings, dataset, ["speaker"], None)
    assert found[own] == pytest.approx(embeddings[own] - embeddings[own].mean(axis=0))
    found = centred(embeddings, dataset, ["speaker"], 1)
    assert np.isclose(found[own], 0).all(axis=(1, 2)).sum() == 1  # the one that the others were centred by
    (first, *others) = np.flatnonzero(own)
    embeddings[others] = np.nan  # too long to be heard, and so never those that are drawn
    assert np.isclose(centred(embeddings, dataset, ["speaker"], 1)[first], 0).all()
    embeddings[own] = np.nan
    assert np.isnan(centred(embeddings, dataset, ["speaker"], 1)[own]).all()

    frozen = [f"stages.{stage}.freeze_layers=all" for stage in ("metadata", "emotion")]
    frozen += ["model.standardize_states=true", "model.center_by=[speaker]", f"cache={tmp_path}"]
    report = probe_layers(load_recipe(str(recipe_file), frozen), "test", heard=2)
    assert report.protocol.recordings_to_centre_by == 2


def test_a_label_that_is_not_learned_has_no_score_and_what_is_not_heard_no_row(recipe_file):
    prepared = prepare(load_recipe(str(recipe_file)))
    prepared.tasks["emotion"]["labels"] = ["afraid", *prepared.tasks["emotion"]["labels"]]
    embeddings = np.random.default_rng(0).normal(size=(len(prepared.dataset), 4)).astype(np.float32)
    whole = probe(embeddings, embeddings, [prepared], "emotion", "test")
    assert all(scores[0] == 0 and scores.sum() == pytest.approx(1) for scores in whole["emotion_scores"])
    embeddings[prepared.sides["test"][0]] = np.nan
    rest = probe(embeddings, embeddings, [prepared], "emotion", "test")
    pd.testing.assert_frame_equal(rest, whole.iloc[1:].reset_index(drop=True))


def test_what_is_too_long_to_be_heard_whole_is_left_out(recipe_file, speech_table, tmp_path, capfd):
    table = pd.read_csv(speech_table)
    last = len(table) - 1  # of the tested speaker
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(scale=0.1, size=16 * 16_000), 16_000)
    table["audio"] = [str(speech_table.parent / name) for name in table["audio"][:last]] + [str(tmp_path / "long.wav")]
    table.to_csv(tmp_path / "long.csv", index=False)
    settings = [
        f"data.root={tmp_path / 'long.csv'}",
        "data.options.allow_outside=true",
        f"cache={tmp_path / 'states'}",
    ]
    found = embed(prepare(load_recipe(str(recipe_file), settings)))
    assert np.isnan(found[last]).all() and np.isfinite(found[:last]).all()
    assert "left out: 1 recordings too long to be heard whole, such as" in capfd.readouterr().err
