import json
import signal
from dataclasses import replace
from statistics import mean, stdev

import killable
import pandas
import pytest
from signalling import signal_trainings

from ser_meta.configuration.errors import Interrupted, UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.report import read_report
from ser_meta.configuration.study_report import read_study_report
from ser_meta.training.measures.metrics import evaluate_predictions, flatten
from ser_meta.training.planning.study_folds import plan_study
from ser_meta.training.runs.stages import run_stages
from ser_meta.training.studies.crossval import cross_validate, rounds_left, time_left, visible_gpus

SHORT = ["stages.metadata.epochs=1", "stages.emotion.epochs=1"]
BRIEF = ["stages.metadata=null", "stages.emotion.epochs=0.1"]
FOLDS = ["anna+bela", "cleo+dora", "emil+finn"]


@pytest.fixture(scope="module")
def recipe(recipe_file):
    return load_recipe(str(recipe_file), SHORT)


@pytest.fixture(scope="module")
def study(recipe, tmp_path_factory):
    """Three folds with two seeds: the report and the folder."""
    folder = tmp_path_factory.mktemp("study") / "study"
    return cross_validate(recipe, folder, seeds=[1, 2]), folder


def test_every_fold_is_tested_with_every_seed(study):
    report, folder = study
    assert [(run.seed, run.fold) for run in report.runs] == [(s, fold) for s in (1, 2) for fold in FOLDS]
    sides = json.loads((folder / "seed-1" / "fold-1" / "split.json").read_text())
    assert {name.split("-")[0] for name in sides["test"]} == {"cleo", "dora"}


def test_a_run_of_a_study_is_the_run_of_its_recipe(study, recipe_file, tmp_path):
    report, folder = study
    alone = run_stages(load_recipe(str(recipe_file), [*SHORT, "seed=2", "data.test_fold=cleo+dora"]), tmp_path / "run")
    training = report.runs[4]
    assert read_report(folder / training.folder / "report.json").metrics == alone.metrics
    assert flatten(training.metrics) == flatten(alone.metrics)


def test_mean_and_spread_are_over_folds_of_the_seeds_mean(study):
    report, _ = study
    by_fold = [mean(run.metrics["emotion"]["ua"] for run in report.runs if run.fold == f) for f in FOLDS]
    assert report.summary["emotion"]["ua"] == pytest.approx({"mean": mean(by_fold), "sd": stdev(by_fold)})


def test_pooled_figures_are_those_of_all_utterances_together(study):
    report, folder = study
    tables = pandas.concat(map(pandas.read_parquet, sorted(folder.glob("seed-*/fold-*/predictions.parquet"))))
    tasks = {"emotion": {"kind": "classification", "labels": ["angry", "neutral", "sad"]}}
    expected = evaluate_predictions(tables, tasks)["emotion"]
    pooled = report.measures
    assert expected["n"] == 72 and {name: pooled[name] for name in expected} == expected


def test_a_study_leaves_one_table_of_all_test_sides(study):
    _, folder = study
    table = pandas.read_parquet(folder / "predictions.parquet")
    assert len(table) == 72 and not table.duplicated(["utterance_id", "seed"]).any()
    for (seed, fold), rows in table.groupby(["seed", "fold"]):
        alone = pandas.read_parquet(folder / f"seed-{seed}" / f"fold-{fold}" / "predictions.parquet")
        assert set(rows["test_fold"]) == {FOLDS[fold]}
        pandas.testing.assert_frame_equal(rows[alone.columns].reset_index(drop=True), alone)


def without_sad_beside(speakers):
    """A change of the little corpus that leaves only these speakers sad."""
    return lambda row: row if row["speaker"] in speakers or row["emotion"] != "sad" else None


@pytest.fixture
def changed(recipe_file, changed_table, speech_table):
    """The short recipe on a changed table."""

    def make(change):
        settings = [f"data.root={changed_table(change)}", f"data.options.audio_root={speech_table.parent}"]
        return load_recipe(str(recipe_file), [*BRIEF, *settings])

    return make


def test_folds_that_cannot_be_trained_are_named_before_any_is(changed, tmp_path):
    recipe = changed(without_sad_beside(["cleo"]))
    message = (
        r"1 of 3 folds cannot be trained: fold cleo\+dora: the train side has no utterance of sad: .*data\.label_map.*"
        "--skip-unfit"
    )
    with pytest.raises(UserError, match=message):
        cross_validate(recipe, tmp_path / "study")
    assert not (tmp_path / "study").exists()
    # of one emotion alone no fold is left
    with pytest.raises(UserError, match="every emotion is sad"):
        cross_validate(
            changed(lambda row: row if row["emotion"] == "sad" else None), tmp_path / "study", skip_unfit=True
        )


def test_a_fold_that_lacks_something_else_is_told_with_what_mends_that(changed):
    recipe = changed(lambda row: row | ({} if row["speaker"] in ("anna", "bela") else {"transcript": ""}))
    with pytest.raises(UserError) as refused:
        plan_study(recipe)
    assert str(refused.value) == (
        "1 of 3 folds cannot be trained: fold anna+bela: no utterance of the training side has a value of transcript: "
        "leave it out of model.auxiliary_tasks, as model.auxiliary_tasks=[gender,speaker,style], or judge the other "
        "folds alone with --skip-unfit"
    )


