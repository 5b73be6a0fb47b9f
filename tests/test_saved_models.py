"""The tiny model that each release saved still loads, and answers as it did then."""

import json
from pathlib import Path

import pytest
from save_release import answers

from ser_meta.training.runs.loading import load_model

RELEASES = sorted(path.parent for path in (Path(__file__).parent / "models").glob("*/config.json"))


@pytest.mark.parametrize("folder", RELEASES, ids=lambda folder: folder.name)
def test_a_release_s_model_answers_as_it_did(folder):
    expected = json.loads((folder / "answers.json").read_text())
    found = json.loads(json.dumps(answers(*load_model(folder))))
    assert set(expected["logits"]) == {"emotion", "gender", "transcript", "valence"}
    assert_alike(found, expected)


def test_there_is_one_of_this_release():
    assert "0.1" in [folder.name for folder in RELEASES]


def assert_alike(found: object, expected: object) -> None:
    """Nested lists and dicts: the same words, numbers within 1e-5; what a later release adds is no difference."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_alike(found[name], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    else:
        assert found == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)
