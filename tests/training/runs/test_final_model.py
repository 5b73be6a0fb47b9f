"""The model that learns from all speakers, and the cross-validation by which it is judged."""

import json
import shutil
from pathlib import Path

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.report import JudgedBy, read_report
from ser_meta.configuration.run_folder import RunFolder, read_json
from ser_meta.configuration.study_report import read_study_report
from ser_meta.hub_cards.hub.push import results_file
from ser_meta.hub_cards.wording import not_judged_itself
from ser_meta.training.planning.judged_by import judged_by
from ser_meta.training.planning.plan import plan_run
from ser_meta.training.runs.stages import run_stages
from ser_meta.training.studies.crossval import cross_validate

BRIEF = ["stages.metadata.epochs=0.1", "stages.emotion.epochs=0.1"]


@pytest.fixture(scope="module")
def recipe(recipe_file):
    return lambda *settings: load_recipe(str(recipe_file), [*BRIEF, *settings])


@pytest.fixture(scope="module")
def study(recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "voices"
    cross_validate(recipe(), folder)
    return folder


def test_a_final_model_learns_from_all_and_names_its_study(study, recipe_file, command_line, tmp_path):
    settings = [*BRIEF, "data.test_fold=none", f"judged_by={study}"]
    code, printed, errors = command_line("train", recipe_file, *settings, "--output", tmp_path / "run")
    assert code == 0
    assert "no fold is tested: 36 utterances train, 0 validate, and nothing judges this model itself" in errors
    run = RunFolder(tmp_path / "run")
    report, found = read_json(run.report), read_json(study / "report.json")
    assert {side: len(ids) for side, ids in read_json(run.split).items()} == {"train": 36, "validation": 0, "test": 0}
    assert "metrics" not in report and not run.predictions_of("test").exists()
    pooled = found["pooled"]["metrics"]["emotion"]
    assert report["judged_by"]["metrics"] == {
        key: pooled[key] for key in ("wa", "ua", "macro_f1", "n", "interval") if key in pooled
    }
    told = (
        "This model was not judged itself: it learned from all speakers, and none was left to test it on. "
        "Its recipe was judged by the cross-validation voices: 3 folds, seed 1, 36 utterances: "
        f"WA {pooled['wa']:.1%}, UA {pooled['ua']:.1%} (95 % interval "
    )
    card = (run.model / "README.md").read_text(encoding="utf-8")
    assert told in " ".join(card.split()) and told in " ".join(printed.split())
    assert "Speaker-independent: none of the 6 test speakers was trained on in its fold." in card
    assert "model-index" not in card and str(study.parent) not in card
    with pytest.raises(UserError, match="the run has no result for emotion"):
        results_file(read_report(run.report), "owner/data:task")


def test_without_a_study_nothing_is_claimed(recipe, tmp_path):
    report = run_stages(recipe("data.test_fold=none", "data.validation=speaker"), tmp_path / "run")
    assert report.judged_by == JudgedBy() and report.validation.metrics["emotion"]["n"] == 6
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "No cross-validation of its recipe was named, so nothing is known of how good it is." in card
    assert "WA" not in card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.dropout=0.3", r"model\.dropout is 0\.1 there and 0\.3 here"),
        ("stages.emotion.epochs=1", r"stages\.emotion\.epochs is 0\.1 there and 1\.0 here"),
        ("data.group_size=1", r"data\.group_size is 2 there and 1 here"),
    ],
)
def test_a_study_of_another_recipe_is_refused(study, recipe, change, message):
    final = recipe("data.test_fold=none", f"judged_by={study}", change)
    with pytest.raises(UserError, match=f"is of another recipe: {message}"):
        plan_run(final)


def test_what_changes_no_result_may_differ(study, recipe):
    final = recipe("data.test_fold=none", f"judged_by={study}", "seed=7", "workers=1")
    assert plan_run(final).test_fold is None and judged_by(final, 36).folds == 3


def test_a_study_that_is_none_or_of_another_corpus_is_refused(study, recipe, tmp_path):
    with pytest.raises(UserError, match=r"judged_by=.* is for a final model: set data.test_fold=none"):
        recipe(f"judged_by={study}")
    for folder in (tmp_path, study / "seed-1" / "fold-0"):
        with pytest.raises(UserError, match="holds no finished cross-validation"):
            plan_run(recipe("data.test_fold=none", f"judged_by={folder}"))
    with pytest.raises(UserError, match="tested 36 utterances, and the corpus has 30: run the cross-validation again"):
        judged_by(recipe("data.test_fold=none", f"judged_by={study}"), 30)


def test_a_study_takes_the_recipe_of_a_final_model(study, recipe, tmp_path):
    again = shutil.copytree(study, tmp_path / "again")
    report = cross_validate(recipe("data.test_fold=none", f"judged_by={study}"), again)
    assert report.pooled == read_study_report(study / "report.json").pooled


def test_folds_that_a_study_left_out_are_named(study, recipe, tmp_path):
    folder = shutil.copytree(study, tmp_path / "fewer")
    report = read_json(study / "report.json")
    report["runs"] = report["runs"][:2]
    report["protocol"]["folds_left_out"] = {"emil+finn": "the train side has no utterance of sad"}
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    final = judged_by(recipe("data.test_fold=none", f"judged_by={folder}"), 36)
    assert final.folds_left_out == ["emil+finn"]
    assert "2 folds (without emil+finn, which could not be trained), seed 1" in not_judged_itself(final)[1]


def test_utterances_that_several_seeds_judged_are_counted_once():
    measures = {"ua": 0.5, "wa": 0.5, "macro_f1": 0.5, "n": 72}
    twice = JudgedBy(study="voices", folds=3, seeds=[1, 2], metrics=measures)
    assert "3 folds, seeds 1, 2, 36 utterances with each: WA 50.0%" in not_judged_itself(twice)[1]
