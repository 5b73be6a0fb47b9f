import json

import numpy as np
import pandas
import pytest
import soundfile
import torch

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.report import read_report
from ser_meta.modeling_ser_meta import SerMetaModel, SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.familiarity_ser_meta import Familiarity
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.corpora import load_corpus
from ser_meta.training.measures.selective import risk_and_coverage
from ser_meta.training.runs.familiarity import _fitted, fit_familiarity
from ser_meta.training.runs.loading import load_model
from ser_meta.training.runs.preparation import prepare


@pytest.fixture(scope="module")
def recognise(finished_run):
    model, processor = load_model(finished_run / "model")
    return SpeechEmotionPipeline(model=model, processor=processor)


@pytest.fixture(scope="module")
def recordings(speech_table):
    return sorted(speech_table.parent.glob("*.wav"))


def test_distances_are_mahalanobis_where_all_components_are_kept():
    chance = np.random.default_rng(0)
    labels = np.array(["a", "b"] * 500)
    embeddings = (chance.normal(size=(1_000, 6)) @ chance.normal(size=(6, 6)) + (labels == "b")[:, None] * 5).astype(
        "f4"
    )
    found = _fitted(embeddings, labels)
    means = np.stack([embeddings[labels == name].mean(axis=0) for name in "ab"])
    centred = embeddings - means[(labels == "b").astype(int)]
    inverse = np.linalg.inv(centred.T @ centred / len(centred))
    apart = embeddings[:, None] - means
    expected = np.sqrt(np.einsum("nlw,wv,nlv->nl", apart, inverse, apart).min(axis=1))
    np.testing.assert_allclose(found.distances(torch.from_numpy(embeddings)), expected, rtol=0.05)


def test_familiar_is_the_share_of_held_out_recordings_that_lie_as_far():
    found = Familiarity(labels=1, width=1, rank=1)
    found.components.fill_(1)
    held_out = torch.linspace(0, 10, 101)
    found.held_out.copy_(held_out)
    told = found(torch.tensor([[0.0], [5.0], [9.5], [20.0], [200.0]]))
    torch.testing.assert_close(told[:3], torch.tensor([1.0, 0.505, 0.059]), atol=0.01, rtol=0)
    assert told[2] > told[3] > told[4] > 0


def test_a_run_tells_what_is_familiar_and_keeps_it(finished_run, recognise, recordings):
    report = read_report(finished_run / "report.json")
    assert report.familiarity.n == 24 and report.familiarity.fitted_on.startswith("training, each part")
    table = pandas.read_parquet(finished_run / "predictions.parquet").set_index("utterance_id")
    assert table["familiar"].between(0, 1).all()
    for path in recordings[:3] + recordings[-3:]:
        told = recognise(str(path), least_familiar=0)["familiar"]
        if path.stem in table.index:
            assert told == pytest.approx(table["familiar"][path.stem], abs=1e-3)
    card = (finished_run / "model" / "README.md").read_text()
    assert "### When it should not answer" in card and "risk.png" in card


def test_without_a_short_recording_on_the_validation_side_the_training_side_is_held_out(
    finished_run, recipe_file, tmp_path
):
    model, processor = load_model(finished_run / "model")
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(scale=0.1, size=16 * 16_000), 16_000)
    (tmp_path / "long.csv").write_text("audio,emotion\nlong.wav,sad\n")
    collator = SpeechCollator(processor, model.config.tasks)
    train = prepare(load_recipe(str(recipe_file))).side("train")
    facts = fit_familiarity(model, collator, train, load_corpus("table", tmp_path / "long.csv"))
    assert facts.fitted_on.startswith("training, each part") and facts.n == len(train)


def test_a_label_that_the_training_side_lacks_has_no_mean_after_a_round_trip_either(finished_run, tmp_path):
    model, processor = load_model(finished_run / "model")
    embeddings = np.random.default_rng(0).normal(size=(40, model.familiarity.means.shape[1])).astype("f4")
    found = _fitted(embeddings, np.array(["angry", "sad"] * 20))
    model.familiarity = found
    model.config.familiarity |= {"means": 2, "rank": len(found.components)}
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    again = SerMetaModel.from_pretrained(tmp_path).familiarity
    heard = torch.from_numpy(embeddings)
    torch.testing.assert_close(again(heard), found(heard), atol=0, rtol=0)


def test_what_is_unlike_the_corpus_is_less_familiar(recognise, recordings):
    noise = {"array": np.random.default_rng(0).normal(size=8_000).astype("f4"), "sampling_rate": 16_000}
    own = [recognise(str(path), least_familiar=0)["familiar"] for path in recordings]
    assert recognise(noise, least_familiar=0)["familiar"] < np.median(own)


def test_why_there_is_no_verdict_is_told(recognise, recordings):
    source = str(recordings[0])
    told = recognise(source)
    assert not {"familiar", "abstained", "abstained_because"} & set(told)
    assert set(recognise(source, least_familiar=0)) == {*told, "familiar"}
    told = recognise(source, threshold=1e-6, least_familiar=1e-6)
    assert told["abstained"] is False and "abstained_because" not in told
    assert recognise(source, threshold=1.0)["abstained_because"] == "uncertain"
    noise = {"array": np.random.default_rng(0).normal(size=8_000).astype("f4"), "sampling_rate": 16_000}
    assert recognise(noise, least_familiar=1.0)["abstained_because"] == "unfamiliar"
    silence = recognise({"array": np.zeros(16_000, "f4"), "sampling_rate": 16_000}, least_familiar=1.0)
    assert silence["abstained_because"] == "silent" and silence["familiar"] is None


