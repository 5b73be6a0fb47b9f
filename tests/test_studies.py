import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import BaselineRecipe, Recipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.planning.tables import find_table, folder_name

STUDIES = Path(__file__).resolve().parents[1] / "examples" / "studies"
APART = ("ravdess-search", "raters", "ravdess-small")  # on validation sides, and studies of their own
RECIPES = sorted(path.stem for path in STUDIES.glob("*.yaml") if path.stem not in APART)
SETTINGS = sorted((STUDIES / "settings").glob("*.yaml"))
TINY = [
    "data.group_size=2",
    "model.coattention_heads=4",
    "precision=fp32",
    *(f"stages.{stage}.epochs=1" for stage in ("metadata", "emotion")),
]
LISTS = {recipe: ["data.emobox=EmoBox"] for recipe in ("ravdess-emobox", "ravdess-emobox-tuned")}
ONE_OF_EACH = ["nemo-frozen-probe", "nemo-frozen-table-2", "ravdess-table-1"]


def table_file(name: str) -> str:
    return str(STUDIES / "tables" / f"{name}.yaml")


def sum_of_epochs(recipe: Recipe) -> float:
    return sum(stage.epochs for stage in recipe.stages.values())


def write_noise(path: Path, chance: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * chance.normal(size=int(chance.uniform(5_000, 9_000))), 16_000)


@pytest.fixture(scope="module")
def ravdess(tmp_path_factory) -> Path:
    """Four actors speak and sing a sentence in two emotions."""
    folder, chance = tmp_path_factory.mktemp("ravdess"), np.random.default_rng(0)
    for actor in range(1, 5):
        for channel, name in (("01", "Speech"), ("02", "Song")):
            for emotion in ("03", "04"):
                recording = f"Actor_{actor:02}/03-{channel}-{emotion}-01-01-01-{actor:02}.wav"
                write_noise(folder / f"Audio_{name}_Actors_01-24" / recording, chance)
    return folder


