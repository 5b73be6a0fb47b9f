"""EmoBox: published folds and label maps of 32 corpora, read from a clone of https://github.com/emo-box/EmoBox.

`data/<corpus>/fold_<k>/` has a list of the utterances that train in a fold, and one of those that are tested. Some
corpora have one fold with sides of its own, others have folds of which each is tested once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ...configuration.errors import UserError
from ...configuration.recipe import CorpusRecipe
from ...configuration.run_folder import read_json
from . import emov_db, meld
from .files import RECORDINGS
from .rows import Rows, gather

LICENSE = "each corpus's own, as on https://github.com/emo-box/EmoBox (its lists are MIT)"
CITATION = """@inproceedings{ma2024emobox,
  title = {{EmoBox}: Multilingual Multi-corpus Speech Emotion Recognition Toolkit and Benchmark},
  author = {Ma, Ziyang and Chen, Mingjie and Zhang, Hezhao and Zheng, Zhisheng and Chen, Wenxi and Li, Xiquan and Ye,
            Jiaxin and Chen, Xie and Hain, Thomas},
  booktitle = {Interspeech 2024},
  year = {2024}
}"""
LAYOUT = "a clone of https://github.com/emo-box/EmoBox, with data/ravdess/fold_1/ravdess_test_fold_1.jsonl ..."
SPEAKERS = {
    "aesdd": ("el", r"\(0?(\d)\)"),
    "ased": ("am", r"-(\d+)$"),
    "asvpesd": (None, r"actor_(\d+)"),
    "cafe": ("fr", r"(\d\d)-\w-\d-\d$"),
    "casia": ("zh", r"casia/(\w+)/"),
    "cremad": ("en", r"(\d{4})_\w+$"),
    "emns": ("en", r"()"),
    "emodb": ("de", r"(\d\d)\w{5}$"),
    "emovdb": ("en", r"(\w+)_\w+/[^/]+$"),
    "emovo": ("it", r"-([fm]\d)-"),
    "emozionalmente": ("it", None),
    "enterface": ("en", r"subject (\d+)/"),
    "esd": (None, r"(\d{4})_\d+$"),
    "iemocap": ("en", r"(Ses\d\d)\w*_([FM])\d+$"),
    "jlcorpus": ("en", r"((?:fe)?male\d)_[^/]+$"),
    "m3ed": ("zh", None),
    "mead": ("en", r"mead/([MW]\d+)/"),
    "meld": ("en", None),
    "mer2023": ("zh", None),
    "mesd": ("es", None),
    "msppodcast": ("en", None),
    "oreau": ("fr", r"(\d\d)\w+$"),
    "pavoque": ("de", r"()"),
    "polish": ("pl", r"([fm]\d+)\.[^/]+$"),
    "ravdess": ("en", r"-(\d\d)$"),
    "resd": ("ru", None),
    "savee": ("en", r"([A-Z]{2})_\w+$"),
    "shemo": ("fa", r"([FM]\d\d)\w+$"),
    "subesco": ("bn", r"([FM]_\d\d)_[^/]+$"),
    "tess": ("en", r"([A-Z]{3})_\w+$"),
    "turevdb": ("tr", r"(\d+)_\w\w_[^/]+$"),
    "urdu": ("ur", r"(S[FM]\d+)_\w+$"),
}
"""By corpus: its language, null for several; where a recording's path names its speaker, null where it does not."""

KNOWN = {name: name for name in ("ravdess", "iemocap", "cremad", "emodb", "tess", "savee", "esd", "meld", "emovo")} | {
    "msp_podcast": "msppodcast",
    "jl_corpus": "jlcorpus",
    "emov_db": "emovdb",
}
"""Corpora that we read too, and what EmoBox calls them."""

OURS = {theirs: ours for ours, theirs in KNOWN.items()}
NOT_LISTED = "not in EmoBox's lists"  # why a row is left out

TRAIN, VALIDATION = "train", "validation"
SIDES = {"train": TRAIN, "valid": VALIDATION, "test": "test"}  # as the lists' names spell them
NEEDED = ("key", "wav", "emo")


class Listed(NamedTuple):
    """An utterance of EmoBox's lists.

    Args:
        wav: its recording's path below the folder in which the corpora were put.
        emotion: one of EmoBox's classes, after its label map.
        fold: in which it is tested; `train` or `validation` where it never is.
        start, end: seconds, where a recording holds several utterances.
    """

    key: str
    wav: PurePosixPath
    emotion: str
    fold: str
    start: float | None
    end: float | None


