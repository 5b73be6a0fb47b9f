"""Random tables with known truth: what a recipe on them must train on, test and count, or what it must refuse."""

import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

NUMBERS = ["01", "02", "1", "2", "05", "0011", "11", "10", "0", "007", "1001", "1e3", "1_000"]
WORDS = ["impro", "Anna", "anna", "NA", "on", "no", "null", "train", "F1", "M2", "Ses01F", "a b", "True", "none"]
LABELS = ["angry", "happy", "no", "yes", "on", "05", "sad", "neutral", "NEU", "1"]
MISSING = ["", "NA", "-", "None", "nan", "N/A"]
SIDES = {
    "train": ["train", "Train", "TRAINING", "trn", " train"],
    "validation": ["dev", "Devel", "development", "Val", "valid", "validation"],
    "test": ["test", "Test", "TEST", "tst"],
    "test2": ["Test2", "test 2", "test-2"],
}
NO_SIDES = ["holdout", "fold1", "3", "trains"]
NO_COLUMNS = ["offset", "chan", "clip_duration", "begin_time", "t0"]
SEPARATORS = {"csv": [",", ";", "\t"], "tsv": ["\t"]}
DEGENERATE = ["nothing to tell apart", "side has no utterance of", "no utterance of the", "nothing is left", "drops"]
Fault = tuple[str, list[str]]
Mapped = tuple[str, str, str | None]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]


@dataclass
class Draw:
    """A table on the disk, what is asked of it, and what must come of that.

    Args:
        recipe: the recipe's file.
        settings: that are set on top.
        refused: one of these words is in the line that refuses it; None where it must not be refused.
        tested: the fold that is tested.
        rows: of the corpus by id: speaker, emotion, start and end.
        sides: by name the ids.
        whole: with folds that are dealt, the column that stays whole in them; then there is no telling of sides.
        perhaps: words of a refusal that depends on how folds are dealt.
        what: the draw in words.
    """

    recipe: Path
    settings: list[str]
    refused: list[str] | None = None
    tested: str | None = None
    rows: dict[str, tuple] = field(default_factory=dict)
    sides: dict[str, set[str]] = field(default_factory=dict)
    whole: str | None = None
    perhaps: list[str] = field(default_factory=list)
    what: str = ""


def draw_table(number: int, folder: Path) -> Draw:
    """The draw of this number, with its files in a folder that holds `a.wav` and `b.wav`."""
    chance = random.Random(number)
    draw = Draw(folder / "recipe.yaml", [])
    folds = chance.choice(["speaker"] * 5 + ["split"] * 3 + ["groups", "utterances", "session"])
    rows = _draw_rows(chance, folds)
    fault = _spoil(chance, rows, folds)
    options = _write_table(chance, rows, folder)
    mapped = _draw_map(chance, rows)
    asked, written = _draw_question(chance, rows, folds)
    data = f"folds: {folds}, options: {options}, {written}" + (
        f"label_map: {{emotion: {mapped[0]}}}, " if mapped else ""
    )
    draw.recipe.write_text(RECIPE.format(root=options.root, data=data), encoding="utf-8")
    draw.settings = asked.settings
    draw.what = f"{number}: {folds}, asked {asked.text!r}, {fault}, label_map {mapped}, {options}"
    _tell(draw, rows, folds, asked, fault, mapped)
    return draw


RECIPE = """
data: {{corpus: table, root: {root}, {data}}}
model: {{encoder: demo-encoder, auxiliary_tasks: []}}
stages:
  emotion: {{loss_weights: {{emotion: 1}}, epochs: 1, encoder_learning_rate: 1e-4, head_learning_rate: 1e-3}}
"""


@dataclass
class Row:
    """What a row of the table means, and how it is written."""

    id: str
    speaker: str
    emotion: str | None
    side: str | None = None
    start: float | None = None
    end: float | None = None
    written: dict[str, str] = field(default_factory=dict)


class Options(str):
    """The table's options as YAML, with the path of the table."""

    root: Path


@dataclass
class Asked:
    """A test fold as it is asked for, as text or by place, and the settings that do so."""

    text: str | None
    place: int | None = None
    settings: list[str] = field(default_factory=list)


