"""`examples/studies/beyond.py`: what helps above frozen states, chosen on speakers of the training side."""

import importlib
import json
import runpy
from pathlib import Path

import numpy as np
import pandas
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

STUDIES = Path(__file__).resolve().parents[1] / "examples" / "studies"
SPEAKERS = np.repeat(["anna", "bela", "cleo", "dora"], 10)


@pytest.fixture(scope="module")
def kernels():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STUDIES)
        yield importlib.import_module("beyond_kernels")


@pytest.fixture
def script(kernels, monkeypatch):
    monkeypatch.syspath_prepend(STUDIES)
    monkeypatch.setattr(kernels, "PAIRS", 20)
    return runpy.run_path(str(STUDIES / "beyond.py"))


@pytest.fixture
def states():
    return np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)


@pytest.fixture
def corpus(kernels, states):
    """Forty utterances of four speakers, slower ones of them, and ten of dora and elsa in another corpus."""
    chance, part = np.random.default_rng(1), np.repeat([0, 1, 2], [40, 40, 10])
    pooled = {name: chance.normal(size=(90, 2, 6)).astype(np.float32) for name in ("mean", "deviation")}
    speakers = np.concatenate([*[SPEAKERS] * 2, np.repeat(["dora", "elsa"], 5)])
    label = np.concatenate([*[np.arange(40) % 3] * 2, np.arange(10) % 2])
    return kernels.Corpus(pandas.DataFrame({"speaker": speakers}), pooled, label, part, 3)


def products(states):
    return (states @ states.T).astype(np.float32)


def test_the_script_tries_every_way_and_judges_each_utterance_once(script, recipe_file, tmp_path, capsys):
    script["main"]([str(recipe_file), f"cache={tmp_path / 'states'}"], tmp_path / "out", also=[str(recipe_file)])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report["tried"]) == report["protocol"]["folds"] == ["anna+bela", "cleo+dora", "emil+finn"]
    assert report["protocol"]["learned_too"] == "speech"
    for steps in report["tried"].values():
        assert [step["way"] for step in steps] == ["the start", *script["WAYS"]]
        kept = [step["validation_ua"] for step in steps if step["kept"]]
        assert kept == sorted(set(kept)) and kept[-1] == max(step["validation_ua"] for step in steps)
    printed = capsys.readouterr().out
    for row in report["rows"].values():
        assert row["n"] == 36 and f"{row['ua']:.1%}" in printed
    found = pandas.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert (found["emotion"] == found["emotion_predicted"]).mean() == pytest.approx(row["wa"])
    assert [sum(scores) for scores in found["emotion_scores"]] == pytest.approx([1] * 36)


def test_the_start_is_a_ridge_regression_on_standardised_means_and_deviations(kernels, corpus):
    learned, judged = np.arange(30), np.arange(30, 40)
    found = kernels.scores(kernels.Fold(corpus, learned), kernels.Way(), learned, judged)
    heard = np.concatenate([corpus.pooled[name][:40].reshape(40, -1) for name in ("mean", "deviation")], axis=1)
    heard = StandardScaler().fit(heard[learned]).transform(heard) / np.sqrt(heard.shape[1])
    expected = Ridge(0.1).fit(heard[learned], np.eye(3)[corpus.label[learned]]).predict(heard[judged]).clip(min=1e-6)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=1e-3)


def test_nobody_who_is_judged_is_learned_from_in_copies_or_another_corpus(kernels, corpus):
    rows = kernels.rows_to_learn(corpus, kernels.Way(copies=(1,), also=0.5), np.arange(30))
    assert set(corpus.speakers[rows]) == {"anna", "bela", "cleo", "elsa"}
    assert list(np.bincount(corpus.part[rows])) == [30, 30, 5]
    assert len(kernels.rows_to_learn(corpus, kernels.Way(), np.arange(30))) == 30


