"""Utterances that a training leaves out: written by `ser-meta check`, read by a recipe's `data.quarantine`."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ...configuration.errors import UserError
from ...configuration.run_folder import read_json, write_json
from .rows import Rows

logger = logging.getLogger(__name__)


def write_quarantine(path: Path, corpus: str, reasons: Mapping[str, str]) -> None:
    """Writes the utterances to leave out, each with its reason, as JSON."""
    write_json(path, {"kind": "quarantine", "corpus": corpus, "utterances": dict(reasons)})


def read_quarantine(path: str | Path) -> dict[str, str]:
    """The utterances to leave out, each with its reason; `UserError` for a file that is none of ours."""
    try:
        content = read_json(Path(path).expanduser())
    except UserError as error:
        raise UserError(f"data.quarantine={path} cannot be read ({error}): give what --quarantine wrote") from error
    known = isinstance(content, dict) and content.get("kind") == "quarantine"
    if not known or not isinstance(content.get("utterances"), dict):
        raise UserError(f"data.quarantine={path} holds no quarantine: give what ser-meta check --quarantine wrote")
    return content["utterances"]


def leave_out(rows: Rows, path: str | Path | None) -> Rows:
    """The corpus without the utterances that a file names; one that it does not have is told in the log."""
    if path is None:
        return rows
    reasons, ids = read_quarantine(path), rows["utterance_id"]
    unknown = sorted(set(reasons) - set(ids))
    if unknown:
        logger.warning("%s: %d of its utterances are not in the corpus, such as %s", path, len(unknown), unknown[0])
    kept = [row for row, name in enumerate(ids) if name not in reasons]
    if not kept:
        raise UserError(f"data.quarantine={path} leaves no utterance of the corpus: check the corpus anew")
    return rows.select(kept)
