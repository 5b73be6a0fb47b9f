"""Recipes as YAML: read, with settings on top, and written. Those of the package are in `recipes/`."""

import difflib
import os.path
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, GrammarParseError, MissingMandatoryValue, OmegaConfBaseException

from .errors import UserError
from .recipe import SINGLE_CORPUS, Recipe
from .recipe_checks import check_recipe

RECIPES = Path(__file__).parent / "recipes"
DEEPEST = 20  # lists and mappings inside each other
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
        given = _change(_read(name_or_path), read_settings(overrides or []))
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


def read_settings(settings: list[str]) -> DictConfig:
    """Settings such as `stages.emotion.epochs=20`, each value read as YAML; `UserError` for one that is none."""
    try:
        read = OmegaConf.from_dotlist(settings)
    except (yaml.YAMLError, GrammarParseError) as error:
        raise UserError(f"{' '.join(settings)} is no YAML: {' '.join(str(error).split())}: quote the value") from error
    _refuse_interpolations(OmegaConf.to_container(read), "the settings")
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
    recipe = OmegaConf.create(read_yaml(path, f"recipe {path}"))
    extends = recipe.pop("extends", None)
    if extends is None:
        return recipe
    if not isinstance(extends, str):
        raise UserError(f"recipe {path}: extends={extends} must be the name of a recipe, or a file")
    beside = path.parent / extends
    extended = str(beside) if os.path.isfile(beside) else extends
    return _change(_read(extended, (*changes, path.resolve())), recipe)


def read_yaml(path: Path, where: str) -> dict[str, Any]:
    """A file with one mapping; `UserError`, beginning with `where`, for anything else and what takes gigabytes."""
    try:
        _check_form(path, where)
        read = OmegaConf.load(path)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{where}: there is no such file") from error
    except Exception as error:  # YAML's own errors have no common name that OmegaConf exports
        raise UserError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(read, DictConfig):
        raise UserError(f"{where} holds no mapping: write it as keys with values")
    values = OmegaConf.to_container(read)
    _refuse_interpolations(values, where)
    return values


def _check_form(path: Path, where: str) -> None:
    """Refuses YAML of which little stands for gigabytes or minutes: lists that repeat lists, and deep nesting."""
    depth = 0
    with path.open(encoding="utf-8") as file:
        for event in yaml.parse(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{where} repeats parts of itself by * aliases: write them out")
            if depth > DEEPEST:
                raise UserError(f"{where} is nested more than {DEEPEST} levels deep: nothing needs that")


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
