import json

import numpy as np
import pandas
import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.report import read_report
from ser_meta.configuration.study_report import read_study_report
from ser_meta.training.measures.metrics import evaluate_predictions
from ser_meta.training.measures.statistics import paired_difference
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages
from ser_meta.training.studies.ablation import ablate

BRIEF = [
    *("stages.metadata=null", "stages.emotion.epochs=1", "data.speed_factors=[1.0]"),
    *("data.augmentation.noise.probability=1", "data.augmentation.copies=2", "degraded=[telephone,'noise:0']"),
]
TABLE = "title: without noise\nrows:\n  without:\n    data: {augmentation: {noise: {probability: 0}}}\n"


@pytest.fixture(scope="module")
def study(recipe_file, steady_settings, tmp_path_factory):
    """An ablation of the augmentation above kept states: the report and the folder."""
    folder = tmp_path_factory.mktemp("conditions")
    (folder / "table.yaml").write_text(TABLE)
    frozen = ["stages.emotion.freeze_layers=all", f"cache={folder / 'states'}", "data.group_size=3"]
    recipe = load_recipe(str(recipe_file), [*steady_settings, *BRIEF, *frozen])
    return ablate(str(folder / "table.yaml"), {"tiny": recipe}, folder / "study"), folder


def test_every_row_is_judged_in_every_condition_on_the_same_utterances(study):
    report, folder = study
    tables = {
        row: pandas.concat(
            map(pandas.read_parquet, sorted(folder.glob(f"study/tiny/{row}/**/degraded-pred*.parquet")))
        )
        for row in ("without", "ours")
    }
    for row in report.rows:
        assert list(row.degraded) == ["telephone", "noise:0"]
        clean = pandas.concat(
            map(pandas.read_parquet, sorted(folder.glob(f"study/tiny/{row.name}/**/fold-*/predictions.parquet")))
        )
        for name, found in row.degraded.items():
            worse = tables[row.name][tables[row.name]["condition"] == name]
            assert sorted(worse["utterance_id"]) == sorted(clean["utterance_id"])
            task = {"emotion": {"kind": "classification", "labels": ["angry", "neutral", "sad"]}}
            assert found.metrics["ua"] == evaluate_predictions(worse, task)["emotion"]["ua"]
            assert found.ua == paired_difference(worse, clean, "emotion")["ua"]
    (difference,) = report.differences
    ours, other = (table.query("condition == 'noise:0'") for table in (tables["ours"], tables["without"]))
    assert difference.degraded["noise:0"]["ua"] == paired_difference(ours, other, "emotion")["ua"]
    assert read_study_report(folder / "study" / "table-table" / "report.json") == report
    page = (folder / "study" / "table-table" / "report.md").read_text()
    assert "## Conditions" in page and "| telephone |" in page and "noise:0" in page


def test_kept_states_of_copies_and_conditions_are_those_of_the_recordings(recipe_file, steady_settings, tmp_path):
    settings = [*steady_settings, *BRIEF, "stages.emotion.freeze_layers=all"]
    recipes = [load_recipe(str(recipe_file), [*settings, f"cache={cache}"]) for cache in ("null", tmp_path / "states")]
    reports = [run_stages(recipe, tmp_path / f"run-{place}") for place, recipe in enumerate(recipes)]
    assert len(list((tmp_path / "states").glob("*.arrow"))) == 1 + 2 + 2  # plain, copies, conditions
    for name in ("predictions.parquet", "degraded-predictions.parquet"):
        scores = [
            np.stack(pandas.read_parquet(tmp_path / f"run-{place}" / name)["emotion_scores"].to_list())
            for place in range(2)
        ]
        np.testing.assert_allclose(*scores, atol=2e-3)  # kept in half precision
    assert read_report(tmp_path / "run-0" / "report.json") == reports[0]
    card = (tmp_path / "run-0" / "model" / "README.md").read_text()
    assert "### In other conditions" in card and "| telephone |" in card


def test_validation_and_test_sides_are_heard_as_they_are(recipe_file):
    settings = [*BRIEF, "data.validation=speaker"]
    prepared = prepare(load_recipe(str(recipe_file), settings))
    plain = prepare(load_recipe(str(recipe_file), ["data.validation=speaker"]))
    collators = [
        each.build_collator(each.new_model(), each.recipe.stages["emotion"]).without_speed()
        for each in (prepared, plain)
    ]
    rows = [plain.side("validation")[0], plain.side("test")[0]]
    heard = [collator(rows)["input_values"] for collator in collators]
    np.testing.assert_array_equal(*heard)


def test_a_model_is_judged_in_conditions_again(command_line, finished_run, refused):
    judge = ["evaluate", finished_run, "--degrade", "noise:0:white", "--degrade", "telephone:gsm"]
    code, printed, _ = command_line(*judge, "--json")
    report = json.loads(printed)
    assert code == 0 and list(report["degraded"]) == ["noise:0:white", "telephone:gsm"]
    difference = report["degraded"]["noise:0:white"]["metrics"]["ua"] - report["metrics"]["emotion"]["ua"]
    assert report["degraded"]["noise:0:white"]["ua"]["difference"] == pytest.approx(difference)
    code, printed, _ = command_line(*judge)
    assert code == 0 and "telephone:gsm" in printed and "as recorded" in printed
    refused([*judge[:2], "--degrade", "telefone"], "--degrade", "'telefone' is no condition", "telephone:gsm")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["data.augmentation.noise.probability=2"], "data.augmentation.noise.probability=2"),
        (["data.augmentation.noise.between=[20,0]"], r"data.augmentation.noise.between=\[20.0, 0.0\] must be"),
        (["data.augmentation.noise.among=[mauve]"], "mauve is none of pink, white, brown, and no folder"),
        (["data.augmentation.reverb.probability=1", "cache=states"], "set data.augmentation.copies=4, say"),
        (["data.augmentation.copies=0"], "data.augmentation.copies=0 must be 1 or more"),
        (["degraded=[telephone,telephone]"], "degraded names telephone twice"),
    ],
)
def test_faults_of_a_recipe_are_told(recipe_file, settings, told):
    with pytest.raises(UserError, match=told):
        load_recipe(str(recipe_file), settings)
