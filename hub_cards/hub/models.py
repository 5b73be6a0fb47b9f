"""What trained models there are in the Hub's cache, or in a folder of runs, by what their cards and configs say."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import constants
from huggingface_hub.repocard import metadata_load

from ...configuration.errors import UserError
from .names import CONFIG, read_model_config

CARD = "README.md"
OF_A_TRAINING = ("stage-", "checkpoint-", ".")  # folders whose models are steps on the way to a run's own


@dataclass(frozen=True)
class ModelFacts:
    """A model in one line; what its card does not say is None.

    Args:
        name: by which a command takes it.
        corpus: that it was judged on.
        ua: the target's unweighted accuracy there, a fraction.
        interval: of the UA, 95 %.
        encoder: that it started from, or else its kind.
        bytes: of its weights.
    """

    name: str
    corpus: str | None
    ua: float | None
    interval: list[float] | None
    encoder: str | None
    bytes: int


def list_models(folder: Path | None = None) -> list[ModelFacts]:
    """The models under a folder, or those in the Hub's cache, by name; imports no torch.

    Raises:
        UserError: there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise UserError(f"{folder} is no folder: give one with runs in it, or none for the cache of the Hub")
    found = _in_the_cache(Path(constants.HF_HUB_CACHE)) if folder is None else _under(folder)
    return [_facts(path, name) for path, name in found]


def _in_the_cache(cache: Path) -> Iterator[tuple[Path, str]]:
    for repository in sorted(cache.glob("models--*--*")):
        name = repository.name.removeprefix("models--").replace("--", "/", 1)
        refs = repository / "refs"
        branches = {
            ref.read_text().strip(): ref.relative_to(refs).as_posix() for ref in refs.rglob("*") if ref.is_file()
        }
        for folder in sorted((repository / "snapshots").glob("*")):
            branch = branches.get(folder.name, folder.name)
            if _is_model(folder):
                yield folder, name if branch == constants.DEFAULT_REVISION else f"{name}@{branch}"


def _under(folder: Path) -> Iterator[tuple[Path, str]]:
    for path, inside, _ in os.walk(folder):
        here = Path(path)
        if _is_model(here):
            inside.clear()
            yield here, str(here)
        inside[:] = sorted(name for name in inside if not name.startswith(OF_A_TRAINING))


def _is_model(folder: Path) -> bool:
    """Whether a folder holds a whole model of ours."""
    if not (folder / CONFIG).is_file() or not any(folder.glob("*.safetensors")):
        return False
    try:
        return bool(read_model_config(folder))
    except UserError:
        return False


def _facts(folder: Path, name: str) -> ModelFacts:
    metadata = _metadata(folder / CARD)
    corpus, measure = _result(metadata)
    return ModelFacts(
        name=name,
        corpus=corpus,
        ua=measure.get("value"),
        interval=(measure.get("args") or {}).get("interval"),
        encoder=metadata.get("base_model") or (read_model_config(folder).get("speech_config") or {}).get("model_type"),
        bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
    )


def _metadata(card: Path) -> Mapping[str, Any]:
    try:
        return (metadata_load(card) if card.is_file() else None) or {}
    except (ValueError, yaml.YAMLError):  # somebody has written into it
        return {}


def _result(metadata: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The corpus of the card's first result with a UA, and that measure; without a UA that of the first result."""
    results = [result for model in metadata.get("model-index") or () for result in model.get("results") or ()]
    for result in results:
        for measure in result.get("metrics") or ():
            if measure.get("name") == "UA":
                return result["dataset"]["name"], measure
    return (results[0]["dataset"]["name"] if results else None), {}