def load(root: str | Path, corpus: str | None = None, audio: str | Path | None = None) -> Rows:
    """The utterances of one of EmoBox's corpora, with its classes as `emotion` and its folds in the column `emobox`.

    `root` is a clone of the repository, `corpus` what it calls the corpus (`aesdd`), and `audio` the folder that its
    paths (`downloads/aesdd/...`) start from: by default `root`. A recording may also be there in another form that can
    be read: `a.flac` for `a.wav` or `a.mp4`. Speakers are what paths tell of them, and null where they tell nothing.
    Raises `UserError` for a corpus that EmoBox does not have, and for lists that are not as it writes them.
    """
    if corpus is None:
        raise UserError(f"emobox: name one of its corpora with options.corpus: {', '.join(SPEAKERS)}")
    language, speaker = SPEAKERS[_known(corpus)]
    base = Path(root if audio is None else audio).expanduser()
    rows = [
        {
            "audio": _recording(base / listed.wav),
            "utterance_id": listed.key,
            "emotion": listed.emotion,
            "emobox": listed.fold,
            "speaker": _speaker(speaker, listed.wav, corpus),
            "language": language,
            "start": listed.start,
            "end": listed.end,
        }
        for listed in read_lists(root, corpus)
    ]
    return gather(rows)


def with_emobox(rows: Rows, corpus: str, root: str | Path) -> Rows:
    """A corpus that we read too, as EmoBox has it: its utterances alone, with its classes and folds (see `load`).

    Utterances that only one of the two has are told in the remarks. Raises `UserError` for a corpus that EmoBox does
    not have, and where not one utterance is in its lists.
    """
    if corpus not in KNOWN:
        raise UserError(
            f"EmoBox has no folds of the corpus {corpus!r}: choose one of {', '.join(KNOWN)}, or corpus=emobox"
        )
    listed = {_utterance(each, corpus): each for each in read_lists(root, KNOWN[corpus])}
    found = [listed.get(name.casefold()) for name in rows["utterance_id"]]
    kept = [row for row, each in enumerate(found) if each is not None]
    if not kept:
        example = next(iter(listed.values())).wav.name
        raise UserError(
            f"{corpus}: not one utterance is in EmoBox's lists, which have {example}: check data.root and data.emobox"
        )
    columns = {name: [each and getattr(each, name) for each in found] for name in ("emotion", "fold")}
    changed = rows.with_columns({"emotion": columns["emotion"], "emobox": columns["fold"]}).select(kept)
    there = {each.key for each in found if each is not None}
    missing = [each.key for each in listed.values() if each.key not in there]
    left_out = changed.remarks.setdefault("left out", {})
    if extra := len(rows) - len(kept):
        name = next(name for name, each in zip(rows["utterance_id"], found, strict=True) if each is None)
        left_out[f"{corpus}: {NOT_LISTED}"] = f"{extra} of {len(rows)} rows, such as {name}"
    if missing:
        told = f"{len(missing)} of {len(listed)} utterances, such as {missing[0]}"
        left_out[f"{corpus}: in EmoBox's lists and not in the corpus"] = told
    if not left_out:
        del changed.remarks["left out"]
    return changed


def emobox_name(source: CorpusRecipe) -> str:
    """What EmoBox calls a recipe's corpus that has its folds."""
    return source.options["corpus"] if source.corpus == "emobox" else KNOWN[source.corpus]


def read_lists(root: str | Path, name: str) -> list[Listed]:
    """The utterances of one of EmoBox's corpora, each once, in the order of its lists."""
    folder = Path(root).expanduser() / "data" / _known(name)
    folds = sorted(folder.glob("fold_*/"), key=lambda fold: int(re.sub(r"\D", "", fold.name) or 0))
    if not folds:
        raise UserError(f"emobox: no folds in {folder}; expected {LAYOUT}")
    lists = {fold.name: _read_fold(fold, name) for fold in folds}
    utterances = {row["key"]: row for sides in lists.values() for rows in sides.values() for row in rows}
    fold_of = _find_folds(lists, folder)
    classes = _read_label_map(folder)
    return [_listed(row, fold_of[key], classes, folder) for key, row in utterances.items()]


def _known(name: str) -> str:
    if name not in SPEAKERS:
        raise UserError(f"emobox: there is no corpus {name!r}: set options.corpus to one of {', '.join(SPEAKERS)}")
    return name


