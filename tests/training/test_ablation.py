import json
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import BaselineRecipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.ablation import ablate, plan_table, table_rows
from ser_meta.training.stages import run_stages

SHORT = ["stages.metadata.epochs=1", "stages.emotion.epochs=1", "data.group_size=3"]  # two folds
ROWS = {
    1: ["baseline", "ours"],
    2: ["without both", "without co-attention", "without ARI", "ours"],
    3: ["weighted sum", "ours"],
}


@pytest.fixture(scope="module")
def recipe(recipe_file):
    return load_recipe(str(recipe_file), SHORT)


@pytest.fixture(scope="module")
def table_2(recipe, tmp_path_factory):
    """The paper's Table II on the little corpus: the report and the folder."""
    folder = tmp_path_factory.mktemp("ablation") / "study"
    return ablate(2, {"tiny": recipe}, folder), folder


@pytest.mark.parametrize("table", ROWS)
def test_a_table_has_the_papers_rows(table, recipe):
    assert list(table_rows(table, recipe)) == ROWS[table]


def test_table_4_has_every_set_of_the_auxiliary_tasks(recipe):
    rows = table_rows(4, recipe)
    assert len(rows) == 16 and {len(row.model.auxiliary_tasks) for row in rows.values()} == {0, 1, 2, 3, 4}
    pair = rows["gender, transcript"]
    assert list(pair.stages["metadata"].loss_weights) == ["gender", "transcript"]
    assert list(pair.stages["emotion"].loss_weights) == ["emotion", "gender", "transcript"]
    assert list(rows["no auxiliary task"].stages) == ["emotion"]


def test_the_baseline_is_the_encoder_alone_with_as_many_epochs(recipe):
    row = table_rows(1, recipe)["baseline"]
    assert row.model.layer_fusion == "last_hidden" and not row.model.auxiliary_tasks
    assert list(row.stages) == ["emotion"] and row.stages["emotion"].epochs == 2
    assert row.stages["emotion"].loss_weights == {"emotion": 1.0} and row.stages["emotion"].freeze_layers == 0


def test_what_every_stage_freezes_is_frozen_in_the_baseline_too(recipe):
    stages = {name: replace(stage, freeze_layers=2) for name, stage in recipe.stages.items()}
    row = table_rows(1, replace(recipe, stages=stages))["baseline"]
    assert row.stages["emotion"].freeze_layers == 2


def test_a_recipe_that_lacks_what_a_row_leaves_out_is_refused(recipe):
    lacking = replace(recipe, model=replace(recipe.model, coattention=False))
    with pytest.raises(UserError, match="the recipe itself is the row 'without co-attention'"):
        table_rows(2, lacking)


def test_the_baseline_may_have_rates_of_its_own(recipe):
    given = replace(recipe, baseline=BaselineRecipe(head_learning_rate=0.01))
    rows, plain = table_rows(1, given), table_rows(1, recipe)
    stage = plain["baseline"].stages["emotion"]
    assert rows["ours"] == plain["ours"] == recipe
    assert rows["baseline"].stages["emotion"] == replace(stage, head_learning_rate=0.01) != stage


def test_every_cell_is_filled_and_compared(table_2):
    report, folder = table_2
    assert [row["name"] for row in report["rows"]] == ROWS[2]
    for row in report["rows"]:
        assert len(row["runs"]) == 2 and {"wa", "ua"} <= set(row["pooled"]["metrics"]["emotion"]["interval"])
    assert [difference["against"] for difference in report["differences"]] == ROWS[2][:3]
    by_name = {row["name"]: row["pooled"]["metrics"]["emotion"]["ua"] for row in report["rows"]}
    for difference in report["differences"]:
        assert difference["ua"]["difference"] == pytest.approx(by_name["ours"] - by_name[difference["against"]])
    assert report["paper"] == []
    assert json.loads((folder / "table-2" / "report.json").read_text()) == report


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
    by_style = {row["name"]: row["pooled"]["slices"]["style"] for row in report["rows"]}
    for difference in report["differences"]:
        for style, found in difference["slices"]["style"].items():
            ours, other = (by_style[row][style]["ua"] for row in ("ours", difference["against"]))
            assert found["ua"]["difference"] == pytest.approx(ours - other)
            assert len(found["ua"]["interval"]) == 2
        assert set(difference["slices"]["style"]) == {"improvised", "scripted"}


def test_a_plan_counts_what_is_left_and_writes_nothing(table_2, recipe, tmp_path):
    _, folder = table_2
    before = sorted(folder.rglob("*"))
    plan = plan_table(1, {"tiny": recipe}, folder)
    assert {row: [run.finished for run in runs] for (_, row), runs in plan.items()} == {
        "baseline": [False, False],
        "ours": [True, True],
    }
    assert sorted(folder.rglob("*")) == before
    plan_table(2, {"tiny": recipe}, tmp_path / "new", [1, 2])
    assert not (tmp_path / "new").exists()


def test_a_shared_first_stage_changes_nothing(table_2, recipe_file, tmp_path):
    report, _ = table_2
    alone = run_stages(load_recipe(str(recipe_file), [*SHORT, "data.test_fold=1"]), tmp_path / "run")
    assert report["rows"][-1]["runs"][1]["metrics"] == alone["metrics"]


def test_tables_in_one_folder_share_their_rows(table_2, recipe):
    _, folder = table_2
    before = {path: path.stat().st_mtime_ns for path in (folder / "tiny" / "ours").rglob("report.json")}
    report = ablate(1, {"tiny": recipe}, folder)
    assert [row["name"] for row in report["rows"]] == ROWS[1]
    assert {path: path.stat().st_mtime_ns for path in (folder / "tiny" / "ours").rglob("report.json")} == before


def test_a_killed_table_ends_as_if_nothing_had_happened(table_2, recipe, recipe_file, tmp_path):
    report = ablate(3, {"tiny": recipe}, table_2[1])
    command = [sys.executable, "-m", "ser_meta.training", "ablate", "3", recipe_file, *SHORT]
    command = list(map(str, [*command, "--output", tmp_path / "study", "--json"]))
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    # within the second of four trainings
    next(line for line in first.stderr if "1 of 4 trainings done" in line)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2_000:]
    repeated = json.loads(done.stdout)
    assert repeated["differences"] == report["differences"]
    assert [row["pooled"] for row in repeated["rows"]] == [row["pooled"] for row in report["rows"]]


def test_a_table_that_the_paper_does_not_have_is_refused(recipe, tmp_path):
    with pytest.raises(UserError, match="no table 5"):
        ablate(5, {"tiny": recipe}, tmp_path / "study")
