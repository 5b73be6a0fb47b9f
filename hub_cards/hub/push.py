"""A model, and the Space that runs it, on the Hub: what is sent, the refusals, and the one commit."""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import yaml
from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, ModelInfo, SpaceInfo, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ...configuration.errors import UserError
from ...configuration.report import Report
from ..wording import speakers_line


@dataclass(frozen=True)
class LargeFile:
    """A file that is read when it is sent, and what it held when it was listed."""

    path: Path
    size: int
    digest: str

    @classmethod
    def listed(cls, path: Path) -> "LargeFile":
        """The file as it is now."""
        with path.open("rb") as file:
            return cls(path, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())

    def has_changed(self) -> bool:
        """Whether it holds something else now, or is not there."""
        return not self.path.is_file() or self.listed(self.path) != self


Files = dict[str, bytes | LargeFile]
"""By path in the repository: the content, or a file that is too large to be held."""

LARGE = (".safetensors", ".onnx")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
CARD = "README.md"
Kind = Literal["model", "space"]


@dataclass(frozen=True)
class _Repository:
    """What is particular to one kind: what ours holds, what nobody has pushed to holds, and the commit's message."""

    ours: str
    made_by_the_hub: frozenset[str]
    message: str


KINDS: dict[Kind, _Repository] = {
    "model": _Repository("a ser-meta model", frozenset({".gitattributes"}), "ser-meta: model, code and card"),
    "space": _Repository("a ser-meta page", frozenset({".gitattributes", CARD}), "ser-meta: the page of a model"),
}


def model_files(model_folder: Path, changed: Mapping[str, bytes | Path], card: str) -> Files:
    """All that a model's repository holds, the card last; hidden files stay here.

    Args:
        model_folder: of a run: weights, config, processor, code, pictures.
        changed: what is sent beside these, or in their place.
        card: the text of the README.md to send, instead of the folder's.

    Raises:
        UserError: pickled weights, or no safetensors.
    """
    paths = [path.relative_to(model_folder) for path in sorted(model_folder.rglob("*")) if path.is_file()]
    shown = [path for path in paths if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)]
    for path in shown:
        if path.suffix in PICKLED:
            raise UserError(
                f"{model_folder / path} is pickled, and what unpickles can run any code: write its tensors as "
                "safetensors, or take it out of the folder"
            )
    if not any(path.suffix == ".safetensors" for path in shown):
        raise UserError(f"{model_folder} holds no weights (*.safetensors): give the folder of a finished run")
    files = {path.as_posix(): model_folder / path for path in shown} | changed
    return {name: _listed(content) for name, content in files.items() if name != CARD} | {CARD: card.encode()}


def _listed(content: bytes | Path) -> bytes | LargeFile:
    if isinstance(content, bytes):
        return content
    return LargeFile.listed(content) if content.suffix in LARGE else content.read_bytes()


def results_file(report: Report, benchmark: str) -> Files:
    """The target's UA, a fraction, in the Hub's results-file form, which joins a benchmark's leaderboard.

    The form is the Hub's `.eval_results/*.yaml` (https://huggingface.co/docs/hub/eval-results): it names a data set of
    the Hub that is registered as a benchmark, and one of that benchmark's tasks. A result on any other data belongs
    into the card's `model-index` alone.

    Args:
        report: of the training.
        benchmark: `owner/dataset:task`.

    Raises:
        UserError: another form of `benchmark`, or no UA.
    """
    dataset, _, task = benchmark.partition(":")
    if dataset.count("/") != 1 or not task:
        raise UserError(f"--benchmark {benchmark} names no task of a Hub data set: give it as owner/dataset:task")
    if "ua" not in report.metrics.get(report.target, {}):
        raise UserError(f"the run has no result for {report.target}: leave --benchmark out")
    entry = {
        "dataset": {"id": dataset, "task_id": task},
        "value": report.metrics[report.target]["ua"],
        "date": datetime.now(UTC).date().isoformat(),
        "notes": "; ".join(
            filter(None, ["UA (mean recall over the classes), as a fraction", speakers_line(report.speakers)])
        ),
    }
    name = f".eval_results/{dataset.split('/')[1]}.yaml"
    return {name: yaml.safe_dump([entry], sort_keys=False).encode()}


def size(content: bytes | LargeFile) -> int:
    """Bytes of one file that is sent."""
    return len(content) if isinstance(content, bytes) else content.size