def test_priors_move_scores_as_bayes_has_it(recognise, recordings):
    config = recognise.model.config
    learned = dict(zip(config.tasks["emotion"]["labels"], config.label_shares, strict=True))
    priors = {"angry": 0.7, "neutral": 0.2, "sad": 0.1}

    def scores(**options) -> dict[str, float]:
        return {entry["label"]: entry["score"] for entry in recognise(str(recordings[0]), **options)["emotion"]}

    plain = scores()
    weighed = {label: plain[label] * priors[label] / learned[label] for label in priors}
    expected = {label: score / sum(weighed.values()) for label, score in weighed.items()}
    assert scores(priors=priors) == pytest.approx(expected)
    assert scores(priors=learned) == pytest.approx(plain, abs=1e-5)
    two = scores(labels=["angry", "sad"], priors={"angry": 1, "sad": 1})
    assert two["angry"] / two["sad"] == pytest.approx(
        plain["angry"] / learned["angry"] / (plain["sad"] / learned["sad"]), rel=1e-4
    )
    for wrong in ({"angry": 1}, {"angry": 0, "neutral": 1, "sad": 1}, "even"):
        with pytest.raises(ValueError, match="priors="):
            recognise(str(recordings[0]), priors=wrong)


def test_a_model_without_the_statistics_is_as_before(finished_run, tmp_path, recordings, recognise):
    model, processor = load_model(finished_run / "model")
    model.config.familiarity, model.familiarity, model.config.label_shares = None, None, None
    for part in (model, processor):
        part.save_pretrained(tmp_path)
    old = SpeechEmotionPipeline(model=SerMetaModel.from_pretrained(tmp_path), processor=processor)
    told, now = old(str(recordings[0])), recognise(str(recordings[0]))
    assert set(told) == set(now) and told["transcript"] == now["transcript"]
    for entry, same in zip(told["emotion"], now["emotion"], strict=True):
        assert entry == {"label": same["label"], "score": pytest.approx(same["score"], abs=1e-5)}
    with pytest.raises(ValueError, match="least_familiar needs a model"):
        old(str(recordings[0]), least_familiar=0.1)
    with pytest.raises(ValueError, match="priors need the label shares"):
        old(str(recordings[0]), priors="uniform")


def test_risk_falls_with_coverage_where_scores_tell_right_from_wrong():
    scores = np.linspace(0.5, 1, 100)
    table = pandas.DataFrame({"e": ["a"] * 100, "e_predicted": np.where(np.arange(100) < 30, "b", "a")})
    table["e_scores"] = [np.array([score, 1 - score]) for score in scores]
    found = risk_and_coverage(table, "e")
    assert [point["risk"] for point in found["points"]] == sorted(point["risk"] for point in found["points"])
    assert found["points"][-1] == {"coverage": 1.0, "risk": pytest.approx(0.3), "score": 0.5}
    expected = np.mean([max(0, k - 70) / k for k in range(1, 101)])
    assert found["aurc"] == pytest.approx(expected, abs=1e-4)
    table["e_scores"] = [np.array([0.5, 0.5])] * 100  # which know nothing
    assert risk_and_coverage(table, "e")["aurc"] == pytest.approx(0.3)


def test_the_command_line_has_labels_priors_and_embeddings(command_line, refused, finished_run, recordings, tmp_path):
    predict = ["predict", finished_run / "model", recordings[0], recordings[1]]
    options = ["--labels", "angry,sad", "--priors", "angry=0.1,sad=0.9", "--least-familiar", "1"]
    code, printed, _ = command_line(*predict, *options, "--json")
    told = [json.loads(line) for line in printed.splitlines()]
    assert code == 0 and {entry["label"] for entry in told[0]["emotion"]} == {"angry", "sad"}
    assert sum(entry["score"] for entry in told[0]["emotion"]) == pytest.approx(1)
    assert {"abstained", "familiar"} <= set(told[0])
    code, printed, _ = command_line(
        *predict, "--embeddings", tmp_path / "e.parquet", "--csv", tmp_path / "t.csv", "--least-familiar", "0"
    )
    table = pandas.read_parquet(tmp_path / "e.parquet")
    assert code == 0 and list(table["file"]) == [str(path) for path in recordings[:2]]
    assert len(table["embeddings"][0]) == len(table["embeddings"][1]) > 16
    assert {"familiar", "abstained_because"} <= set(pandas.read_csv(tmp_path / "t.csv").columns)
    refused([*predict, "--priors", "angry"], "--priors angry", "angry=0.2")
    refused([*predict, "--labels", "angry,bored"], "bored")


def test_a_silent_first_recording_leaves_room_for_the_others(command_line, finished_run, recordings, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8_000), 16_000)
    code, _, _ = command_line(
        *("predict", finished_run / "model", tmp_path / "a.wav", recordings[0]),
        *("--csv", tmp_path / "t.csv", "--least-familiar", "0"),
    )
    table = pandas.read_csv(tmp_path / "t.csv")
    assert code == 0 and table["abstained_because"][0] == "silent"
    assert np.isnan(table["familiar"][0]) and table["familiar"][1] >= 0
