import json
import signal
from dataclasses import replace

import killable
import pandas
import pytest
import torch
from safetensors.torch import load_file

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import BaselineRecipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.records import from_json
from ser_meta.configuration.report import read_report
from ser_meta.configuration.study_report import AblationReport, read_study_report
from ser_meta.training.measures.metrics import flatten
from ser_meta.training.planning.tables import find_table
from ser_meta.training.runs.stages import run_stages, train_first_stage
from ser_meta.training.studies.ablation import ablate, plan_table

SHORT = ["stages.metadata.epochs=1", "stages.emotion.epochs=1", "data.group_size=3"]  # two folds
BRIEF = ["stages.metadata.epochs=0.5", "stages.emotion.epochs=0.2"]
ROWS = {
    "1": ["baseline", "baseline, best layer", "ours"],
    "2": ["without both", "without co-attention", "without ARI", "ours"],
    "3": ["weighted sum", "ours"],
}


@pytest.fixture(scope="module")
def recipe(recipe_file):
    return load_recipe(str(recipe_file), SHORT)


@pytest.fixture(scope="module")
def table_2(recipe, tmp_path_factory):
    """The paper's Table II on the little corpus: the report and the folder."""
    folder = tmp_path_factory.mktemp("ablation") / "study"
    return ablate("2", {"tiny": recipe}, folder), folder


@pytest.fixture(scope="module")
def table_1(recipe, table_2):
    """Table I in the same folder: the report, and by file when its last row had been judged before."""
    _, folder = table_2
    before = {path: path.stat().st_mtime_ns for path in (folder / "tiny" / "ours").rglob("report.json")}
    return ablate("1", {"tiny": recipe}, folder), before


@pytest.mark.parametrize("table", ROWS)
def test_a_table_has_the_papers_rows(table, recipe):
    assert list(find_table(table).rows(recipe)) == ROWS[table]


def test_table_4_has_every_set_of_the_auxiliary_tasks(recipe):
    rows = find_table("4").rows(recipe)
    assert len(rows) == 16 and {len(row.model.auxiliary_tasks) for row in rows.values()} == {0, 1, 2, 3, 4}
    pair = rows["gender, transcript"]
    assert list(pair.stages["metadata"].loss_weights) == ["gender", "transcript"]
    assert list(pair.stages["emotion"].loss_weights) == ["emotion", "gender", "transcript"]
    assert list(rows["no auxiliary task"].stages) == ["emotion"]


def test_the_baseline_is_the_encoder_alone_with_as_many_epochs(recipe):
    row = find_table("1").rows(recipe)["baseline"]
    assert row.model.layer_fusion == "last_hidden" and not row.model.auxiliary_tasks
    assert list(row.stages) == ["emotion"] and row.stages["emotion"].epochs == 2
    assert row.stages["emotion"].loss_weights == {"emotion": 1.0} and row.stages["emotion"].freeze_layers == 0


def test_what_every_stage_freezes_is_frozen_in_the_baseline_too(recipe):
    stages = {name: replace(stage, freeze_layers=2) for name, stage in recipe.stages.items()}
    row = find_table("1").rows(replace(recipe, stages=stages))["baseline"]
    assert row.stages["emotion"].freeze_layers == 2


def test_a_recipe_that_lacks_what_a_row_leaves_out_is_refused(recipe):
    lacking = replace(recipe, model=replace(recipe.model, coattention=False))
    with pytest.raises(UserError, match="the recipe itself is the row 'without co-attention'"):
        find_table("2").rows(lacking)


def test_the_baseline_may_have_rates_of_its_own(recipe):
    given = replace(recipe, baseline=BaselineRecipe(head_learning_rate=0.01))
    rows, plain = find_table("1").rows(given), find_table("1").rows(recipe)
    stage = plain["baseline"].stages["emotion"]
    assert rows["ours"] == plain["ours"] == recipe
    assert rows["baseline"].stages["emotion"] == replace(stage, head_learning_rate=0.01) != stage


def test_every_cell_is_filled_and_compared(table_2):
    report, folder = table_2
    assert [row.name for row in report.rows] == ROWS["2"]
    for row in report.rows:
        assert len(row.runs) == 2 and {"wa", "ua"} <= set(row.measures["interval"])
    assert [difference.against for difference in report.differences] == ROWS["2"][:3]
    by_name = {row.name: row.measures["ua"] for row in report.rows}
    for difference in report.differences:
        assert difference.ua["difference"] == pytest.approx(by_name["ours"] - by_name[difference.against])
    assert report.paper == []
    assert read_study_report(folder / "table-2" / "report.json") == report