def _draw_rows(chance: random.Random, folds: str) -> list[Row]:
    pools = [NUMBERS, WORDS, NUMBERS + WORDS]
    speakers = chance.sample(chance.choice(pools), chance.randint(3, 6))
    labels = chance.sample(LABELS, chance.randint(2, 3))
    sides = ["train", "train", "test", *chance.choices(["train", "validation", "test", "test2"], k=3)]
    rows = []
    for speaker, side in zip(speakers, sides, strict=False):
        for emotion in labels * chance.randint(1, 2):
            missing = chance.random() < 0.1
            row = Row(f"u{len(rows)}", speaker, None if missing else emotion)
            row.written = {
                "speaker": chance.choice([speaker, f" {speaker} "]),
                "emotion": chance.choice(MISSING) if missing else chance.choice([emotion, f"{emotion} "]),
            }
            if folds == "split":
                row.side, row.written["split"] = side, chance.choice(SIDES[side])
            if folds == "session":
                row.written["session"] = speaker
            rows.append(row)
    chance.shuffle(rows)
    return rows


def _spoil(chance: random.Random, rows: list[Row], folds: str) -> Fault | None:
    """Spoils a table in one way, or not at all; returns the word that the refusal must hold, and the spoilt rows."""
    kind = chance.choice([None] * 5 + ["side", "column", "nobody", "eval"])
    row = chance.choice(rows)
    if kind == "column":
        name = chance.choice(NO_COLUMNS)
        for each in rows:
            each.written[name] = "1"
        return name, []
    if kind == "nobody" and folds in ("speaker", "groups"):
        row.written["speaker"] = ""
        return "have no speaker", [row.id]
    if folds == "split" and kind == "side":
        row.written["split"] = chance.choice(NO_SIDES)
        return row.written["split"], [row.id]
    tests = [each for each in rows if each.side == "test"]
    if folds == "split" and kind == "eval" and len(tests) > 1:
        tests[0].written["split"], tests[1].written["split"] = "eval", "test"
        return "'eval'", [tests[0].id]
    return None


def _write_table(chance: random.Random, rows: list[Row], folder: Path) -> Options:
    unit = chance.choice([None, None, "s", "ms", "h:m:s"])
    names = {"audio": "audio", "id": "utterance_id"}
    columns: dict[str, str] = {}
    if chance.random() < 0.3:
        names["audio"], columns["audio"] = "path", "path"
    names["emotion"] = chance.choice(["emotion", "Emotion"])
    lines = []
    for number, row in enumerate(rows):
        cells = {names["audio"]: chance.choice(["a.wav", "b.wav", " a.wav"]), names["id"]: row.id}
        if unit is not None:
            row.start, row.end = number * 1.5, number * 1.5 + chance.choice([0.5, 1.25])
            cells |= {"start": _time(row.start, unit), "end": _time(row.end, unit)}
        written = dict(row.written)
        cells[names["emotion"]] = written.pop("emotion")
        lines.append(cells | written | {"remark": "x"})
    suffix = chance.choice(list(SEPARATORS))
    separator = chance.choice(SEPARATORS[suffix])
    text = "\n".join(separator.join(line) for line in [list(lines[0]), *(line.values() for line in lines)]) + "\n"
    table = folder / chance.choice([f"table.{suffix}", f"table.{suffix.upper()}"])
    table.write_bytes(text.encode(chance.choice(ENCODINGS)))
    settings = [f"time_unit: '{unit}'"] if unit not in (None, "s") else []
    settings += [f"columns: {{audio: {columns['audio']}}}"] if columns else []
    options = Options(f"{{{', '.join(settings)}}}")
    options.root = table
    return options


def _time(seconds: float, unit: str) -> str:
    if unit == "h:m:s":
        return f"0:{int(seconds // 60):02d}:{seconds % 60:06.3f}"
    return str(round(seconds * 1000)) if unit == "ms" else str(seconds)


def _draw_map(chance: random.Random, rows: list[Row]) -> Mapped | None:
    """A label map as YAML, the label and what it becomes; or none."""
    labels = sorted({row.emotion for row in rows if row.emotion is not None})
    if not labels or chance.random() < 0.7:
        return None
    label, shared = chance.choice(labels), chance.choice([None, "off", "0012", "calm"])
    return f"{{{label}: {'null' if shared is None else shared}}}", label, shared


