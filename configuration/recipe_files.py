"""Recipes as YAML: read, with settings on top, and written. Those of the package are in `recipes/`."""

import difflib
import os.path
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any, get_origin

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from . import written
from .errors import UserError
from .recipe import OF_A_CORPUS, CorpusRecipe, DataRecipe, ModelRecipe, Recipe, StageRecipe
from .recipe_checks import corpus_faults, recipe_faults, refuse
from .shapes import laid_over, misshapen

RECIPES = Path(__file__).parent / "recipes"
BESIDE_A_CORPUS = {*OF_A_CORPUS} - {"corpus", "root"}  # settings of one that is named with its root
DEFAULT_BATCH_SIZE = 4  # the paper's section III-B
PARTS = {"data": DataRecipe, "model": ModelRecipe, "stages.NAME": StageRecipe}  # where a key at the top may belong
EMPTIED = {dict: "empty it as {}", list: "empty it as []"}


def load_recipe(name_or_path: str, overrides: list[str] | None = None) -> Recipe:
    """Reads a recipe, applies `key=value` overrides and checks it.

    Args:
        name_or_path: a YAML file, or the name of one that comes with the package. Its top-level `extends` names a
            recipe that it changes: one that comes with the package, or a file beside it.
        overrides: such as `stages.emotion.epochs=20`, each on top of those before it. A mapping adds to the recipe's,
            and an empty one takes all of it away, as `data.label_map={}`; `data.corpora[0].root=/a` is of one of
            several corpora.

    Raises:
        UserError: no such recipe, an unknown key, a value of the wrong type or outside its choices.
    """
    settings = [_read_setting(setting, Recipe) for setting in overrides or ()]
    settings.sort(key=_lists_corpora, reverse=True)  # so that what is set of a single one beside them is refused
    parts, where = _read(name_or_path), f"recipe {name_or_path}"
    for setting in settings:
        parts.append(_of_one_corpus(setting, parts, where))
    return _joined(parts, where)


def load_recipes(words: list[str]) -> dict[str, Recipe]:
    """By name: the recipes of a command that takes several, among `key=value` overrides of them all.

    Raises:
        UserError: there is none, or two have the same name, or see `load_recipe`.
    """
    names, overrides = [word for word in words if "=" not in word], [word for word in words if "=" in word]
    if not names:
        raise UserError(f"no recipe is given beside {' '.join(overrides)}: name one, such as {recipe_names()[0]}")
    stems = [Path(name).stem for name in names]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise UserError(f"two recipes have the name {twice[0]}: give one of the files another name")
    return {stem: load_recipe(name, overrides) for stem, name in zip(stems, names, strict=True)}


def change_recipe(recipe: Recipe, change: dict[str, Any], where: str) -> Recipe:
    """A recipe with some settings changed, written and checked as in a file; errors begin with `where`."""
    return _joined([OmegaConf.to_container(OmegaConf.structured(recipe)), change], where)


def _joined(parts: list[dict[str, Any]], where: str) -> Recipe:
    """The recipe that the first of these and the changes behind it make."""
    refuse((fault for part in parts for fault in misshapen(part, Recipe)), f"{where}: ")
    try:
        given = reduce(_change, parts)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    return _typed(given, where, _tasks_named(parts))


def _typed(given: dict[str, Any], where: str, known: set[str]) -> Recipe:
    """The recipe that is given; `UserError` with all that is wrong with it.

    Args:
        known: names of tasks, see `_complete`.
    """
    typed, faults = _merged(given)
    for key in sorted(OmegaConf.missing_keys(typed)):
        faults.append(f"{key} has no value: set it, as {key}=...")
        # with anything in its place the rest can be checked
        OmegaConf.update(typed, key, {typed.model.target_task: 1} if key.endswith("loss_weights") else 1)
    recipe = OmegaConf.to_object(typed)
    _complete(recipe, known)
    refuse([*faults, *recipe_faults(recipe)], f"{where}: ")
    return recipe