def first_stage_of(folder, row: str) -> dict:
    """What was recorded of it, with the seconds that it took."""
    return json.loads((folder / "tiny" / row / "seed-1" / "fold-0" / "state.json").read_text())["metadata"]


def test_rows_that_need_the_same_first_stage_share_it(table_2):
    _, folder = table_2
    assert first_stage_of(folder, "ours") == first_stage_of(folder, "without-co-attention")
    assert first_stage_of(folder, "without-ARI") == first_stage_of(folder, "without-both")
    assert first_stage_of(folder, "ours") != first_stage_of(folder, "without-ARI")


def test_shared_first_stages_go_with_the_last_row_that_needs_them(table_2):
    _, folder = table_2
    assert list((folder / "tiny" / "first-stages").iterdir()) == []
    assert not list(folder.rglob("*.safetensors"))


def test_each_style_is_compared_apart(table_2):
    report, _ = table_2
    by_style = {row.name: row.pooled.slices["style"] for row in report.rows}
    for difference in report.differences:
        for style, found in difference.slices["style"].items():
            ours, other = (by_style[row][style]["ua"] for row in ("ours", difference.against))
            assert found["ua"]["difference"] == pytest.approx(ours - other)
            assert len(found["ua"]["interval"]) == 2
        assert set(difference.slices["style"]) == {"improvised", "scripted"}


def test_a_plan_counts_what_is_left_and_writes_nothing(table_2, recipe, tmp_path):
    _, folder = table_2
    before = sorted(folder.rglob("*"))
    plan = plan_table(find_table("1"), {"tiny": recipe}, folder)
    assert {row: [run.finished for run in runs] for (_, row), runs in plan.items()} == {
        "baseline": [False, False],
        "baseline, best layer": [False, False],
        "ours": [True, True],
    }
    assert sorted(folder.rglob("*")) == before
    plan_table(find_table("2"), {"tiny": recipe}, tmp_path / "new", [1, 2])
    assert not (tmp_path / "new").exists()


def test_a_shared_first_stage_changes_nothing(table_2, recipe_file, tmp_path):
    report, folder = table_2
    alone = run_stages(load_recipe(str(recipe_file), [*SHORT, "data.test_fold=1"]), tmp_path / "run")
    training = report.rows[-1].runs[1]
    assert read_report(folder / "tiny" / "ours" / training.folder / "report.json").metrics == alone.metrics
    assert flatten(training.metrics) == flatten(alone.metrics)


def test_a_shared_first_stage_that_learns_the_target_is_taken_over_whole(recipe_file, tmp_path):
    """Classifier, co-attention and pooling too, which it has moved."""
    settings = [*BRIEF, "stages.metadata.loss_weights.emotion=1", "model.frame_pooling=[attentive_mean]"]
    recipe = load_recipe(str(recipe_file), [*settings, "model.coattention_pooled_frames=true"])
    train_first_stage(recipe, tmp_path / "first")
    run_stages(recipe, tmp_path / "shared", first_stage=tmp_path / "first")
    run_stages(recipe, tmp_path / "alone")
    shared, alone = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("shared", "alone"))
    assert set(shared) == set(alone) and any(name.startswith("frame_pooling.") for name in alone)
    assert [name for name in alone if not torch.equal(shared[name], alone[name])] == []


def test_tables_in_one_folder_share_their_rows(table_2, table_1):
    _, folder = table_2
    report, before = table_1
    assert [row.name for row in report.rows] == ROWS["1"]
    assert {path: path.stat().st_mtime_ns for path in (folder / "tiny" / "ours").rglob("report.json")} == before


def test_a_killed_table_ends_as_if_nothing_had_happened(table_1, recipe_file, command_line, tmp_path):
    report, _ = table_1
    study = tmp_path / "study"
    command = ["ablate", "1", recipe_file, *SHORT, "--output", study, "--json"]
    # within the fifth of six trainings, between the stage that others may share and its own
    fifth = {"writing": study, "kill_at": "ours/seed-1/fold-0/stage-2-emotion"}
    assert killable.run(*command, log=tmp_path / "log", **fifth) == -signal.SIGKILL
    assert len(list(study.rglob("fold-*/report.json"))) == 4
    code, printed, errors = command_line(*command)
    assert code == 0, errors
    repeated = from_json(AblationReport, json.loads(printed), "report")
    assert repeated.differences == report.differences
    assert [row.pooled for row in repeated.rows] == [row.pooled for row in report.rows]


def test_a_table_that_the_paper_does_not_have_is_refused(recipe, tmp_path):
    with pytest.raises(UserError, match="no table 5: choose one of 1, 2, 3, 4, or give a YAML file"):
        ablate("5", {"tiny": recipe}, tmp_path / "study")


