"""Speech corpora as data sets of one shape: a row an utterance, with whatever metadata the corpus has."""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ...configuration.errors import UserError
from .recordings import require_recordings, with_channel

if TYPE_CHECKING:
    from datasets import Dataset

    from .rows import Rows

CORPORA = {
    "ravdess": ".ravdess",
    "nemo": ".nemo",
    "iemocap": ".iemocap",
    "table": ".table",
    "espeak": ".espeak",
    "cremad": ".cremad",
    "emodb": ".emodb",
    "tess": ".tess",
    "savee": ".savee",
    "esd": ".esd",
    "meld": ".meld",
    "msp_podcast": ".msp_podcast",
    "emovo": ".emovo",
    "jl_corpus": ".jl_corpus",
    "emov_db": ".emov_db",
    "folders": ".folders",
    "emobox": ".emobox",
}


def corpus_module(name: str) -> ModuleType:
    """The module of a corpus: its `load`, and constants as far as they apply.

    These are `LICENSE`, `CITATION`, `LANGUAGE` (or `LANGUAGES`), `SPEECH` (`acted`, `spontaneous` or `synthetic`),
    `EMOTIONS` and `RATING_SCALE`.

    Raises `UserError` for a name that is no corpus.
    """
    if name not in CORPORA:
        raise UserError(f"unknown corpus {name!r}: choose one of {', '.join(CORPORA)}")
    return import_module(CORPORA[name], __name__)


def load_corpus(name: str, root: str | Path, /, **options: object) -> Dataset:
    """The utterances of a corpus, one a row; see `rows.METADATA` for the columns.

    `audio` is `{"path", "bytes"}`, not decoded; `utterance_id` is unique; every other column may be null.
    Raises `UserError` as `load_rows`, and for a missing recording.
    """
    from .votes import with_majority

    rows = load_rows(name, root, **options)
    require_recordings(rows, name)
    return with_majority(rows).dataset()


def load_rows(name: str, root: str | Path, /, **options: object) -> Rows:
    """The same utterances before they are a data set, also those whose recording is not there.

    Beside the options of its loader every corpus has `channel`: `left`, `right`, or a number from 0, of each recording
    for which it does not say another one. All channels are mixed otherwise.

    Raises `UserError` for an unknown corpus or option, and for a folder or table that is not the corpus.
    """
    channel, known = options.pop("channel", None), loader_options(name)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise UserError(f"unknown option {unknown[0]!r} for the corpus {name!r}: choose among {', '.join(known)}")
    rows = corpus_module(name).load(root, **options)
    return rows if channel is None else with_channel(rows, str(channel))


def loader_options(name: str) -> list[str]:
    """The options of a corpus."""
    return [*list(signature(corpus_module(name).load).parameters)[1:], "channel"]