def push(
    files: Mapping[str, bytes | LargeFile],
    repository: str,
    *,
    kind: Kind = "model",
    private: bool = False,
    revision: str = "main",
) -> CommitInfo:
    """Sends files to a repository in one commit; an interruption before it leaves the repository as it was.

    The repository and the branch are made where there are none. Files of an earlier push that are not sent stay.

    Args:
        files: see `model_files` and `space_files`.
        repository: `owner/name`.
        kind: of the repository.
        private: make a new repository a private one; one that exists stays as it is.
        revision: the branch.

    Returns:
        the commit: its `commit_url` is its address, its `oid` its id.

    Raises:
        UserError: the repository holds something else of its kind than ours, there is no token, it has no right to
            write there, there is no way to the Hub, or a file is another one than when it was listed.
    """
    with _hub(repository) as api:
        info = _find(api, repository, kind, None)
        if info is None:
            sdk = "gradio" if kind == "space" else None
            api.create_repo(repository, repo_type=kind, private=private, space_sdk=sdk)
        else:
            _refuse_foreign(api, info, kind, None)
        branch = _find(api, repository, kind, revision)
        if branch is None:
            api.create_branch(repository, repo_type=kind, branch=revision)
            branch = _find(api, repository, kind, revision)
        _refuse_foreign(api, branch, kind, revision)
        try:
            operations = [CommitOperationAdd(name, _source(content)) for name, content in files.items()]
            api.preupload_lfs_files(repository, operations, repo_type=kind, revision=revision)
        finally:  # whatever else goes wrong with a file that changes under the hand, that is the cause
            _refuse_changed(files)
        return api.create_commit(
            repository,
            operations,
            commit_message=KINDS[kind].message,
            repo_type=kind,
            revision=revision,
            parent_commit=branch.sha,  # whoever pushes meanwhile is not overwritten
        )


def _source(content: bytes | LargeFile) -> bytes | Path:
    return content if isinstance(content, bytes) else content.path


def _refuse_changed(files: Mapping[str, bytes | LargeFile]) -> None:
    for content in files.values():
        if isinstance(content, LargeFile) and content.has_changed():
            raise UserError(
                f"{content.path} has changed since the push began, and nothing was published: push again when nothing "
                "writes to it any more"
            )


def check_repository(repository: str, kind: Kind) -> None:
    """Raises `UserError` where `push` would refuse the repository; sends nothing."""
    with _hub(repository) as api:
        info = _find(api, repository, kind, None)
        if info is not None:
            _refuse_foreign(api, info, kind, None)


def _find(api: HfApi, repository: str, kind: Kind, revision: str | None) -> ModelInfo | SpaceInfo | None:
    """What the Hub knows of a repository at a revision; None where there is no such one."""
    try:
        return api.repo_info(repository, repo_type=kind, revision=revision)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None


def _refuse_foreign(api: HfApi, info: ModelInfo | SpaceInfo, kind: Kind, revision: str | None) -> None:
    """Only a repository that is empty, or ours, may be written to."""
    names = {file.rfilename for file in info.siblings or ()}
    foreign = sorted(names - KINDS[kind].made_by_the_hub)
    if foreign and not _is_ours(api, info, kind, names):
        raise UserError(
            f"{info.id}{f' at {revision}' if revision else ''} holds something else than {KINDS[kind].ours} "
            f"({', '.join(foreign[:3])}): choose another name, or empty it first"
        )


def _is_ours(api: HfApi, info: ModelInfo | SpaceInfo, kind: Kind, names: set[str]) -> bool:
    if kind == "space":
        return "page/space_app.py" in names
    if "config.json" not in names:
        return False
    path = Path(api.hf_hub_download(info.id, "config.json", revision=info.sha))
    return json.loads(path.read_text(encoding="utf-8")).get("model_type") == "ser_meta"


@contextmanager
def _hub(repository: str) -> Iterator[HfApi]:
    """The Hub's client for work on one repository; whatever goes wrong there is a `UserError`."""
    if repository.count("/") != 1:
        raise UserError(f"{repository} does not say whose repository it is: give it as owner/name")
    if get_token() is None:
        raise UserError("no token for the Hub: run `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    with _errors_in_one_line(repository, api.endpoint):
        yield api


@contextmanager
def _errors_in_one_line(repository: str, endpoint: str) -> Iterator[None]:
    # the releases of huggingface_hub differ in what they raise for a lost connection: an OSError, or an HTTPError
    try:
        yield
    except (OSError, HTTPError, HFValidationError) as error:
        raise UserError(_in_words(error, repository, endpoint)) from error
    except RuntimeError as error:  # around what happened to the upload of one file
        if error.__cause__ is None:
            raise
        print(file=sys.stderr)  # behind the progress bar that broke off
        raise UserError(_in_words(error.__cause__, repository, endpoint)) from error


def _in_words(error: BaseException, repository: str, endpoint: str) -> str:
    if isinstance(error, HFValidationError):
        return f"{repository} cannot be a repository's name: {str(error).splitlines()[0]}"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to push to the Hub"
    if isinstance(error, HfHubHTTPError) and error.response is not None:  # huggingface_hub 0.36 has one without
        return f"{repository}: {_refusal(error)}"
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return f"no way to {endpoint} ({reason}): check the network, and push again"


def _refusal(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    if status == 401:
        return "the Hub does not know the token: run `hf auth login` again, or set HF_TOKEN"
    if status == 403:
        return "the token has no right to write there: use one with write access, or another repository"
    if status == 412:
        return "somebody has pushed to it meanwhile: look what, and push again"
    return f"the Hub refused with status {status}: {' '.join((error.server_message or str(error)).split())}"