OWN = """
title: Heads and losses
rows:
  two heads / no gradient:
    model: {coattention_heads: 2, coattention_gradient: false}
  no gender:
    model: {auxiliary_tasks: [speaker, style, transcript]}
    stages: {metadata: {loss_weights: {gender: 0}}, emotion: {loss_weights: {gender: 0}}}
  slower:
    data: {speed_factors: [0.8, 1.0]}
"""


@pytest.fixture
def own_table(tmp_path):
    """Writes a table of one's own."""

    def write(text: str) -> str:
        (tmp_path / "own.yaml").write_text(text)
        return str(tmp_path / "own.yaml")

    return write


def test_a_table_of_ones_own_changes_the_recipe_row_by_row(recipe, own_table):
    table = find_table(own_table(OWN))
    assert (table.name, table.title) == ("own", "Heads and losses")
    rows = table.rows(recipe)
    assert list(rows) == ["two heads / no gradient", "no gender", "slower", "ours"] and rows["ours"] == recipe
    model = replace(recipe.model, coattention_heads=2, coattention_gradient=False)
    assert rows["two heads / no gradient"] == replace(recipe, model=model)
    assert rows["slower"] == replace(recipe, data=replace(recipe.data, speed_factors=[0.8, 1.0]))
    assert list(rows["no gender"].stages["emotion"].loss_weights) == ["emotion", "speaker", "style", "transcript"]


def test_a_row_takes_a_stage_away_or_all_auxiliary_tasks(recipe, own_table):
    rows = find_table(
        own_table(
            "title: Parts\nrows:\n  one stage: {stages: {metadata: null}}\n  no task: {model: {auxiliary_tasks: []}}\n"
            "  two tasks: {model: {auxiliary_tasks: [style, gender]}}"
        )
    ).rows(recipe)
    assert rows["one stage"] == replace(recipe, stages={"emotion": recipe.stages["emotion"]})
    assert rows["no task"] == find_table("4").rows(recipe)["no auxiliary task"]
    assert list(rows["no task"].stages) == ["emotion"]
    assert {name: list(stage.loss_weights) for name, stage in rows["two tasks"].stages.items()} == {
        "metadata": ["gender", "style"],
        "emotion": ["emotion", "gender", "style"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows: {a: {seed: 2}}", "has the title None"),
        ("rows: {a: {seed: 2}}\ntitel: a", "has 'titel': it must have a title and rows"),
        ("title: a\nrows: [b]", r"has the rows \['b'\]: write each as a name"),
        ("title: 4\nrows: {b: {model: {dropout: 0}}}", "has the title 4: give it one in words"),
        ("title: a\nrows: {b: {}}", "the row 'b' changes nothing"),
        ("title: a\nrows: {b c: {model: {dropout: 0}}, b/c: {model: {dropout: 0.2}}}", "needs a name of its own"),
        ("title: a\nrows: {../..: {model: {dropout: 0}}}", "needs a name of its own"),
        ("title: a\nrows: {ours: {model: {dropout: 0}}}", "none may be 'ours'"),
        (
            "title: a\nrows: {b: {model: {dropuot: 0}}}",
            "row 'b': unknown recipe key model.dropuot: did you mean",
        ),
        ("title: a\nrows: {b: {model: {dropout: much}}}", "row 'b': model.dropout"),
        ("title: a\nrows: {b: {stages: {emotion: {epochs: -1}}}}", "row 'b': .*epochs"),
        ("title: a\nrows: {b: {data: {group_size: 1}}}", "row 'b': rows are compared on the same recordings"),
        (
            "title: a\nrows: {b: {data: {ties: first}}}",
            "row 'b': rows are judged on the same utterances, and with data.ties",
        ),
        ("title: a\nrows: {b: {seed: 7}}", "row 'b': rows are compared on the same seeds"),
        (
            "title: a\nrows: {b: {model: {target_task: style, auxiliary_tasks: []}, stages: {metadata: {loss_weights: "
            "{gender: 0, speaker: 0, style: 1, transcript: 0}}, emotion: {loss_weights: "
            "{emotion: 0, gender: 0, speaker: 0, style: 1, transcript: 0}}}}}",
            "row 'b': rows are compared on the same target",
        ),
        (
            "title: a\nrows: {b: {stages: {emotion: {loss_weights: {gendr: 0, speaker: 0}}}}}",
            r"row 'b': stages\.emotion\.loss_weights='gendr' must be one of emotion, gender",
        ),
        (
            "title: a\nrows: {b: {stages: {metadata: {loss_weights: {emotion: 0, speaker: 0}}}}}",
            r"row 'b': stages\.metadata\.loss_weights\.emotion=0 takes nothing away: the recipe's are gender, speaker",
        ),
        (
            "title: a\nrows: {b: {stages: {metadat: null}}}",
            r"row 'b': stages\.metadat=null takes no stage away: there are metadata, emotion",
        ),
        ("title: a\nrows: {b: {baseline: {head_learning_rate: 0.1}}}", "the recipe itself is the row 'b'"),
        ("title: a\nrows: {b: {model: {coattention: true}}}", "the recipe itself is the row 'b'"),
        (
            "title: a\nrows: {b: {model: {frame_pooling: [deviation]}}}",
            r"the recipe itself is the row 'b'.*; model\.frame_pooling changes nothing: beside the co-attention",
        ),
        ("title: a\nrows: &r {b: *r}", "own.yaml"),
    ],
)
def test_a_table_that_cannot_be_compared_is_refused(text, message, recipe, own_table):
    with pytest.raises(UserError, match=message):
        find_table(own_table(text)).rows(recipe)


