"""What is worth telling about a corpus, and what of it a training should leave out.

Left out is what no training can use (unreadable, empty, too short, not finite, silent) and what would count twice
(duplicates beyond the first). The rest are remarks: a clipped shout is still a shout, and leaving it out would take
anger away; a text that does not fit costs only the transcript's loss.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ...modeling_ser_meta.audio_ser_meta import LOST_IN_MIX
from ...modeling_ser_meta.processing_ser_meta import LATIN, normalize_transcript
from ...modeling_ser_meta.sound_files_ser_meta import ODDITIES
from ..corpora.recordings import ABSENT
from ..corpora.rows import METADATA, RATINGS
from ..planning.lengths import far_longer, usual_length

RATE = 16_000  # Hz, of the speech encoders
SHORTEST = 400  # samples at that rate: the encoders' first frame
STEP = 320  # samples from a frame to the next: 50 frames a second
SILENT = 0.001  # of full scale: 60 dB below it
CLIPPED = 0.001  # share of samples
EDGE = 0.5  # seconds

LEFT_OUT = {
    "unreadable": "cannot be decoded",
    "empty": "no sample",
    "too short": "fewer samples than the 400 at 16 kHz that an encoder needs",
    "not finite": "samples that are NaN, infinite or far beyond full scale",
    "silent": "nothing within 60 dB of full scale",
    "same bytes": "the same file as another utterance; the first stays, unless emotion or speaker differ",
    "same segment": "half of it is in another segment of the file; the first stays, unless emotion or speaker differ",
    "same speech": "another's recording at another level, rate, length of silence or encoding; the first stays, "
    "unless emotion or speaker differ",
}
REMARKS = {
    "clipped": "over 0.1 % of the samples at full scale",
    "silent edges": "over 0.5 s at an end is 40 dB softer than the loudest 10 ms: data.trim_decibels cuts it",
    "channels differ": "and are mixed: data.options.channel=left, or a column channel, says which is heard",
    "far longer": "than the rest: a training refuses it, as it would decide the memory; data.longest leaves it out",
    **ODDITIES,
    "unusual rate": "not the sampling rate of most, or below 16 kHz",
    "no words": "the transcript is empty without its tags and punctuation",
    "lost text": "digits or signs that are spoken, but no letters: write them out",
    "other letters": "beyond A-Z: a tokenizer has them only if the training side has",
    "long transcript": "more characters than CTC has frames: its transcript is not learned",
    "missing metadata": "a missing value costs that task's loss on its row",
    "shared speakers": "on two sides of the official split",
    "gaps": "lacks what at least half of its kind have",
}
PAIRS = (("speaker", "style"), ("speaker", "emotion"), ("style", "emotion"))


def utterance_findings(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """By finding, the utterances it holds for with the detail. A row has its metadata and `recordings.FACTS`."""
    seconds = [row["samples"] / row["rate"] for row in rows if row["rate"]]
    longest, typical = far_longer(seconds), usual_length(seconds)
    rates = Counter(row["rate"] for row in rows if row["rate"])
    usual = rates.most_common(1)[0][0] if rates else RATE
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        fault = find_fault(row)
        told = [fault] if fault else [*sound_remarks(row, usual), *length_remarks(row, longest, typical)]
        for name, detail in (*told, *text_remarks(row)):
            found[name][row["utterance_id"]] = detail
    return found


def find_fault(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why no training can use a recording, if so: the finding and its detail."""
    if row.get("absent"):
        return row["absent"], ABSENT[row["absent"]]
    if row["error"]:
        return "unreadable", row["error"]
    if not row["samples"]:
        return "empty", "no sample"
    if samples(row) < SHORTEST:
        return "too short", f"{row['samples'] / row['rate']:.4f} s"
    if not row["finite"]:
        return "not finite", "samples that are NaN, infinite or far beyond full scale"
    if row["peak"] < SILENT:
        return "silent", f"peak {row['peak']:.6f} of full scale"
    return None


def samples(row: Mapping[str, Any]) -> int:
    """Of a recording, at the rate of the encoders."""
    return round(row["samples"] * RATE / row["rate"])


