"""The folders that a training and a study of many trainings write, and what is recorded there."""

import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .errors import UserError
from .recipe import Recipe
from .recipe_files import load_recipe, save_recipe

# what the system says of a disk without room, through libraries that hand on its words alone; torch.save has its own
FULL = (*map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)), "PytorchStreamWriter", "unexpected pos")
JUDGED_SIDES = {"test": "predictions.parquet", "validation": "validation-predictions.parquet"}
JSON_LINE = 120  # characters
LOCK_SECONDS = 8  # processes that read recordings live 5 s longer than a training that was killed, and hold its lock


class RunFolder:
    """Paths and records of one run.

    Args:
        path: of the folder; `create` makes it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.yaml"
        self.split = self.path / "split.json"
        self.corpus = self.path / "corpus.json"
        self.heard_before = self.path / "heard-before.json"
        self.state = self.path / "state.json"
        self.model = self.path / "model"
        self.report = self.path / "report.json"
        self.plots = self.path / "plots"
        self.teacher = self.path / "teacher"  # what it says, until the student has been judged
        self.teacher_predictions = self.path / "teacher-predictions.parquet"

    def check(self, recipe: Recipe, resume: bool) -> None:
        """Refuses a folder that holds something else than what `recipe` would write there.

        Raises:
            UserError: the folder is not empty and `resume` is off, or it holds another recipe's run.
        """
        if not self.path.exists() or (self.path.is_dir() and not _visible(self.path)):
            return
        if not self.recipe.is_file():
            raise UserError(f"{self.path} exists and holds no run: choose another --output")
        if not resume:
            raise UserError(f"{self.path} holds another run: choose another --output, or go on with --resume")
        recorded = load_recipe(str(self.recipe))
        if recipe.precision == "auto":
            recipe = replace(recipe, precision=recorded.precision)
        if recorded.deciding != recipe.deciding and not _goes_further(recorded, recipe):
            raise UserError(
                f"{self.path} was started with another recipe: go on with {self.recipe}, or with more epochs of its "
                f"last stage; or choose another --output, and start there from its model by model.encoder={self.model}"
            )

    @property
    def recorded_precision(self) -> str | None:
        """In which a run that was begun computes; None for one that was not."""
        return load_recipe(str(self.recipe)).precision if self.recipe.is_file() else None

    def check_corpus(self, split: dict[str, list[str]], corpus: dict[str, str]) -> None:
        """Refuses to go on with other utterances, other sides, labels or recordings than the run was begun with.

        Args:
            split: the utterances on each side.
            corpus: by column a digest of what is in it.

        Raises:
            UserError: naming what differs.
        """
        differences = []
        if self.split.is_file():
            differences += _sides_that_differ(read_json(self.split), split)
        if self.corpus.is_file() and not differences:
            recorded = read_json(self.corpus)
            votes_not_recorded = {name for name in corpus if ":" in name} - recorded.keys()  # as in an older run
            names = [name for name in {**recorded, **corpus} if name not in votes_not_recorded]
            differences += [f"{name} is not what it was" for name in names if corpus.get(name) != recorded.get(name)]
        if differences:
            raise UserError(
                f"{self.path} was started with another corpus: {'; '.join(differences)}: restore the corpus, its "
                "quarantine and its table, or choose another --output"
            )

    def create(self, recipe: Recipe, split: dict[str, list[str]], corpus: dict[str, str]) -> None:
        """Makes the folder and records the resolved recipe, every utterance's side, and digests of the corpus."""
        make_folder(self.path)
        if not self.recipe.exists() or _goes_further(load_recipe(str(self.recipe)), recipe):
            _write_recipe(recipe, self.recipe)
        for path, record in ((self.split, split), (self.corpus, corpus)):
            if not path.exists():
                write_json(path, record)

    def record_heard_before(self, utterances: Iterable[str] | None) -> None:
        """Records what the model that the run starts from has learned from, once; None where nobody knows."""
        if not self.heard_before.exists():
            write_json(self.heard_before, None if utterances is None else sorted(utterances))

    @contextmanager
    def held(self, wait: bool = False) -> Iterator[None]:
        """Keeps all others from training into the folder, which is made if it is not there.

        Args:
            wait: until another training has ended.

        Raises:
            UserError: another training is at it, and `wait` is off.
        """
        make_folder(self.path)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=-1 if wait else LOCK_SECONDS)
        except Timeout as error:
            raise UserError(
                f"another training is writing to {self.path}: wait for its end, or choose another --output"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def stage(self, index: int, name: str) -> Path:
        """Folder of the stage with this place, from 0."""
        return self.path / f"stage-{index + 1}-{name}"

    def predictions_of(self, side: str) -> Path:
        """Those of the test or the validation side."""
        return self.path / JUDGED_SIDES[side]

    @property
    def predictions_in_conditions(self) -> Path:
        """Those of the test side made worse on purpose, with the column `condition`."""
        return self.path / "degraded-predictions.parquet"

    def read_state(self) -> dict[str, Any]:
        """By stage: what was recorded when it ended."""
        state = read_json(self.state) if self.state.is_file() else {}
        if not isinstance(state, dict) or not all(isinstance(ended, dict) for ended in state.values()):
            raise UserError(f"{self.state} is not what a training recorded: remove it to train its stages anew")
        return state

    def write_state(self, state: dict[str, Any]) -> None:
        """Records which stages have ended."""
        write_json(self.state, state)


class StudyFolder:
    """Paths of a study: many runs and what they show together.

    Args:
        path: of the folder.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipes = self.path / "recipes"
        self.predictions = self.path / "predictions.parquet"
        self.report = self.path / "report.json"

    def check(self, recipes: Mapping[str, Recipe]) -> None:
        """Refuses a folder that holds something else than a study of these recipes, by name.

        A recipe's seed and test fold play no part: a study goes through them.

        Raises:
            UserError: the folder holds something else, or other recipes under these names.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file, and no folder of a study: choose another --output")
        if self.path.exists() and _visible(self.path) and not self.recipes.is_dir():
            raise UserError(f"{self.path} exists and holds no study: choose another --output")
        for name, recipe in recipes.items():
            path = self._recipe(name)
            if path.is_file() and load_recipe(str(path)).of_study.deciding != recipe.of_study.deciding:
                raise UserError(f"{self.path} was started with another recipe, {path}: choose another --output")

    def create(self, recipes: Mapping[str, Recipe]) -> None:
        """Makes the folder, and records the recipes."""
        make_folder(self.recipes)
        for name, recipe in recipes.items():
            _write_recipe(recipe.of_study, self._recipe(name))

    def _recipe(self, name: str) -> Path:
        return self.recipes / f"{name}.yaml"


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, where they are not there; `UserError` where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be made: {error.strerror}") from error


@contextmanager
def written(path: Path | str) -> Iterator[None]:
    """Turns an error of writing into a `UserError` that names the file.

    Who reads standard output no longer, as `head` does, is left without a word.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"{error.filename or path} cannot be written: {error.strerror or error}") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds; `UserError` where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}): restore it from where it came") from error


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, so that no reader ever sees half of it; what fits on a line stands on one."""
    with moved_into_place(path) as aside:
        aside.write_text(_json_lines(value) + "\n", encoding="utf-8")


@contextmanager
def moved_into_place(path: Path) -> Iterator[Path]:
    """Gives a path beside this one for a file or folder, which takes its place when it has been written."""
    aside = path.with_name(f".{path.name}")
    _remove(aside)  # of a program that was killed while it wrote
    try:
        yield aside
    except BaseException:
        _remove(aside)
        raise
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(aside, path)


@contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Turns an error that comes of a full disk, whichever library raised it, into a `UserError`."""
    try:
        yield
    except Exception as error:
        reason = next((words for words in FULL if words in str(error)), None)
        if reason is None:
            raise
        raise UserError(
            f"{folder} cannot be written to ({reason}): make room, and the same command goes on from the last whole "
            "checkpoint, train and demo with --resume"
        ) from error


def _json_lines(value: Any, indent: int = 0) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or indent + len(line) <= JSON_LINE:
        return line
    if isinstance(value, dict):
        parts = [
            f"{json.dumps(str(name), ensure_ascii=False)}: {_json_lines(part, indent + 1)}"
            for name, part in value.items()
        ]
    else:
        parts = [_json_lines(part, indent + 1) for part in value]
    inner, outer = (f"\n{' ' * width}" for width in (indent + 1, indent))
    return f"{line[0]}{inner}{f',{inner}'.join(parts)}{outer}{line[-1]}"


def _goes_further(recorded: Recipe, recipe: Recipe) -> bool:
    """Whether a recipe differs from the one that a run was begun with in more epochs of its last stage alone."""
    if list(recorded.stages) != list(recipe.stages):
        return False
    *_, (name, last) = recorded.stages.items()
    epochs = recipe.stages[name].epochs
    further = replace(recorded, stages=recorded.stages | {name: replace(last, epochs=epochs)})
    return epochs > last.epochs and further.deciding == recipe.deciding


def _write_recipe(recipe: Recipe, path: Path) -> None:
    with moved_into_place(path) as aside:
        save_recipe(recipe, aside)


def _sides_that_differ(recorded: dict[str, list[str]], split: dict[str, list[str]]) -> Iterator[str]:
    """What is other than it was recorded, in words, by side."""
    for side, ids in split.items():
        before = recorded.get(side, [])
        for words, names in (("lacks", sorted({*before} - {*ids})), ("has the new", sorted({*ids} - {*before}))):
            if names:
                yield f"the {side} side {words} {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")
        if sorted(before) == sorted(ids) and before != ids:
            yield f"the {side} side has another order"


def _visible(folder: Path) -> list[Path]:
    """What a folder holds but for locks and what was being written when a program was killed."""
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