def _merged(given: dict[str, Any]) -> tuple[DictConfig, list[str]]:
    """What is given with the types of a recipe, and what is wrong with the settings that do not fit them."""
    typed, faults = OmegaConf.structured(Recipe), []
    with suppress(OmegaConfBaseException):
        return _with(typed, given), faults
    # one by one, each of which copies the whole, to name all that do not fit
    for keys, value in _settings(given, []):
        try:
            typed = _with(typed, written.nested(keys, value))
        except OmegaConfBaseException as error:
            faults.append(_words(error))
    return typed, faults


def _with(typed: DictConfig, given: Mapping[str, Any]) -> DictConfig:
    """A recipe with what is given on top; a mapping that is given empty is so, whatever it holds by default."""
    merged = OmegaConf.merge(typed, given)
    for keys, value in _settings(given, []):
        if value == {} and not is_dataclass(written.kind_at(Recipe, keys)):
            reduce(getitem, keys[:-1], merged)[keys[-1]] = {}
    return merged


def _settings(value: Any, keys: list[str]) -> Iterator[tuple[list[str], Any]]:
    """Each setting alone, with the keys that lead to it."""
    if not isinstance(value, dict) or not value:
        yield keys, value
    else:
        for key, part in value.items():
            yield from _settings(part, [*keys, key])


def _complete(recipe: Recipe, known: set[str]) -> None:
    """Sets batch sizes, and takes out of the stages what they do not train: weights of 0, and tasks that are no more.

    A task that the model is not given drops out of every stage, and a stage that trains nothing else with it, so that
    `model.auxiliary_tasks` alone says what is learned.

    Args:
        recipe: changed in place.
        known: names of tasks; a stage's weight for another is a mistake and stays.
    """
    absent = known - {recipe.model.target_task, *recipe.model.auxiliary_tasks}
    for name, stage in list(recipe.stages.items()):
        if stage.batch_duration is None:
            stage.batch_size = DEFAULT_BATCH_SIZE if stage.batch_size is None else stage.batch_size
        weighed = {task: weight for task, weight in stage.loss_weights.items() if weight or task not in known}
        stage.loss_weights = {task: weight for task, weight in weighed.items() if task not in absent}
        if weighed and not stage.loss_weights:
            del recipe.stages[name]


def _tasks_named(parts: list[dict[str, Any]]) -> set[str]:
    """Targets and auxiliary tasks of a recipe, of what it extends or changes, and of one that names none."""
    named = {ModelRecipe.target_task, *ModelRecipe().auxiliary_tasks}
    for model in (part.get("model") or {} for part in parts):
        named.update([model.get("target_task"), *(model.get("auxiliary_tasks") or ())])
    return named


def read_settings(settings: list[str], kind: Any = Any) -> dict[str, Any]:
    """Settings such as `stages.emotion.epochs=20`, each value read as YAML by its type within `kind`, see `written`.

    Raises:
        UserError: a setting without a value, or with one that is no YAML.
    """
    parts = [_read_setting(setting, kind) for setting in settings]
    return reduce(partial(laid_over, kind=kind), parts, {})


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