def sound_remarks(row: Mapping[str, Any], usual_rate: int) -> Iterator[tuple[str, str]]:
    """What is odd about a usable recording."""
    if row["clipped"] > CLIPPED:
        yield "clipped", f"{row['clipped']:.1%} of the samples"
    if max(row["head"], row["tail"]) > EDGE:
        yield "silent edges", f"{row['head']:.2f} s before, {row['tail']:.2f} s after"
    if row["lost"] > LOST_IN_MIX:
        yield "channels differ", f"{row['channels']} channels, {row['lost']:.0%} of their energy is not in the mix"
    for oddity in row["oddities"]:
        yield oddity, f"{row['samples'] / row['rate']:.3f} s are heard"
    if row["rate"] != usual_rate or row["rate"] < RATE:
        yield "unusual rate", f"{row['rate']} Hz"


def length_remarks(row: Mapping[str, Any], longest: float, usual: float) -> Iterator[tuple[str, str]]:
    """That a recording lasts more than `longest` seconds, where most last at most `usual` ones."""
    length = row["samples"] / row["rate"]
    if length > longest:
        yield "far longer", f"{length:.1f} s, where nine of ten last at most {usual:.1f} s"


def text_remarks(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is odd about a transcript."""
    if row.get("transcript") is None:
        return
    text = normalize_transcript(row["transcript"])
    if not text:
        yield "no words", repr(row["transcript"])
    # as letters these signs pass the normalisation, unless they are in a tag, which is not spoken
    if "\u01c2" in normalize_transcript("".join("\u01c2" if is_spoken(c) else c for c in row["transcript"])):
        yield "lost text", repr(row["transcript"])
    if others := sorted(set(text) - {" ", *LATIN}):
        yield "other letters", "".join(others)
    needed = len(text) + sum(one == following for one, following in pairwise(text))
    if row["samples"] and needed > (frames := max(0, samples(row) - SHORTEST) // STEP + 1):
        yield "long transcript", f"{needed} characters and repeats, {frames} frames"


def is_spoken(character: str) -> bool:
    """Whether a character is a number or a sign that is read aloud, as in "50 %"."""
    return unicodedata.category(character) in ("Nd", "Nl", "No", "Sc") or character in "%&@+"


def duplicate_findings(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[Sequence[int]], target: str = "emotion"
) -> dict[str, str]:
    """The utterances of groups of one recording that should go: all but the first, and it too if they disagree.

    They do on what `target` is, or who speaks.
    """
    found = {}
    for group in groups:
        first, *others = [rows[row]["utterance_id"] for row in group]
        differing = [name for name in (target, "speaker") if len({rows[row].get(name) for row in group}) > 1]
        suffix = f", with another {' and '.join(differing)}" if differing else ""
        found |= dict.fromkeys(others, f"as {first}{suffix}")
        if differing:
            found[first] = f"as {others[0]}{suffix}"
    return found


def corpus_findings(
    rows: Sequence[Mapping[str, Any]], learned: Collection[str] | None = None
) -> dict[str, dict[str, str]]:
    """By finding, the columns, speakers or styles it holds for with the detail.

    Values are missing of what a recipe has `learned`, or where there is none of any column.
    """
    columns = (*METADATA, *RATINGS) if learned is None else ("speaker", *learned)
    missing = {column: sum(row[column] is None for row in rows) for column in columns if column in rows[0]}
    return {
        "missing metadata": {column: f"{count:,} of {len(rows):,}" for column, count in missing.items() if count},
        "shared speakers": shared_speakers(rows) if "split" in rows[0] else {},
        "gaps": {owner: "; ".join(lacking) for pair in PAIRS for owner, lacking in find_gaps(rows, *pair).items()},
    }


def shared_speakers(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Speakers on more than one side of the official split, with those sides."""
    sides = collect(rows, "speaker", "split")
    return {speaker: ", ".join(sorted(found)) for speaker, found in sides.items() if len(found) > 1}


def find_gaps(rows: Sequence[Mapping[str, Any]], owner: str, value: str) -> dict[str, list[str]]:
    """What a speaker (or a style) lacks that half of them or more have: a singer without song."""
    owned = collect(rows, owner, value)
    having = Counter(name for names in owned.values() for name in names)
    common = sorted(name for name, count in having.items() if 2 * count >= len(owned))
    found = defaultdict(list)
    for name, names in owned.items():
        for lacking in common:
            if lacking not in names:
                found[f"{owner} {name}, {value}"].append(f"no {lacking}, which {having[lacking]} of {len(owned)} have")
    return found


def collect(rows: Sequence[Mapping[str, Any]], owner: str, value: str) -> dict[str, set[str]]:
    """The values of a column that go with each of another's; nulls are left out."""
    found = defaultdict(set)
    for row in rows:
        if row[owner] is not None and row[value] is not None:
            found[row[owner]].add(row[value])
    return dict(sorted(found.items()))
