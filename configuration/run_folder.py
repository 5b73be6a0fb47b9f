"""The folders that a training and a study of many trainings write, and what is recorded there."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from .errors import UserError
from .recipe import Recipe, load_recipe, save_recipe


class RunFolder:
    """Paths and records of one run.

    Args:
        path: of the folder; `create` makes it.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.yaml"
        self.split = self.path / "split.json"
        self.state = self.path / "state.json"
        self.model = self.path / "model"
        self.predictions = self.path / "predictions.parquet"
        self.report = self.path / "report.json"
        self.plots = self.path / "plots"

    def check(self, recipe: Recipe, resume: bool) -> None:
        """Refuses a folder that holds something else than what `recipe` would write there.

        Raises:
            UserError: the folder is not empty and `resume` is off, or it holds another recipe's run.
        """
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return
        if not self.recipe.is_file():
            raise UserError(f"{self.path} exists and holds no run: choose another --output")
        if not resume:
            raise UserError(f"{self.path} holds another run: choose another --output, or go on with --resume")
        if load_recipe(str(self.recipe)) != recipe:
            raise UserError(
                f"{self.path} was started with another recipe: go on with {self.recipe}, or choose another --output"
            )

    def create(self, recipe: Recipe, split: dict[str, list[str]]) -> None:
        """Makes the folder and records the resolved recipe and every utterance's side."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.recipe.exists():
            save_recipe(recipe, self.recipe)
            write_json(self.split, split)

    def stage(self, index: int, name: str) -> Path:
        """Folder of the stage with this place, from 0."""
        return self.path / f"stage-{index + 1}-{name}"

    def read_state(self) -> dict[str, Any]:
        """By stage: what was recorded when it ended."""
        return read_json(self.state) if self.state.is_file() else {}

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
        self.report = self.path / "report.json"

    def begin(self, recipes: dict[str, Recipe]) -> None:
        """Makes the folder, and records the recipes by name.

        A recipe's seed and test fold play no part: a study goes through them.

        Raises:
            UserError: the folder holds something else, or other recipes under these names.
        """
        if self.path.exists() and any(self.path.iterdir()) and not self.recipes.is_dir():
            raise UserError(f"{self.path} exists and holds no study: choose another --output")
        self.recipes.mkdir(parents=True, exist_ok=True)
        for name, recipe in recipes.items():
            path = self.recipes / f"{name}.yaml"
            recipe = replace(recipe, seed=0, data=replace(recipe.data, test_fold=0))
            if path.is_file() and load_recipe(str(path)) != recipe:
                raise UserError(f"{self.path} was started with another recipe, {path}: choose another --output")
            save_recipe(recipe, path)


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON aside and moves it into place, so that no reader ever sees half of it."""
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, path)