def test_the_other_folds_are_judged_when_asked(changed, tmp_path, capsys):
    """Their weights stay when they are wanted."""
    recipe, study = changed(without_sad_beside(["cleo"])), tmp_path / "study"
    report = cross_validate(recipe, study, skip_unfit=True, keep_models=True)
    assert [run.folder for run in report.runs] == ["seed-1/fold-0", "seed-1/fold-2"]
    assert report.protocol.folds_left_out == {"cleo+dora": "the train side has no utterance of sad"}
    assert "fold cleo+dora is left out: the train side has no utterance of sad" in capsys.readouterr().err
    assert set(pandas.read_parquet(study / "predictions.parquet")["fold"]) == {0, 2}
    page = (study / "report.md").read_text()
    assert "folds left out" in page and "cleo+dora" in page
    assert len(list(study.glob("seed-1/fold-*/model/model.safetensors"))) == 2


def test_a_study_does_not_go_on_with_another_corpus(changed, tmp_path, monkeypatch):
    recipe = changed(lambda row: row)
    signal_trainings(monkeypatch, "stage-1-emotion", 1, signal.SIGINT)
    with pytest.raises(Interrupted):
        cross_validate(recipe, tmp_path / "study")
    monkeypatch.undo()
    other = changed(lambda row: row | ({"emotion": "sad"} if row["audio"] == "anna-angry-scripted.wav" else {}))
    with pytest.raises(UserError, match="fold-0 was started with another corpus: emotion is not what it was"):
        cross_validate(other, tmp_path / "study")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at_once": 0}, "--at-once 0 trains nothing"),
        ({"seeds": [-1]}, "seed=-1 must be from 0"),
        ({"seeds": [2**32]}, "seed=4294967296 must be from 0"),
    ],
)
def test_what_no_study_can_do_is_refused_before_anything_is_written(options, message, recipe, tmp_path):
    with pytest.raises(UserError, match=message):
        cross_validate(recipe, tmp_path / "study", **options)
    assert not (tmp_path / "study").exists()


def test_folds_at_once_are_not_for_several_processes(recipe_file, tmp_path):
    arguments = ["crossval", recipe_file, "--at-once", 2, "--output", tmp_path / "study"]
    codes, printed = killable.run_together(2, *arguments, log=tmp_path / "log")
    assert codes == [2, 2]
    assert "accelerate launch has started 2: leave one of the two out" in printed[0]
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, ""),
        (0.2, ", about 1 second left"),
        (80, ", about 80 seconds left"),
        (100, ", about 2 minutes left"),
        (3000, ", about 50 minutes left"),
        (10_000, ", about 3 hours left"),
    ],
)
def test_the_time_left_is_told_in_the_unit_that_suits_it(seconds, words):
    assert time_left(seconds) == words


def test_the_study_says_how_it_was_judged(study):
    report, folder = study
    assert report.protocol.seeds == [1, 2] and report.protocol.validation == "none"
    assert read_study_report(folder / "report.json") == report
    page = (folder / "report.html").read_text()
    assert "last epoch of 1" in page and "://" not in page.replace("http://www.w3.org", "")


def test_layer_shares_are_told_for_every_task(study):
    report, _ = study
    shares = report.runs[0].layer_shares
    assert set(shares) == {"emotion", "gender", "speaker", "style", "transcript"}
    assert all(len(row) == 6 and sum(row) == pytest.approx(1) for row in shares.values())


def test_what_has_finished_is_not_trained_again(study, recipe):
    report, folder = study
    before = {path: path.stat().st_mtime_ns for path in folder.glob("seed-*/fold-*/predictions.parquet")}
    assert cross_validate(recipe, folder, seeds=[1, 2, 1]) == report
    assert {path: path.stat().st_mtime_ns for path in folder.glob("seed-*/fold-*/predictions.parquet")} == before
    assert len(before) == 6


def test_weights_go_unless_they_are_wanted(study):
    _, folder = study
    assert not list(folder.rglob("*.safetensors"))


def test_weights_that_are_gone_are_missed_before_anything_is_trained(study, recipe):
    with pytest.raises(UserError, match=r"--keep-models: .*fold-0 and 5 others have finished without it"):
        cross_validate(recipe, study[1], seeds=[1, 2], keep_models=True)


@pytest.mark.parametrize(("named", "gpus"), [("4,5", ["4", "5"]), ("GPU-8f7c2a", ["GPU-8f7c2a"])])
def test_folds_take_the_gpus_that_the_user_named(named, gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == gpus


def test_folds_at_once_give_the_same(study, recipe, tmp_path):
    """Also from what is kept of the frozen convolutions, which is there before the folds begin."""
    report, _ = study
    kept = replace(recipe, cache=str(tmp_path / "cache"), cache_layers=False)
    parallel = cross_validate(kept, tmp_path / "study", seeds=[1], at_once=2)
    found, expected = ([flatten(run.metrics) for run in each.runs[:3]] for each in (parallel, report))
    assert found == [pytest.approx(metrics, abs=1e-4) for metrics in expected]
    assert len(list((tmp_path / "cache").glob("*.arrow"))) == len(recipe.data.speed_factors)


def test_another_recipe_is_refused(study, recipe_file):
    _, folder = study
    with pytest.raises(UserError, match="another recipe"):
        cross_validate(load_recipe(str(recipe_file), [*SHORT, "model.dropout=0.2"]), folder)


def test_a_folder_of_something_else_is_refused(recipe, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no study"):
        cross_validate(recipe, tmp_path)


@pytest.mark.parametrize(
    ("trainings", "done", "at_once", "left"),
    [(4, 1, 1, 3.0), (4, 1, 4, 0.0), (12, 2, 2, 5.0), (5, 3, 2, 0.5), (5, 5, 2, 0)],
)
def test_the_time_left_is_that_of_the_rounds_to_come(trainings, done, at_once, left):
    assert rounds_left(trainings, done, at_once) == left
