import json
import re
from threading import Thread

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder, StudyFolder, moved_into_place, read_json, write_json

SPLIT = {"train": ["a"], "validation": [], "test": ["b"]}
CORPUS = {"emotion": "12", "recordings": "34"}


@pytest.fixture
def recipe():
    return load_recipe("ravdess-whisper-base")


def test_a_new_or_empty_folder_is_free(recipe, tmp_path):
    RunFolder(tmp_path / "new").check(recipe, resume=False)
    RunFolder(tmp_path / "new").check(recipe, resume=True)
    RunFolder(tmp_path).check(recipe, resume=False)
    assert not any(tmp_path.iterdir())


def test_what_was_begun_goes_on_with_the_same_recipe_or_more_epochs_at_its_end(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(recipe, SPLIT, CORPUS)
    assert json.loads(run.split.read_text()) == SPLIT and json.loads(run.corpus.read_text()) == CORPUS
    run.check(recipe, resume=True)
    with pytest.raises(UserError, match=f"{re.escape(str(run.path))} holds another run: .*--output.*--resume"):
        run.check(recipe, resume=False)
    run.check(load_recipe("ravdess-whisper-base", ["stages.emotion.epochs=99"]), resume=True)
    for changes in (
        ["stages.emotion.epochs=1"],
        ["stages.metadata.epochs=99"],
        ["stages.emotion.epochs=99", "seed=2"],
    ):
        with pytest.raises(UserError, match="started with another recipe"):
            run.check(load_recipe("ravdess-whisper-base", changes), resume=True)


def test_settings_that_change_no_result_may_change_when_going_on(recipe, tmp_path):
    run, study = RunFolder(tmp_path / "run"), StudyFolder(tmp_path / "study")
    run.create(recipe, SPLIT, CORPUS)
    study.create({"one": recipe})
    other = load_recipe(
        "ravdess-whisper-base", ["workers=3", f"cache={tmp_path}", "cache_layers=false", "report_to=[tensorboard]"]
    )
    assert other != recipe
    run.check(other, resume=True)
    study.check({"one": other})
    with pytest.raises(UserError, match="started with another recipe"):
        study.check({"one": load_recipe("ravdess-whisper-base", ["model.dropout=0.9"])})


def test_going_on_keeps_the_precision_that_was_chosen(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    assert run.recorded_precision is None
    run.create(load_recipe("ravdess-whisper-base", ["precision=bf16"]), SPLIT, CORPUS)
    assert run.recorded_precision == "bf16"
    run.check(load_recipe("ravdess-whisper-base", ["precision=auto"]), resume=True)
    with pytest.raises(UserError, match="started with another recipe"):
        run.check(load_recipe("ravdess-whisper-base", ["precision=fp32"]), resume=True)


@pytest.mark.parametrize(
    ("split", "corpus", "message"),
    [
        ({**SPLIT, "test": []}, CORPUS, "the test side lacks b:"),
        ({**SPLIT, "train": ["a", "c", "d"]}, CORPUS, "the train side has the new c and 1 more:"),
        ({**SPLIT, "train": [], "test": ["b", "a"]}, CORPUS, "the train side lacks a; the test side has the new a:"),
        (SPLIT, {**CORPUS, "emotion": "5"}, "emotion is not what it was:"),
        (SPLIT, {**CORPUS, "recordings": "5"}, "recordings is not what it was:"),
        (SPLIT, {**CORPUS, "style": "5"}, "style is not what it was:"),
    ],
)
def test_what_was_begun_does_not_go_on_with_another_corpus(split, corpus, message, recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.check_corpus(SPLIT, CORPUS)
    run.create(recipe, SPLIT, CORPUS)
    run.check_corpus(SPLIT, CORPUS)
    with pytest.raises(UserError, match=f"was started with another corpus: {message} restore"):
        run.check_corpus(split, corpus)


def test_a_run_whose_record_lacks_a_column_goes_on_and_one_whose_corpus_lacks_it_does_not(recipe, tmp_path):
    run, voted = RunFolder(tmp_path / "run"), {**CORPUS, "emotion:angry": "6"}
    run.create(recipe, SPLIT, CORPUS)
    run.check_corpus(SPLIT, voted)
    other = RunFolder(tmp_path / "other")
    other.create(recipe, SPLIT, voted)
    with pytest.raises(UserError, match="another corpus: emotion:angry is not what it was"):
        other.check_corpus(SPLIT, CORPUS)


def test_going_on_keeps_what_was_recorded(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(recipe, SPLIT, CORPUS)
    written = run.recipe.stat().st_mtime_ns
    run.create(recipe, {"train": []}, {})
    assert run.recipe.stat().st_mtime_ns == written and json.loads(run.split.read_text()) == SPLIT


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_or_file_of_something_else_is_left_alone(recipe, tmp_path, resume):
    (tmp_path / "notes.txt").write_text("mine")
    for taken in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match=r"holds no run: choose another --output"):
            RunFolder(taken).check(recipe, resume)


def test_the_state_starts_empty_and_reads_back(tmp_path):
    run = RunFolder(tmp_path)
    assert run.read_state() == {}
    run.write_state({"metadata": {"steps": 3, "log": [{"loss": 0.5}]}})
    assert run.read_state() == {"metadata": {"steps": 3, "log": [{"loss": 0.5}]}}
    assert run.stage(1, "emotion").name == "stage-2-emotion"


def test_json_replaces_the_old_whole_or_not_at_all(tmp_path):
    path = tmp_path / "value.json"
    write_json(path, {"label": "żal"})
    with pytest.raises(TypeError):
        write_json(path, {"label": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"label": "żal"}
    assert [file.name for file in tmp_path.iterdir()] == ["value.json"]


def test_what_fits_on_a_line_of_json_stands_on_one(tmp_path):
    value = {"confusion": [[4, 1], [0, 7]], "żal": {"many": list(range(60)), "none": {}, "quoted": '"\n'}, "n": 12}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "value.json") == value
    assert ' "confusion": [[4, 1], [0, 7]],' in text.splitlines() and max(map(len, text.splitlines())) <= 120


def test_what_was_written_by_half_is_not_there_and_is_no_hindrance(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    (run.path / ".model").mkdir(parents=True)
    (run.path / ".model" / "half").touch()
    run.check(recipe, resume=False)
    for content in ("old", "new"):
        with moved_into_place(run.model) as aside:
            aside.mkdir()
            (aside / content).touch()
    with pytest.raises(KeyboardInterrupt), moved_into_place(run.model) as aside:
        aside.mkdir()
        raise KeyboardInterrupt
    assert [path.name for path in run.path.rglob("*")] == ["model", "new"]


def test_a_split_that_was_not_recorded_yet_is_recorded_when_going_on(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(recipe, SPLIT, CORPUS)
    run.split.unlink()
    run.create(recipe, SPLIT, CORPUS)
    assert json.loads(run.split.read_text()) == SPLIT


def test_one_training_holds_a_folder_and_another_can_wait_for_it(tmp_path):
    order = []

    def follow():
        with RunFolder(tmp_path / "run").held(wait=True):
            order.append("second")

    with RunFolder(tmp_path / "run").held():
        waiting = Thread(target=follow)
        waiting.start()
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path, recipe):
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "run"
    for make in (lambda: RunFolder(below).create(recipe, SPLIT, CORPUS), lambda: StudyFolder(below).create({})):
        with pytest.raises(UserError, match=rf"^{below}\S* cannot be made: Not a directory$"):
            make()
