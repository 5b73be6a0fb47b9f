"""A trained model by its name: a folder, or a repository on the Hub, of which only data is fetched and never code."""

import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars

from ...configuration.errors import UserError
from ...configuration.run_folder import read_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FETCHED = ["*.json", "*.safetensors", "README.md"]  # at a repository's top: settings, vocabulary, weights and card
NOT_FETCHED = ["*/*"]
ADAPTER = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"]  # of a model without its encoder
NETWORK = (ConnectionError, TimeoutError, socket.gaierror)  # of the system's errors, those that are of no disk
GONE = (429, 500, 502, 503, 504)  # answers of a Hub that cannot be asked now
_NAME = re.compile(r"(?P<repository>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\S+))?")


@dataclass(frozen=True)
class FoundModel:
    """A trained model.

    Args:
        name: as it was asked for, for people.
        folder: where it lies.
        identity: what names this state of it: the folder's whole path, or `owner/name@commit`.
    """

    name: str
    folder: Path
    identity: str

    @property
    def title(self) -> str:
        """A short name: the repository's, or that of the folder's run."""
        return folder_title(self.folder) if self.identity == str(self.folder.resolve()) else self.name


def find_model(name: str | Path) -> FoundModel:
    """The model of a folder, or of `owner/name` or `owner/name@revision` on the Hub; imports no torch.

    Settings and weights of a repository are fetched into the Hub's cache. Where the Hub cannot be asked, the copy in
    the cache is taken, and a line on stderr says so.

    Args:
        name: a folder goes before a repository of the same name.

    Raises:
        UserError: there is none, no ser-meta model is there, the Hub does not give it, or a part of it is missing.
    """
    given = str(name)
    if Path(given).exists():
        read_model_config(Path(given))
        return FoundModel(given, Path(given), str(Path(given).resolve()))
    found = _NAME.fullmatch(given)
    if found is None:
        raise UserError(f"{given} is no folder: give the `model` folder of a run, or owner/name of one on the Hub")
    folder = _folder_of(given, found["repository"], found["revision"] or constants.DEFAULT_REVISION)
    return FoundModel(given, folder, f"{found['repository']}@{folder.name}")


def read_model_config(folder: str | Path, name: str | None = None) -> Mapping[str, Any]:
    """What a model's config.json says; `UserError` for a folder that holds no model of ours, called by its `name`."""
    config, name = Path(folder) / CONFIG, name or str(folder)
    if not config.is_file():
        if (Path(folder) / "model" / CONFIG).is_file():
            raise UserError(f"{name} is a run, and its model stands in it: give {Path(folder) / 'model'}")
        raise UserError(f"{name} holds no model: give the `model` folder of a run, or owner/name of one on the Hub")
    settings = read_json(config)
    model_type = settings.get("model_type") if isinstance(settings, dict) else None
    if model_type != "ser_meta":
        raise UserError(f"{name} holds a model of the type {model_type!r}, not ser_meta: train one with it as encoder")
    return settings


def folder_title(folder: Path) -> str:
    """A model folder's name for people: its run's."""
    path = folder.resolve()
    return path.parent.name if path.name == "model" else path.name


def how_to_renew(folder: str | Path) -> str:
    """What mends a damaged model."""
    cached = Path(folder).parent.parent
    if cached.name.startswith("models--"):
        return f"remove {cached}, and the next call fetches it anew"
    return "copy it afresh, or train it again"


def _folder_of(name: str, repository: str, revision: str) -> Path:
    """The folder in the Hub's cache, named after the commit, with all that a model needs."""
    try:
        commit = get_hf_file_metadata(hf_hub_url(repository, CONFIG, revision=revision)).commit_hash
        return _fetch(name, repository, revision, commit)
    except (OSError, HTTPError, HFValidationError, EntryNotFoundError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, NETWORK):
            raise UserError(
                f"{name} cannot be kept in {constants.HF_HUB_CACHE} ({error.strerror}): mend that, or set HF_HUB_CACHE"
            ) from error
        if (reason := _no_way(error)) is None:
            raise UserError(_in_words(error, name, repository, revision)) from error
        return _cached(name, repository, revision, reason)