def read_corpus(corpus: str, root: str, settings: list[str]) -> CorpusRecipe:
    """A corpus with settings of its loader, and those that a recipe has beside them, such as `label_map`.

    A loader's settings may stand below `options`, as in a recipe, or as they are, such as `corpus=aesdd` of `emobox`.

    Raises:
        UserError: a setting that is no YAML, or of the wrong type, or does not go with another.
    """
    parts = [_read_setting(setting, CorpusRecipe) for setting in settings]
    parts = [part if part.keys() <= BESIDE_A_CORPUS else {"options": part} for part in parts]
    given = reduce(partial(laid_over, kind=CorpusRecipe), parts, {})
    refuse(misshapen(given, CorpusRecipe))
    try:
        typed = OmegaConf.merge(OmegaConf.structured(CorpusRecipe), {**given, "corpus": corpus, "root": root})
    except OmegaConfBaseException as error:
        raise UserError(_words(error)) from error
    source = OmegaConf.to_object(typed)
    refuse(corpus_faults(source))
    return source


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Writes the resolved recipe as YAML, which `load_recipe` reads back equal."""
    OmegaConf.save(OmegaConf.structured(recipe), path)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _read(name_or_path: str, changes: tuple[Path, ...] = ()) -> list[dict[str, Any]]:
    """A recipe as it is written, after what it extends; `changes` are the files that extend this one."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_path}.yaml"
    if not os.path.isfile(path):
        if os.path.isfile(name_or_path):
            raise UserError(
                f"{name_or_path} is no recipe: a recipe is a file .yaml, which names a table of recordings by "
                f"data.corpus=table data.root={name_or_path}"
            )
        known = f"one of {', '.join(recipe_names())}"
        if str(path) == name_or_path:
            raise UserError(f"no such file: {name_or_path}: give the path of a recipe, or {known}")
        raise UserError(f"no such recipe: {name_or_path}: give a YAML file, or {known}")
    if path.resolve() in changes:
        raise UserError(f"recipe {path} extends itself: let one of its chain extend another recipe, or none")
    recipe = read_yaml(path, f"recipe {path}", Recipe)
    extends = recipe.pop("extends", None)
    if extends is None:
        return [recipe]
    if not isinstance(extends, str):
        raise UserError(f"recipe {path}: extends={extends} must be the name of a recipe, or a file")
    beside = path.parent / extends
    extended = str(beside) if os.path.isfile(beside) else extends
    return [*_read(extended, (*changes, path.resolve())), recipe]


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


def _change(recipe: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """A recipe with some settings changed.

    A list of corpora takes the place of a single one with all that is its, and null takes a stage away.
    """
    if _lists_corpora(change):
        data = recipe.get("data") or {}
        recipe = {**recipe, "data": {key: value for key, value in data.items() if key not in OF_A_CORPUS}}
    changed = laid_over(recipe, change, Recipe)
    for name, stage in (change.get("stages") or {}).items():
        if stage is None:
            if name not in (there := recipe.get("stages") or {}):
                raise UserError(f"stages.{name}=null takes no stage away: there are {', '.join(there) or 'none'}")
            del changed["stages"][name]
    return changed


def _of_one_corpus(setting: dict[str, Any], parts: list[dict[str, Any]], where: str) -> dict[str, Any]:
    """A setting of one of several corpora, `data.corpora[0].root=/a`, as their list with that; any other as it is."""
    change = setting["data"].get("corpora") if _lists_corpora(setting) else None
    if not (isinstance(change, dict) and all(str(place).isdigit() for place in change)):
        return setting
    corpora = list(next((part["data"]["corpora"] for part in reversed(parts) if _lists_corpora(part)), []))
    for place, entry in change.items():
        if int(place) >= len(corpora):
            raise UserError(f"{where}: data.corpora[{place}] is not there: it lists {len(corpora)}, counted from 0")
        corpora[int(place)] = laid_over(corpora[int(place)], entry, CorpusRecipe)
    return {"data": {"corpora": corpora}}


def _lists_corpora(change: dict[str, Any]) -> bool:
    data = change.get("data")
    return isinstance(data, dict) and bool(data.get("corpora"))


def _words(error: Exception) -> str:
    """What OmegaConf says of a key or a value."""
    if isinstance(error, ConfigKeyError):
        return _unknown_key(error)
    key, told = getattr(error, "full_key", None) or "", str(error).splitlines()[0]
    if "is not Optional" in told:
        mend = EMPTIED.get(get_origin(written.kind_at(Recipe, key.split("."))), "leave it out")
        return f"{key} must not be null: {mend}"
    return f"{key} {told}".strip()


def _unknown_key(error: ConfigKeyError) -> str:
    key, known = str(error.key), [str(name) for name in getattr(error.object_type, "__dataclass_fields__", ())]
    parts = PARTS if error.object_type is Recipe else {}
    close = [f"{part}.{key}" for part, kind in parts.items() if key in kind.__dataclass_fields__]
    close = close or difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known here: {', '.join(known)}"
    return f"unknown recipe key {error.full_key}: {hint}"