def _read_fold(fold: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    """By side, the rows of its list; not every fold has one that validates."""
    paths = {side: fold / f"{name}_{spelled}_{fold.name}.jsonl" for spelled, side in SIDES.items()}
    absent = [path for side, path in paths.items() if side != VALIDATION and not path.is_file()]
    if absent:
        raise UserError(f"emobox: no such file: {absent[0]}; expected {LAYOUT}: clone it afresh")
    return {side: list(_read_list(path)) for side, path in paths.items() if path.is_file()}


def _read_list(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            texts = all(isinstance(row[key], str) for key in NEEDED)
        except (ValueError, KeyError, TypeError):
            texts = False
        if not texts:
            raise UserError(f"emobox: line {number} of {path} has no {', '.join(NEEDED)}: clone EmoBox afresh")
        yield row


def _find_folds(lists: Mapping[str, Mapping[str, list[dict]]], folder: Path) -> dict[str, str]:
    """The fold of each utterance; `UserError` where it is tested twice, or a fold does not train on all the others."""
    keys = {
        fold: {side: {row["key"] for row in rows} for side, rows in sides.items()} for fold, sides in lists.items()
    }
    fold_of = {key: TRAIN for sides in keys.values() for key in sides[TRAIN]}
    for fold, sides in keys.items():
        fold_of |= dict.fromkeys(sides.get(VALIDATION, ()), VALIDATION) | dict.fromkeys(sides["test"], fold)
    tested = Counter(key for sides in keys.values() for key in sides["test"])
    twice = next((key for key, count in tested.items() if count > 1), None)
    if twice is not None:
        raise UserError(f"emobox: {folder} tests {twice} in two folds, which no study counts: clone EmoBox afresh")
    for fold, sides in keys.items():
        trained = {key for key, side in fold_of.items() if side not in (fold, VALIDATION)}
        if differing := sides[TRAIN] ^ trained:
            raise UserError(
                f"emobox: {folder / fold} does not train on all that it does not test ({len(differing)} utterances, "
                f"such as {min(differing)}): clone EmoBox afresh"
            )
    return fold_of


def _read_label_map(folder: Path) -> dict[str, str]:
    """EmoBox's class of each label, in small letters: its lists and its maps do not agree on capitals."""
    path = next((path for path in (folder / "label_map.json", folder / "label_dict.json") if path.is_file()), None)
    if path is None:
        raise UserError(f"emobox: {folder} has no label_map.json: clone EmoBox afresh")
    classes = read_json(path)
    if not isinstance(classes, dict) or not all(isinstance(name, str) for name in classes.values()):
        raise UserError(f"emobox: {path} maps no labels to classes: clone EmoBox afresh")
    # a corpus may have two labels that differ in nothing else
    return {label.casefold(): name for label, name in classes.items()} | classes


def _listed(row: Mapping[str, Any], fold: str, classes: Mapping[str, str], folder: Path) -> Listed:
    label = row["emo"]
    name = classes.get(label) or classes.get(label.casefold())
    if name is None:
        raise UserError(f"emobox: {row['key']} has the label {label!r}, which {folder} does not map to a class")
    wav = PurePosixPath(row["wav"])
    if wav.is_absolute() or ".." in wav.parts:
        raise UserError(f"emobox: {row['key']} has the path {row['wav']!r}, which leads out of its folder")
    return Listed(row["key"], wav, name, fold, row.get("start_time"), row.get("end_time"))


def _utterance(listed: Listed, corpus: str) -> str:
    """What we call an utterance of EmoBox's, in small letters: most corpora by the name of its recording."""
    file = Path(listed.wav)
    if corpus == "emov_db":
        return emov_db.describe(file, {})["utterance_id"].casefold()
    return (f"{meld.find_side(file)}_{file.stem}" if corpus == "meld" else file.stem).casefold()


def _recording(path: Path) -> Path:
    """The recording, or another form of it that can be read."""
    forms = [path, *(path.with_suffix(ending) for ending in RECORDINGS)]
    return next((form for form in forms if form.suffix.lower() in RECORDINGS and form.is_file()), path)


def _speaker(pattern: str | None, wav: PurePosixPath, corpus: str) -> str | None:
    """Who speaks, as far as the path tells; the one voice of a corpus has its name."""
    found = pattern and re.search(pattern, str(wav.with_suffix("")))
    return ("".join(found.groups()) or corpus) if found else None
