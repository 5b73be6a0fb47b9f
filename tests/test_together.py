"""`examples/studies/together.py`: several studies as one recogniser."""

import json
import runpy
from pathlib import Path

import numpy as np
import pandas
import pytest

from ser_meta.configuration.errors import UserError

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "studies" / "together.py"
LABELS = ["angry", "sad"]


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        yield runpy.run_path(str(SCRIPT))


def predictions(of_angry: dict[str, float], seed: int | None = None) -> pandas.DataFrame:
    """By utterance the score of `angry`; those called a are angry."""
    scores = [np.array([share, 1 - share]) for share in of_angry.values()]
    table = {
        "utterance_id": list(of_angry),
        "speaker": [name[1] for name in of_angry],
        "emotion": [LABELS[name[0] != "a"] for name in of_angry],
        "emotion_scores": scores,
        "emotion_predicted": [LABELS[each.argmax()] for each in scores],
    }
    return pandas.DataFrame(table if seed is None else table | {"seed": seed})


def write(folder: Path, *tables: pandas.DataFrame) -> Path:
    folder.mkdir(parents=True)
    pandas.concat(tables).to_parquet(folder / "predictions.parquet")
    return folder


def test_seeds_are_averaged_and_then_the_studies(script, tmp_path, capsys):
    seeds = [{"a1": 0.9, "a2": 0.2, "s1": 0.3, "s2": 0.7}, {"a1": 0.7, "a2": 0.4, "s1": 0.1, "s2": 0.5}]
    several = write(tmp_path / "several", *(predictions(each, seed) for seed, each in enumerate(seeds)))
    runs = {"seed-1/fold-0": {"s2": 0.3, "a2": 0.9}, "seed-1/fold-1": {"a1": 0.8, "s1": 0.6}}  # in another order
    for name, each in runs.items():
        write(tmp_path / "runs" / name, predictions(each))
    script["main"]([several, tmp_path / "runs"], tmp_path / "out")
    table = pandas.read_parquet(tmp_path / "out" / "predictions.parquet").set_index("utterance_id")
    found = {name: scores[0] for name, scores in table["emotion_scores"].items()}
    assert found == pytest.approx({"a1": 0.8, "a2": 0.6, "s1": 0.4, "s2": 0.45})
    assert (table["emotion"] == table["emotion_predicted"]).all()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["ua"] for row in report["rows"].values()] == pytest.approx([0.5, 0.75, 1])
    assert [gain["ua"]["difference"] for gain in report["gain"].values()] == pytest.approx([0.5, 0.25, 0])
    assert "| together | 100.0% |" in capsys.readouterr().out


def test_studies_that_do_not_fit_together_are_refused(script, tmp_path):
    known = {"a1": 0.9, "s1": 0.2}
    one, fewer = write(tmp_path / "one", predictions(known)), write(tmp_path / "fewer", predictions({"a1": 0.9}))
    swapped = predictions(known).assign(emotion_scores=lambda table: [row[::-1] for row in table["emotion_scores"]])
    refused = {
        fewer: "two tables of predictions differ in their utterances",
        write(tmp_path / "swapped", swapped): "the scores are not in the order angry, sad: leave out",
        tmp_path / "none": "has no predictions.parquet",
    }
    for folder, message in refused.items():
        with pytest.raises(UserError, match=message):
            script["main"]([one, folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()