def _fetch(name: str, repository: str, revision: str, commit: str) -> Path:
    if not sys.stderr.isatty():
        disable_progress_bars()  # which otherwise fill a log
    # the branch is noted last: what breaks off leaves the copy of before as the branch's own
    config = Path(hf_hub_download(repository, CONFIG, revision=commit))
    settings = read_model_config(config.parent, name)  # before the weights of something else are fetched
    snapshot_download(repository, revision=commit, allow_patterns=FETCHED, ignore_patterns=NOT_FETCHED)
    if settings.get("base_encoder"):
        snapshot_download(repository, revision=commit, allow_patterns=ADAPTER)
    if missing := _missing_weights(config.parent):
        raise UserError(f"{name} holds no weights ({missing}): it was pushed by half; name another revision")
    hf_hub_download(repository, CONFIG, revision=revision)
    return config.parent


def _cached(name: str, repository: str, revision: str, reason: str) -> Path:
    config = try_to_load_from_cache(repository, CONFIG, revision=revision)
    if not isinstance(config, str):
        raise UserError(
            f"{name} is no folder here and not in the cache of the Hub, and {reason}: check the name and the network"
        )
    folder = Path(config).parent
    read_model_config(folder, name)
    if missing := _missing_weights(folder):
        raise UserError(
            f"{name} is in the cache of the Hub by half ({missing} is missing), and {reason}: call again when the Hub "
            "can be reached"
        )
    if os.environ.get("RANK", "0") == "0":
        print(f"ser-meta: {name}: {reason}; the cached copy of commit {folder.name[:7]} is used", file=sys.stderr)
    return folder


def _missing_weights(folder: Path) -> str | None:
    """A file of the weights that is not there."""
    index = folder / f"{WEIGHTS}.index.json"
    names = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else [WEIGHTS]
    names += ADAPTER if read_json(folder / CONFIG).get("base_encoder") else []
    return next((name for name in names if not (folder / name).is_file()), None)


def _no_way(error: BaseException) -> str | None:
    """Why the Hub cannot be asked; None for an answer of the Hub."""
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, LocalEntryNotFoundError):  # it was to be fetched, and what came of that is its cause
        return _no_way(error.__cause__ or OfflineModeIsEnabled())
    response = getattr(error, "response", None)
    if response is not None:
        return f"the Hub answers with status {response.status_code}" if response.status_code in GONE else None
    if isinstance(error, (HFValidationError, EntryNotFoundError)):
        return None
    return f"there is no way to {constants.ENDPOINT} ({(str(error) or type(error).__name__).splitlines()[0]})"


def _in_words(error: Exception, name: str, repository: str, revision: str) -> str:
    """What an answer of the Hub means, and what to do."""
    address = f"{constants.ENDPOINT}/{repository}"
    if isinstance(error, HFValidationError):
        return f"{name} cannot be a model's name on the Hub: {str(error).splitlines()[0]}"
    if isinstance(error, GatedRepoError):
        return f"{name} is gated: agree to its terms at {address}, then run `hf auth login`, or set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{name} is no folder here, and the Hub shows no such model: check the name; for a private one run "
            "`hf auth login`, or set HF_TOKEN"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{repository} has no revision {revision}: name a branch, a tag or a whole commit of {address}"
    if isinstance(error, EntryNotFoundError):
        return f"{name} holds no model at revision {revision} (no {CONFIG}): look at {address}"
    if isinstance(error, HfHubHTTPError) and error.response.status_code == 401:
        return f"{name}: the Hub does not know the token: run `hf auth login` again, or set HF_TOKEN"
    said = " ".join((getattr(error, "server_message", None) or str(error)).split())
    return f"{name}: the Hub refused it ({said}): look at {address}"
