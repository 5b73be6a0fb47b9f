import json
import re
from threading import Thread

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder, moved_into_place, write_json

SPLIT = {"train": ["a"], "validation": [], "test": ["b"]}


@pytest.fixture
def recipe():
    return load_recipe("ravdess-whisper-base")


def test_a_new_or_empty_folder_is_free(recipe, tmp_path):
    RunFolder(tmp_path / "new").check(recipe, resume=False)
    RunFolder(tmp_path / "new").check(recipe, resume=True)
    RunFolder(tmp_path).check(recipe, resume=False)
    assert not any(tmp_path.iterdir())


def test_what_was_begun_goes_on_with_the_same_recipe_only(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(recipe, SPLIT)
    assert json.loads(run.split.read_text()) == SPLIT
    run.check(recipe, resume=True)
    with pytest.raises(UserError, match=f"{re.escape(str(run.path))} holds another run: .*--output.*--resume"):
        run.check(recipe, resume=False)
    other = load_recipe("ravdess-whisper-base", ["stages.emotion.epochs=99"])
    with pytest.raises(UserError, match="started with another recipe"):
        run.check(other, resume=True)


def test_going_on_keeps_what_was_recorded(recipe, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.create(recipe, SPLIT)
    written = run.recipe.stat().st_mtime_ns
    run.create(recipe, {"train": []})
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
    run.create(recipe, SPLIT)
    run.split.unlink()
    run.create(recipe, SPLIT)
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
