"""What a training starts from: an encoder, or a trained model, and whether that has heard what is to test it."""

import os.path
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from ...configuration.errors import UserError
from ...configuration.recipe import AdapterRecipe
from ...configuration.recipe_files import read_yaml
from ...configuration.run_folder import RunFolder, read_json

PACKAGED_ENCODERS = {"demo-encoder": Path(__file__).parents[1] / "demo_encoder"}
LONGEST_CHAIN = 20  # of models that started from each other


def encoder_path(encoder: str) -> str:
    """The folder of an encoder that comes with the package; of another name, `~` stands for the user's home."""
    return os.path.expanduser(PACKAGED_ENCODERS.get(encoder, encoder))


def check_encoder(encoder: str) -> None:
    """Raises `UserError` for a path that is no folder; names of the Hub are not asked for."""
    name, at, revision = encoder.partition("@")
    if at and not Path(encoder_path(encoder)).exists():
        raise UserError(
            f"model.encoder={encoder} has a revision in it: give model.encoder={name} model.revision={revision}"
        )
    if _is_no_folder(encoder):
        raise UserError(f"model.encoder={encoder} is no folder: give one, or the name of a Hub repository")


def check_adapter_package(adapter: AdapterRecipe | None) -> None:
    """Raises `UserError` for an adapter without the package that makes it."""
    if adapter is not None and find_spec("peft") is None:
        raise UserError('model.adapter needs peft: pip install "ser-meta[adapters]"')


def describe_start(encoder: str, tested: Collection[str], trained: bool = False) -> str | None:
    """What a trained model has heard of the utterances that are to test it; None where `encoder` is no such model.

    Args:
        encoder: the folder of a model, or a name on the Hub.
        tested: the utterances.
        trained: that it is a trained model is known already, as of one on the Hub that was loaded.
    """
    if not (trained or _is_trained(Path(encoder_path(encoder)))):
        return None
    heard = heard_by(encoder)
    if heard is None:
        return "a trained model, of which it is not recorded what it was trained on"
    again = heard_again(heard, tested)
    return f"a model that was trained on {f'{len(again)} of the' if again else 'none of the'} test utterances"


def describe_parts(encoder: str, new_parts: Collection[str]) -> str:
    """What is kept of a trained model, and which parts start anew, in one line."""
    new = ", ".join(new_parts)
    return f"model.encoder={encoder}: what it has learned is kept" + (f", but {new} start anew" if new else "")


def refuse_heard(encoder: str, tested: Collection[str]) -> None:
    """Raises `UserError` where a trained model would be tested on what it, or what it started from, learned from."""
    again = heard_again(heard_by(encoder) or set(), tested)
    if again:
        raise UserError(
            f"model.encoder={encoder} was trained on {len(again)} of the {len(tested)} utterances that would test it, "
            f"such as {again[0]}: test on its own test fold or on none, or set data.allow_speaker_overlap=true"
        )


def heard_by(encoder: str) -> set[str] | None:
    """The utterances that trained or validated a model and those that it started from.

    None where that is not recorded: of what is no run's model, and of a run whose own start is not to be found.
    """
    heard: set[str] = set()
    for place in range(LONGEST_CHAIN):
        folder = Path(encoder_path(encoder))
        run = RunFolder(folder.parent)
        if not _is_trained(folder):
            return heard if place and not _is_no_folder(encoder) else None
        if not (run.split.is_file() and run.recipe.is_file()):
            return None
        sides = read_json(run.split)
        heard |= {*sides.get("train", []), *sides.get("validation", [])}
        if run.heard_before.is_file():
            before = read_json(run.heard_before)
            return None if before is None else heard.union(before)
        # an older run: a relative name is found only from where that was started
        encoder = read_yaml(run.recipe, f"recipe {run.recipe}")["model"]["encoder"]
    return heard


def heard_again(heard: Collection[str], tested: Collection[str]) -> list[str]:
    """The tested utterances that were heard, sorted.

    Where a corpus is one of several, its name stands before its utterances (`ravdess:03-01`), and where it is alone it
    does not: one that has no name before it is the same in any corpus.
    """
    heard, nameless = set(heard), {name.partition(":")[2] for name in heard if ":" in name}
    return sorted(
        name for name in tested if name in heard or name in nameless or (name.partition(":")[2] or name) in heard
    )


def _is_no_folder(encoder: str) -> bool:
    """Whether what looks like a path is none that is there; names of the Hub do not look like one."""
    looks_local = encoder.startswith((".", "/", "~")) or encoder.count("/") > 1
    return looks_local and not Path(encoder_path(encoder)).is_dir()


def _is_trained(folder: Path) -> bool:
    config = folder / "config.json"
    settings = read_json(config) if config.is_file() else {}
    return isinstance(settings, dict) and settings.get("model_type") == "ser_meta"