def test_rows_that_learn_votes_need_a_corpus_that_always_brings_them(own_table):
    table = find_table(own_table("title: a\nrows: {majority: {data: {votes: majority}}}"))
    shares = load_recipe("iemocap-wavlm-base", ["data.votes=shares"])
    with pytest.raises(UserError, match=r'row \'majority\': iemocap brings .* by "data\.options=\{votes: true\}"'):
        table.rows(shares)
    brought = load_recipe("iemocap-wavlm-base", ["data.votes=shares", "data.options={votes: true}"])
    assert list(table.rows(brought)) == ["majority", "ours"]


def test_rows_are_compared_on_the_validation_side(recipe, own_table, tmp_path):
    tried = replace(recipe, data=replace(recipe.data, validation="speaker", validation_fraction=0.4))
    path = own_table("title: Heads\nrows: {two heads: {model: {coattention_heads: 2}}}")
    report = ablate(path, {"tiny": tried}, tmp_path / "study", side="validation")
    folder = tmp_path / "study" / "tiny"
    tables = {
        row: pandas.concat(map(pandas.read_parquet, sorted((folder / name).rglob("validation-predictions.parquet"))))
        for row, name in {"two heads": "two-heads", "ours": "ours"}.items()
    }
    for row in report.rows:
        table = tables[row.name]
        recalls = (table["emotion"] == table["emotion_predicted"]).groupby(table["emotion"]).mean()
        assert row.measures["ua"] == pytest.approx(recalls.mean())
    split = json.loads((folder / "ours" / "seed-1" / "fold-0" / "split.json").read_text())
    judged = pandas.read_parquet(folder / "ours" / "seed-1" / "fold-0" / "validation-predictions.parquet")
    assert sorted(judged["utterance_id"]) == sorted(split["validation"]) and not set(split["test"]) & set(
        judged["utterance_id"]
    )
    (difference,) = report.differences
    first, second = (row.measures["ua"] for row in report.rows[::-1])
    assert difference.ua["difference"] == pytest.approx(first - second)
    speakers = pandas.concat(tables.values())["speaker"].nunique()
    assert f"the validation sides of {speakers} speakers" in report.protocol.judged_on
    page = (tmp_path / "study" / "table-own-validation" / "report.md").read_text()
    assert "# Heads" in page and "All validation utterances" in page


def test_a_row_that_says_something_else_by_now_is_not_taken_for_what_has_been_trained(table_2, recipe, own_table):
    changed = own_table("title: a\nrows: {without ARI: {model: {dropout: 0.4}}}")
    with pytest.raises(UserError, match="without-ARI/seed-1/fold-0 was started with another recipe"):
        ablate(changed, {"tiny": recipe}, table_2[1])


def test_a_file_with_the_name_of_a_table_of_the_paper_is_refused(tmp_path):
    (tmp_path / "4.yaml").write_text("title: a\nrows: {b: {model: {dropout: 0.3}}}")
    with pytest.raises(UserError, match="has the name of one of the paper's tables"):
        find_table(str(tmp_path / "4.yaml"))


def test_a_validation_side_must_be_there_to_compare_on(recipe, tmp_path):
    with pytest.raises(UserError, match="recipe tiny has no validation side"):
        ablate("1", {"tiny": recipe}, tmp_path / "study", side="validation")
    with pytest.raises(UserError, match="'train': choose one of test, validation"):
        ablate("1", {"tiny": recipe}, tmp_path / "study", side="train")
