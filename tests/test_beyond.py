"""`examples/studies/beyond.py`: what helps above frozen states, chosen on speakers of the training side."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "studies" / "beyond.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_the_script_tries_every_way_and_judges_each_utterance_once(script, recipe_file, tmp_path, capsys):
    script["main"]([str(recipe_file), f"cache={tmp_path / 'states'}"], tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report["tried"]) == report["protocol"]["folds"] == ["anna+bela", "cleo+dora", "emil+finn"]
    for steps in report["tried"].values():
        assert [step["way"] for step in steps] == ["the start", *script["WAYS"]]
        kept = [step["validation_ua"] for step in steps if step["kept"]]
        assert kept == sorted(set(kept)) and kept[-1] == max(step["validation_ua"] for step in steps)
    printed = capsys.readouterr().out
    for row in report["rows"].values():
        assert row["n"] == 36 and f"{row['ua']:.1%}" in printed


def test_the_gaussian_kernel_falls_with_the_mean_square_of_the_difference(script):
    these, those = np.random.default_rng(0).normal(size=(2, 4, 7))
    expected = [[np.exp(-np.mean((one - other) ** 2) / 2) for other in those] for one in these]
    assert script["gram"](these, those, True) == pytest.approx(np.array(expected))


def test_taking_voices_out_leaves_no_difference_between_the_speakers_means(script):
    states, speakers = np.random.default_rng(0).normal(size=(40, 12)), np.repeat(["anna", "bela", "cleo", "dora"], 10)
    taken = script["voices"](states, speakers)[:3]
    left = states - (states @ taken.T) @ taken
    assert left[:10].mean(axis=0) == pytest.approx(left[30:].mean(axis=0), abs=1e-12)
    assert np.linalg.matrix_rank(left) == 9


def test_mixed_pairs_lie_between_utterances_with_their_labels_in_the_same_shares(script):
    states, truth = np.array([[0.0], [1.0]]), np.eye(2)
    more, labels = script["mixed"](states, truth)
    assert len(more) == len(labels) == 2 + script["PAIRS"] and labels.sum(axis=1) == pytest.approx(1.0)
    assert labels[:, 1] == pytest.approx(more[:, 0])