def test_utterances_heard_in_several_renditions_get_the_mean_of_their_scores(kernels, corpus):
    fold, learned, judged = kernels.Fold(corpus, np.arange(30)), np.arange(30), np.arange(30, 40)
    one, other, both = (
        kernels.scores(fold, kernels.Way(copies=(1,), heard=heard), learned, judged) for heard in ((0,), (1,), (0, 1))
    )
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-5)


def test_what_is_read_of_states(kernels):
    frames = np.arange(12, dtype=np.float32).reshape(1, 6, 2)
    found = kernels.pooled(frames)
    assert found["mean"].tolist() == [[5, 6]] and found["course"].tolist() == [[1, 2, 9, 10]]
    assert found["extent"].tolist() == [[1, 2, 9, 10]] and found["change"].tolist() == [[2, 2]]
    drawn, same = kernels._directions(2), np.ones((2, 2))
    np.testing.assert_allclose(found["correlation"][0], (drawn.T @ same @ drawn)[[0, 0, 1], [0, 1, 1]], 1e-4)


def test_the_gaussian_kernel_falls_with_the_square_of_the_difference(kernels, states):
    expected = [[np.exp(-np.sum((one - other) ** 2) / 2) for other in states] for one in states]
    np.testing.assert_allclose(kernels.gaussian(products(states)), expected, rtol=1e-3)


def test_taking_voices_out_leaves_no_difference_between_the_speakers_means(kernels, states):
    means = kernels.group_means(SPEAKERS, np.zeros(40))
    left = kernels.taken_out(products(states), means, 3)
    assert np.abs(means.T @ left).max() < 1e-4 and np.linalg.matrix_rank(left, tol=1e-3) == 9


def test_states_are_whitened_by_what_speakers_differ_by_within_an_emotion(kernels, states):
    emotions = np.tile(["sad", "angry"], 20)
    means = kernels.group_means(np.char.add(SPEAKERS, emotions), emotions)
    rows = [states[(who == SPEAKERS) & (emotions == what)].mean(0) - states[emotions == what].mean(0)
            for who in np.unique(SPEAKERS) for what in ("angry", "sad")]  # fmt: skip
    covariance = np.mean([np.outer(row, row) for row in rows], axis=0)
    expected = states @ np.linalg.inv(np.eye(12) + 30 * covariance) @ states.T
    np.testing.assert_allclose(kernels.held_down(products(states), means, 30), expected, atol=1e-4)


def test_mixed_pairs_lie_between_utterances_with_their_labels_in_the_same_shares(kernels, states):
    blend = kernels.mixer(30, seed=0)
    mixed, labels = blend(states), blend(np.eye(40, dtype=np.float32)[:30])
    assert len(mixed) == 40 + kernels.PAIRS and labels.sum(axis=1) == pytest.approx(1.0)
    np.testing.assert_allclose(mixed[30:-10], labels[30:] @ states, atol=1e-5)
    np.testing.assert_allclose(blend(blend(products(states)).T), products(mixed), atol=1e-4)


def test_logistic_regression_on_products_is_the_one_on_states(kernels, states):
    truth = np.arange(40) % 3
    one_each = (products(states), products(states), np.eye(3, dtype=np.float32)[truth], np.ones((40, 1), np.float32))
    found = kernels.logistic_regression(*one_each, ridge=5.0)
    expected = LogisticRegression(C=1.0).fit(states, truth).predict_proba(states)
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_utterances_of_another_gender_as_it_is_recognised_count_half(kernels, states):
    women = np.arange(40) % 2 == 0
    states[:, 0] = np.where(women, 5, -5)
    half = kernels.told_apart(products(states), np.where(women, "woman", "man")[:30]) / products(states)
    np.testing.assert_allclose(half, np.where(women[:, None] == women, 1, 0.5), rtol=1e-4)


def test_layers_that_fit_the_labels_better_count_more(kernels):
    label = np.arange(40) % 2
    fits = products(np.eye(2)[label])
    assert kernels.alignment(fits, label) == pytest.approx(1) and kernels.alignment(np.eye(40), label) < 0.5
