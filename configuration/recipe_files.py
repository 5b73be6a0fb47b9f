"""Recipes as YAML: read, with settings on top, and written. Those of the package are in `recipes/`."""

import difflib
import os.path
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from . import written
from .errors import UserError
from .recipe import SINGLE_CORPUS, Recipe
from .recipe_checks import check_recipe

RECIPES = Path(__file__).parent / "recipes"
DEFAULT_BATCH_SIZE = 4  # the paper's section III-B


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe, applies `key=value` overrides and checks it.

    Args:
        name_or_path: a YAML file, or the name of one that comes with the package. Its top-level `extends` names a
            recipe that it changes: one that comes with the package, or a file beside it.
        overrides: such as `stages.emotion.epochs=20`.

    Raises:
        UserError: no such recipe, an unknown key, a value of the wrong type or outside its choices.
    """
    where = f"recipe {name_or_path}"
    with _errors_told(where):
        given = _change(_read(name_or_path), read_settings(overrides or [], Recipe))
    return _typed(Recipe, given, where)


def change_recipe(recipe: Recipe, change: dict[str, Any], where: str) -> Recipe:
    """A recipe with some settings changed, written and checked as in a file; errors begin with `where`."""
    return _typed(recipe, OmegaConf.create(change), where)


def _typed(base: type[Recipe] | Recipe, change: DictConfig, where: str) -> Recipe:
    with _errors_told(where):
        recipe = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(base), change))
    for stage in recipe.stages.values():
        if stage.batch_duration is None:
            stage.batch_size = DEFAULT_BATCH_SIZE if stage.batch_size is None else stage.batch_size
        stage.loss_weights = {task: weight for task, weight in stage.loss_weights.items() if weight}
    try:
        check_recipe(recipe)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return recipe


@contextmanager
def _errors_told(where: str) -> Iterator[None]:
    """Turns what OmegaConf says of keys and values into a `UserError`."""
    try:
        yield
    except ConfigKeyError as error:
        raise UserError(f"{where}: {_unknown_key(error)}") from error
    except MissingMandatoryValue as error:
        raise UserError(f"{where}: {error.full_key} has no value: set it, as {error.full_key}=...") from error
    except (OmegaConfBaseException, TypeError) as error:  # the latter for a list where a mapping belongs
        key = getattr(error, "full_key", None) or ""
        raise UserError(f"{where}: {key} {str(error).splitlines()[0]}") from error


def read_settings(settings: list[str], kind: Any = Any) -> DictConfig:
    """Settings such as `stages.emotion.epochs=20`, each value read as YAML by its type within `kind`, see `written`.

    Raises:
        UserError: a setting without a value, or with one that is no YAML.
    """
    parts = [_read_setting(setting, kind) for setting in settings]
    return OmegaConf.merge({}, *parts)


def _read_setting(setting: str, kind: Any) -> dict[str, Any]:
    name, equals, value = setting.partition("=")
    if not (name and equals):
        raise UserError(f"{setting!r} is no setting: write it as key=value")
    keys = name.replace("[", ".").replace("]", "").split(".")
    try:
        read = written.nested(keys, written.read(value, written.kind_at(kind, keys)))
    except yaml.YAMLError as error:
        raise UserError(f"{setting} is no YAML: {' '.join(str(error).split())}: quote the value") from error
    _refuse_interpolations(read, "the settings")
    return read


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes the resolved recipe as YAML, which `load_recipe` reads back equal."""
    OmegaConf.save(OmegaConf.structured(recipe), path)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _read(name_or_path: str, changes: tuple[Path, ...] = ()) -> DictConfig:
    """A recipe as it is written, on top of what it extends; `changes` are the files that extend this one."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_path}.yaml"
    if not os.path.isfile(path):
        raise UserError(f"no such recipe: {name_or_path}: give a YAML file, or one of {', '.join(recipe_names())}")
    if path.resolve() in changes:
        raise UserError(f"recipe {path} extends itself: let one of its chain extend another recipe, or none")
    recipe = OmegaConf.create(read_yaml(path, f"recipe {path}", Recipe))
    extends = recipe.pop("extends", None)
    if extends is None:
        return recipe
    if not isinstance(extends, str):
        raise UserError(f"recipe {path}: extends={extends} must be the name of a recipe, or a file")
    beside = path.parent / extends
    extended = str(beside) if os.path.isfile(beside) else extends
    return _change(_read(extended, (*changes, path.resolve())), recipe)


def read_yaml(path: Path, where: str, kind: Any = Any) -> dict[str, Any]:
    """A file with one mapping, read by its type `kind`, see `written`.

    Raises:
        UserError: beginning with `where`, for anything else and for what takes gigabytes.
    """
    try:
        values = written.read(path.read_text(encoding="utf-8-sig"), kind)
    except FileNotFoundError as error:
        raise UserError(f"{where}: there is no such file") from error
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(f"{where} holds no mapping: write it as keys with values")
    _refuse_interpolations(values, where)
    return values


def _refuse_interpolations(value: Any, where: str) -> None:
    """Refuses `${...}`: `${oc.env:TOKEN}` would write a secret of the environment into what is saved and published."""
    if isinstance(value, str) and "${" in value:
        raise UserError(f"{where}: {value} is to be computed from something else: write the value itself")
    for part in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
        _refuse_interpolations(part, where)


def _change(recipe: DictConfig, change: DictConfig) -> DictConfig:
    """A recipe with some settings changed; a list of corpora takes the place of a single one with all that is its."""
    if OmegaConf.select(change, "data.corpora"):
        for key in SINGLE_CORPUS:
            if OmegaConf.select(recipe, f"data.{key}") is not None:
                del recipe.data[key]
    return OmegaConf.merge(recipe, change)


def _unknown_key(error: ConfigKeyError) -> str:
    key, known = str(error.key), [str(name) for name in getattr(error.object_type, "__dataclass_fields__", ())]
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    return f"unknown recipe key {error.full_key}: {hint}"