def _draw_question(chance: random.Random, rows: list[Row], folds: str) -> tuple[Asked, str]:
    """What is tested, and how the recipe writes it: there, or in a setting."""
    if folds == "split":
        asked = Asked(chance.choice(["test", "Test", "TST", "test1", "Test2", "dev", "none"]))
    elif folds in ("groups", "utterances"):
        asked = Asked(f"{'group' if folds == 'groups' else 'part'}-{chance.randint(1, 3)}")
    else:
        name = chance.choice(rows).speaker
        kind = chance.choice(["name"] * 5 + ["place", "stripped", "other", "small", "none"])
        place = chance.randint(0, 7) if kind == "place" else None
        texts = {"stripped": name.lstrip("0") or "0", "other": chance.choice(NUMBERS + WORDS), "none": "none"}
        asked = Asked(None if kind == "place" else {"name": name, "small": "0"}.get(kind, texts.get(kind)), place)
    written = f"{{place: {asked.place}}}" if asked.place is not None else asked.text
    fold_count = "fold_count: 3, " if folds in ("groups", "utterances") else ""
    if chance.random() < 0.5:
        asked.settings = [f"data.test_fold={written}"]
        return asked, fold_count
    return asked, f"{fold_count}test_fold: {written}, "


def _tell(
    draw: Draw,
    rows: list[Row],
    folds: str,
    asked: Asked,
    fault: str | None,
    mapped: tuple[str, str, str | None] | None,
) -> None:
    """Works out the truth."""
    if mapped is not None:
        rows = [row for row in rows if row.emotion != mapped[1] or mapped[2] is not None]
        for row in rows:
            row.emotion = mapped[2] if row.emotion == mapped[1] else row.emotion
    draw.rows = {row.id: (row.speaker, row.emotion, row.start, row.end) for row in rows}
    # a row that a label map has dropped harms nobody, nor does a spelling of the test side that is the only one
    tests = [row for row in rows if row.side == "test"]
    alone = fault is not None and fault[0] == "'eval'" and len(tests) < 2
    if fault is not None and draw.rows.keys() >= set(fault[1]) and not alone:
        draw.refused = [fault[0]]
    fold_of = {row.id: row.side if folds == "split" else row.speaker for row in rows}
    names = sorted(set(fold_of.values()) - ({"train", "validation"} if folds == "split" else set()))
    if folds in ("groups", "utterances"):
        draw.tested, draw.whole = asked.text, "speaker" if folds == "groups" else "id"
        draw.perhaps = DEGENERATE
        alike = Counter(row.emotion for row in rows).most_common(1)
        if (folds == "groups" and len({row.speaker for row in rows}) < 3) or not alike or alike[0][1] < 3:
            draw.refused = draw.refused or ["groups cannot be made", "no label has more", *DEGENERATE]
        return
    draw.tested = _fold(draw, names, folds, asked)
    if draw.refused is None:
        train = {id for id, fold in fold_of.items() if (fold == "train" if folds == "split" else fold != draw.tested)}
        draw.sides = {"train": train, "validation": set()}
        draw.sides["test"] = {id for id, fold in fold_of.items() if fold == draw.tested}
        draw.refused = _degenerate({row.id: row.emotion for row in rows}, draw)


def _fold(draw: Draw, names: list[str], folds: str, asked: Asked) -> str | None:
    """The fold that is asked for; or notes the refusal."""
    text, refusal = asked.text, [f"'{asked.text}'", "test_fold=none", f"at place {asked.place}"]
    if asked.place is not None and asked.place < len(names):
        return names[asked.place]
    if folds == "split" and text not in (None, "none"):
        text = next((side for side, words in SIDES.items() if text in (*words, "test1", "TST")), text)
        text = "test" if asked.text in ("test1", "TST") else text
    if text in names and text != "none":
        return text
    if text == "none" and folds != "split" and "none" not in names:
        return None
    digits = any(character.isdigit() for name in names for character in name)
    if text == "0" and names and not any(set(run) == {"0"} for name in names for run in _runs(name)):
        return names[0]
    if text is not None and text.isdigit() and not digits and str(int(text)) == text and int(text) < len(names):
        return names[int(text)]
    draw.refused = draw.refused or refusal
    return None


def _runs(name: str) -> list[str]:
    return "".join(character if character.isdigit() else " " for character in name).split()


def _degenerate(emotion_of: dict[str, str | None], draw: Draw) -> list[str] | None:
    """How a split is refused that can be neither learned nor judged; None for any other."""
    labels = set(emotion_of.values()) - {None}
    trained = {emotion_of[id] for id in draw.sides["train"]} - {None}
    tested = {emotion_of[id] for id in draw.sides["test"]} - {None}
    if len(labels) < 2 or trained != labels or not (tested or draw.tested is None):
        return DEGENERATE
    return None
