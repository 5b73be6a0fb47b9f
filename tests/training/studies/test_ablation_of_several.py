"""An ablation of a corpus whose recordings may have several emotions at once."""

import pandas
import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.study_report import read_study_report
from ser_meta.training.measures.metrics import evaluate_predictions
from ser_meta.training.planning.tables import find_table
from ser_meta.training.studies.ablation import ablate

LABELS = ["angry", "neutral", "sad"]
SETTINGS = [
    *("stages.metadata.epochs=0.5", "stages.emotion.epochs=1", "data.group_size=3"),  # two folds
    *("model.multilabel=[emotion]", "degraded=[telephone]"),
]


@pytest.fixture(scope="module")
def recipe(recipe_file, speech_table, tmp_path_factory):
    """Every third recording has the next emotion too."""
    rows = pandas.read_csv(speech_table, keep_default_na=False)
    following = dict(zip(LABELS, [*LABELS[1:], LABELS[0]], strict=True))
    rows["emotion"] = [
        f"{label};{following[label]}" if row % 3 == 0 else label for row, label in enumerate(rows["emotion"])
    ]
    table = tmp_path_factory.mktemp("several") / "several.csv"
    rows.to_csv(table, index=False)
    read = [f"data.root={table}", f"data.options.audio_root={speech_table.parent}"]
    return load_recipe(str(recipe_file), [*SETTINGS, *read])


@pytest.fixture(scope="module")
def study(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    (folder / "heads.yaml").write_text("title: Heads\nrows: {two heads: {model: {coattention_heads: 2}}}")
    return ablate(str(folder / "heads.yaml"), {"tiny": recipe}, folder / "study"), folder / "study"


def predictions(folder, row, name="predictions"):
    return pandas.concat(map(pandas.read_parquet, sorted((folder / "tiny" / row).rglob(f"{name}.parquet"))))


def figures(table):
    task = {"kind": "multilabel", "labels": LABELS, "thresholds": [0.5] * 3}
    return evaluate_predictions(table, {"emotion": task})["emotion"]


def test_rows_are_compared_in_pairs_by_average_precision_and_macro_f1(study):
    report, folder = study
    found = {row.name: row.measures for row in report.rows}
    (difference,) = report.differences
    assert difference.speakers == 6 and not difference.ua and not difference.votes
    for measure in ("average_precision", "macro_f1"):
        change = getattr(difference, measure)
        assert change["difference"] == pytest.approx(found["ours"][measure] - found["two heads"][measure])
        assert change["interval"][0] <= change["difference"] <= change["interval"][1]
        assert set(difference.slices["style"]["scripted"]) == {"speakers", "average_precision", "macro_f1"}
    for row, name in {"ours": "ours", "two heads": "two-heads"}.items():
        pooled = figures(predictions(folder, name))
        assert found[row]["average_precision"] == pytest.approx(pooled["average_precision"])
        assert found[row]["interval"]["speakers"] == 6 and "exact_match" in found[row]["interval"]
    assert read_study_report(folder / "table-heads" / "report.json") == report


def test_a_condition_is_compared_with_the_recordings_as_they_are(study):
    report, folder = study
    (ours,) = (row for row in report.rows if row.name == "ours")
    found = ours.degraded["telephone"]
    clean, worse = (figures(predictions(folder, "ours", name)) for name in ("predictions", "degraded-predictions"))
    expected = worse["average_precision"] - clean["average_precision"]
    assert found.average_precision["difference"] == pytest.approx(expected) and not found.ua
    assert "interval" in report.differences[0].degraded["telephone"]["macro_f1"]


def test_the_page_shows_them(study):
    report, folder = study
    page = (folder / "table-heads" / "report.md").read_text()
    low, high = report.rows[0].measures["interval"]["average_precision"]
    value = report.rows[0].measures["average_precision"]
    assert f"{value:.1%} ({100 * low:.1f}-{100 * high:.1f}%)" in page
    assert "AP difference" in page and "macro F1 difference" in page and "UA difference" not in page
    assert "an utterance is right where all of its labels are" in page
    assert (folder / "table-heads" / "plots" / "differences-average-precision.png").is_file()


def test_a_row_that_has_one_label_alone_is_not_compared(recipe, tmp_path):
    (tmp_path / "own.yaml").write_text("title: a\nrows: {one label: {model: {multilabel: []}}}")
    with pytest.raises(UserError, match=r"leave emotion in model\.multilabel, or out of it, in all"):
        find_table(str(tmp_path / "own.yaml")).rows(recipe)