@pytest.fixture(scope="module")
def emobox(ravdess, tmp_path_factory) -> Path:
    """EmoBox's lists of that speech: two folds of two actors."""
    folder, folds = tmp_path_factory.mktemp("emobox"), {"fold_1": ("01", "02"), "fold_2": ("03", "04")}
    lists = folder / "data" / "ravdess"
    spoken = sorted((ravdess / "Audio_Speech_Actors_01-24").rglob("*.wav"))
    for fold, tested in folds.items():
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for path in spoken:
            emotion = {"03": "Happy", "04": "Sad"}[path.stem.split("-")[2]]
            line = {"key": f"ravdess-{path.stem}", "dataset": "ravdess", "wav": path.name, "length": 1, "emo": emotion}
            lines["test" if path.stem[-2:] in tested else "train"].append(json.dumps(line))
        (lists / fold).mkdir(parents=True)
        for side, of_side in lines.items():
            (lists / fold / f"ravdess_{side}_{fold}.jsonl").write_text("\n".join(of_side), encoding="utf-8")
    (lists / "label_map.json").write_text(json.dumps({"Happy": "Happy", "Sad": "Sad"}), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def nemo(tmp_path_factory) -> Path:
    """Four actors speak a sentence in two emotions."""
    folder, chance = tmp_path_factory.mktemp("nemo"), np.random.default_rng(1)
    lines = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for speaker, gender in {"AB0": "female", "CD0": "male", "EF0": "female", "GH0": "male"}.items():
        for emotion in ("anger", "sadness"):
            name = f"{speaker}_{emotion}_1.wav"
            lines.append(f"{name}\t{emotion}\tGdzie jest kot?\tgdzie jest kot\t{speaker}\t{gender}\t30")
            write_noise(folder / "samples" / name, chance)
    (folder / "data.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def script():
    """The names of `run.py`, whose neighbours are found as when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STUDIES)
        yield runpy.run_path(str(STUDIES / "run.py"))


@pytest.fixture(scope="module")
def papers_tables(script):
    """Those of the paper's tables that a recipe is the full method of."""
    return lambda recipe: {table for _, of, table in script["STEPS"] if of == recipe} & set("1234")


@pytest.fixture(scope="module")
def take(script, ravdess, nemo, encoder_folder, tmp_path_factory):
    """Takes steps of the study of the tiny encoder, with one seed; always in the same folder."""
    output, states = tmp_path_factory.mktemp("studies") / "tiny", tmp_path_factory.mktemp("states")

    def run(**options) -> Path:
        settings = [*TINY, f"cache={states}"]
        script["main"](ravdess, nemo, str(encoder_folder), output, settings, seeds=[1], **options)
        return output

    return run


@pytest.fixture(scope="module")
def study(take) -> Path:
    return take(only=ONE_OF_EACH)


def test_a_step_is_there_for_every_recipe(script):
    tables = {recipe: {table for _, of, table in script["STEPS"] if of == recipe} for recipe in RECIPES}
    assert tables == {
        "nemo": set("1234"),
        "nemo-centred": {None, "1"},
        "nemo-frozen": {None, *"1234"},
        "nemo-light": {"1"},
        "ravdess": set("1234"),
        "ravdess-centred": {None, "1"},
        "ravdess-emobox": {None, "crossval", "1", *map(table_file, ("full-method", "what-decides", "longer"))},
        "ravdess-emobox-tuned": {"crossval"},
        "ravdess-frozen": {None, *"1234"},
        "ravdess-light": {"1", table_file("light")},
        "ravdess-speech": set("1234"),
    }


def test_settings_are_chosen_on_speakers_of_the_training_side(script):
    recipe = load_recipe(str(STUDIES / "ravdess-search.yaml"))
    assert recipe.data.validation == "speaker"
    names = []
    for table in SETTINGS:
        assert (f"ravdess-search-{table.stem}", "ravdess-search", str(table)) in script["STEPS"]
        names += [folder_name(row) for row in find_table(str(table)).rows(recipe)]
    assert len(set(names)) == len(names) - len(SETTINGS) + 1  # they share a folder, and the recipe alone stands in all


def test_the_table_of_every_step_fits_its_recipe(script):
    for _, recipe, table in script["STEPS"]:
        if table and table != "crossval":
            assert len(find_table(table).rows(load_recipe(str(STUDIES / f"{recipe}.yaml"), LISTS.get(recipe)))) > 1


def test_the_student_hears_what_its_teacher_hears():
    lists = LISTS["ravdess-emobox"]
    student = load_recipe(str(STUDIES / "ravdess-small.yaml"), [*lists, "distillation.teacher=studies/teachers"])
    assert student.data == load_recipe(str(STUDIES / "ravdess-emobox.yaml"), lists).data
    assert all(stage.keep == "last" for stage in student.stages.values())


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_is_chosen_by_a_score(name, papers_tables):
    recipe = load_recipe(str(STUDIES / f"{name}.yaml"), LISTS.get(name))
    for row in (row for table in papers_tables(name) for row in find_table(table).rows(recipe).values()):
        assert row.data.validation == "none" and all(stage.keep == "last" for stage in row.stages.values())


@pytest.mark.parametrize("name", RECIPES)
def test_all_rows_have_the_same_data_and_epochs_and_the_same_rates_without_a_search(name, papers_tables):
    recipe = replace(load_recipe(str(STUDIES / f"{name}.yaml"), LISTS.get(name)), baseline=BaselineRecipe())
    for row in (row for table in papers_tables(name) - {"4"} for row in find_table(table).rows(recipe).values()):
        assert row.data == recipe.data and row.precision == recipe.precision
        assert sum_of_epochs(row) == sum_of_epochs(recipe)
        for stage in row.stages.values():
            full = recipe.stages["emotion"]
            assert (stage.encoder_learning_rate, stage.head_learning_rate, stage.batch_size) == (
                full.encoder_learning_rate,
                full.head_learning_rate,
                full.batch_size,
            )


def test_the_two_corpora_differ_in_what_they_have_alone():
    for kind in ("", "-frozen", "-centred"):
        one, other = (load_recipe(str(STUDIES / f"{corpus}{kind}.yaml")) for corpus in ("ravdess", "nemo"))
        assert (one.data.group_size, other.data.group_size) == (4, 1)
        assert one.model.auxiliary_tasks == ["gender", "speaker", "style", "transcript"]
        assert other.model.auxiliary_tasks == ["gender", "speaker", "transcript"]
        for stage in one.stages.values():
            stage.loss_weights.pop("style")
        one.data, one.model.auxiliary_tasks = other.data, other.model.auxiliary_tasks
        assert one == other


def test_the_plan_counts_every_training_once(take, study, capsys):
    capsys.readouterr()
    take(plan=True)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    counts = {name: tuple(map(int, numbers)) for name, *numbers in lines[1:]}
    assert counts["nemo-frozen-table-2"] == (8, 0, 0) and counts["nemo-frozen-table-1"] == (4, 4, 0)
    assert counts["ravdess-frozen-table-2"] == (8, 8, 4)  # two folds, with and without ARI
    assert counts["ravdess-table-4"][:2] == (2 * 15, 2 * 15) and counts["nemo-table-4"][:2] == (2 * 7, 2 * 7)
    assert counts["all"] == tuple(
        sum(count[place] for name, count in counts.items() if name != "all") for place in (0, 1)
    )


def test_the_steps_leave_their_reports_and_a_summary(study):
    probes = json.loads((study / "nemo-frozen-probe" / "report.json").read_text())
    assert probes["protocol"]["folds"] == ["AB0+CD0", "EF0+GH0"]
    frozen = json.loads((study / "nemo-frozen" / "table-2" / "report.json").read_text())
    assert [row["name"] for row in frozen["rows"]] == ["without both", "without co-attention", "without ARI", "ours"]
    table = json.loads((study / "ravdess" / "table-1" / "report.json").read_text())
    summary = (study / "summary.md").read_text()
    assert [line for line in summary.splitlines() if line.startswith("## ")] == [
        "## nemo-frozen, Table II: without ARI, without co-attention, without both",
        "## nemo-frozen, linear probes",
        "## ravdess, Table I: the encoder alone, and the full method",
    ]
    difference, of_the_best_layer = table["differences"]
    row = next(line for line in summary.splitlines() if line.startswith("| baseline |"))
    for found in (difference, difference["slices"]["style"]["song"]):  # four actors are too few for an interval
        assert f"{100 * found['ua']['difference']:+.1f} (no interval)" in row and "interval" not in found["ua"]
    assert of_the_best_layer["against"] == "baseline, best layer" and "| baseline, best layer |" in summary


def test_a_second_call_trains_nothing(take, study):
    before = {path: path.stat().st_mtime_ns for path in study.rglob("predictions.parquet")}
    probe = (study / "nemo-frozen-probe" / "report.json").stat().st_mtime_ns
    assert len(before) == 8 + 6
    take(only=ONE_OF_EACH)
    assert {path: path.stat().st_mtime_ns for path in study.rglob("predictions.parquet")} == before
    assert (study / "nemo-frozen-probe" / "report.json").stat().st_mtime_ns == probe


def test_a_table_goes_on_with_what_the_recipe_alone_has_trained(take, emobox):
    study = take(only=["ravdess-emobox-crossval"], emobox=emobox)
    ours = study / "ravdess-emobox" / "ravdess-emobox" / "ours"
    trained = {path: path.stat().st_mtime_ns for path in ours.glob("seed-*/fold-*/report.json")}
    take(only=["ravdess-emobox-table-1"], emobox=emobox)
    assert len(trained) == 2 and {path: path.stat().st_mtime_ns for path in trained} == trained
    table = json.loads((study / "ravdess-emobox" / "table-1" / "report.json").read_text())
    alone = json.loads((ours / "report.json").read_text())
    assert table["rows"][-1]["pooled"]["metrics"]["emotion"] == alone["pooled"]["metrics"]["emotion"]


def test_the_steps_on_emoboxs_folds_need_its_lists(take, tmp_path):
    with pytest.raises(UserError, match="the steps ravdess-emobox-\\* need --emobox, a clone of https"):
        take(only=["ravdess-emobox-table-1"])
    with pytest.raises(UserError, match=f"emobox: no folds in {tmp_path}/data/ravdess"):
        take(only=["ravdess-emobox-table-1"], emobox=tmp_path)


def test_the_committed_pages_are_made_of_the_committed_reports(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(STUDIES)
    write_pages, committed = runpy.run_path(str(STUDIES / "pages.py"))["write_pages"], STUDIES / "whisper-base"
    reports = [
        path for path in committed.rglob("report.json") if path.parent.name in ("table-1", "ravdess-frozen-probe")
    ]
    for path in reports:
        shutil.copytree(path.parent, tmp_path / path.parent.relative_to(committed), ignore=lambda *_: ["plots"])
    assert len(reports) == 8
    write_pages(tmp_path, tmp_path / "pages")
    for path in (path for path in reports if path.parent.name == "table-1"):
        folder = path.parent.relative_to(committed)
        written, plots = tmp_path / "pages" / folder, {each.name for each in (committed / folder / "plots").iterdir()}
        assert (written / "report.md").read_text() == (committed / folder / "report.md").read_text()
        assert {each.name for each in (written / "plots").iterdir()} == plots and (written / "report.html").is_file()


def test_the_committed_summary_is_made_of_the_committed_reports(monkeypatch):
    monkeypatch.syspath_prepend(STUDIES)
    summarize = runpy.run_path(str(STUDIES / "summary.py"))["summarize"]
    assert summarize(STUDIES / "whisper-base") == (STUDIES / "whisper-base" / "summary.md").read_text(encoding="utf-8")


def test_a_step_that_there_is_not_is_refused(take):
    with pytest.raises(UserError, match="no step ravdess-table-5: choose among"):
        take(only=["ravdess-table-5"])
