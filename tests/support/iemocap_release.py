"""A tree of IEMOCAP's shape, with true names and counts and invented words: the corpus itself is licensed."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

CLASSES = ["neutral", "happy", "angry", "sad"]
BY_SESSION = {
    "Session1": [384, 278, 229, 194],
    "Session2": [362, 327, 137, 197],
    "Session3": [320, 286, 240, 305],
    "Session4": [258, 303, 327, 143],
    "Session5": [384, 442, 170, 245],
}
FEMALE = {"Session1": 528, "Session2": 481, "Session3": 522, "Session4": 528, "Session5": 590}
MALE = {"Session1": 557, "Session2": 542, "Session3": 629, "Session4": 503, "Session5": 651}
IMPROVISED = {"neutral": 1099, "happy": 947, "angry": 289, "sad": 608}
SCRIPTED = {"neutral": 609, "happy": 689, "angry": 814, "sad": 476}
DISCARDED = 10_039 - 5_531
SITUATIONS = {
    "improvised": ["impro01", "impro02", "impro03", "impro04", "impro05a", "impro05b", "impro06", "impro07"],
    "scripted": [f"script{part}" for part in ("01_1", "01_1b", "01_2", "01_3", "02_1", "02_2", "03_1", "03_2")],
}
DIALOGS = {  # improvised, scripted: 151 in all
    "Session1": (14, 14),
    "Session2": (15, 15),
    "Session3": (16, 16),
    "Session4": (15, 15),
    "Session5": (15, 16),
}
CODES = {"neutral": ["neu"], "happy": ["hap", "exc"], "angry": ["ang"], "sad": ["sad"]}
WORDS = [b"Tomatoes again?", b"[LAUGHTER] We'd never sail there. {LG}", b"It caf\xe9 \x92n \x85 tea", "Café.".encode()]
TEXTS = ["Tomatoes again?", "[LAUGHTER] We'd never sail there. {LG}", "It café \u2019n … tea", "Café."]
NAMES = {
    **{"neu": "Neutral", "hap": "Happiness", "exc": "Excited", "ang": "Anger", "sad": "Sadness", "fru": "Frustration"},
    **{"fea": "Fear", "sur": "Surprise", "dis": "Disgust", "oth": "Other"},
}
NO_AGREEMENT = (["neu", "fru", "sad"], ["fru", "oth", "sur"], ["ang", "fru", "ang", "fru"], ["exc", "hap", "fru"])
HEADER = b"% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\r\n\r\n"


def spread(count, total):
    """`count` times True among `total`, as evenly as can be."""
    return [(place + 1) * count // total > place * count // total for place in range(total)]


def plan_utterances():
    """One joint table of session, class, style and gender that has every margin of the release."""
    rows = pd.DataFrame(
        [
            (session, emotion)
            for session, counts in BY_SESSION.items()
            for emotion, count in zip(CLASSES, counts, strict=True)
            for _ in range(count)
        ],
        columns=["session", "emotion"],
    )
    for emotion, of_class in rows.groupby("emotion"):
        rows.loc[of_class.index, "improvised"] = spread(IMPROVISED[emotion], len(of_class))
    for session, of_session in rows.groupby("session"):
        rows.loc[of_session.index, "female"] = spread(FEMALE[session], len(of_session))
    rows["code"] = [CODES[emotion][place % len(CODES[emotion])] for place, emotion in enumerate(rows["emotion"])]
    return pd.concat([rows, plan_discarded()], ignore_index=True)


def plan_discarded():
    """The turns outside the four classes."""
    choices = itertools.cycle(
        itertools.product(["fru", "xxx", "sur", "fea", "oth", "dis"], BY_SESSION, [1, 0], [1, 0])
    )
    columns = ["code", "session", "improvised", "female"]
    rows = pd.DataFrame(itertools.islice(choices, DISCARDED), columns=columns)
    return rows.astype({"improvised": bool, "female": bool})


def name_utterances(rows):
    """Adds the names, so that the letter after the session and the speaker's differ as often as not."""
    rows["style"] = rows["improvised"].map({True: "improvised", False: "scripted"})
    rows["gender"] = rows["female"].map({True: "female", False: "male"})
    dialogs = {
        (session, style): itertools.cycle(itertools.islice(itertools.product("FM", SITUATIONS[style]), count))
        for session, counts in DIALOGS.items()
        for style, count in zip(SITUATIONS, counts, strict=True)
    }
    places = [next(dialogs[place]) for place in zip(rows["session"], rows["style"], strict=True)]
    session = "Ses0" + rows["session"].str[-1]
    rows["dialog"] = [f"{name}{marked}_{dialog}" for name, (marked, dialog) in zip(session, places, strict=True)]
    letter = rows["gender"].map({"female": "F", "male": "M"})
    number = rows.groupby(["dialog", letter]).cumcount()
    rows["utterance_id"] = [f"{d}_{g}{n:03d}" for d, g, n in zip(rows["dialog"], letter, number, strict=True)]
    rows["speaker"] = session + letter
    rows["words"] = [place % len(WORDS) for place in range(len(rows))]
    rows["transcript"] = [TEXTS[place] for place in rows["words"]]
    return rows


def evaluators(turn):
    """By evaluator the codes that each names: most say what the consensus is, and of `xxx` nobody has most votes."""
    if turn.code == "xxx":
        return [[code] for code in NO_AGREEMENT[turn.Index % len(NO_AGREEMENT)]]
    other, third = (list(NAMES)[(turn.Index + place) % len(NAMES)] for place in (0, 1))
    return [[turn.code], [turn.code] if other == turn.code else [other, turn.code], [third]]


def write_release(root: Path, turns: pd.DataFrame, record: Callable[[Any, Path], None]) -> None:
    """The folder of a release with the turns of `name_utterances`; `record` puts a turn's recording to its place."""
    for (name, dialog), of_dialog in turns.groupby(["session", "dialog"]):
        evaluation = root / name / "dialog" / "EmoEvaluation"
        for folder in ("Attribute", "Categorical", "Self-evaluation"):
            (evaluation / folder).mkdir(parents=True, exist_ok=True)
        (root / name / "dialog" / "transcriptions").mkdir(exist_ok=True)
        write_dialog(root / name, dialog, list(of_dialog.itertuples()), record)


def write_dialog(session, dialog, turns, record):
    """One dialog's evaluations, transcripts and recordings, with all that surrounds them in the release."""
    evaluation = session / "dialog" / "EmoEvaluation"
    lines = [
        f"[6.2901 - 8.2357]\t{turn.utterance_id}\t{turn.code}\t[2.5000, 3.0000, 3.6667]\r\n"
        + "".join(
            f"C-E{number}:\t{' '.join(f'{NAMES[code]};' for code in codes)}\t()\r\n"
            for number, codes in enumerate(evaluators(turn), start=1)
        )
        + "C-F1:\tAnger;\t(bored)\r\n"
        "A-E3:\tval 3; act 2; dom  2;\t()\r\nA-F1:\tval 2; act 3; dom  1;\t()\r\n\r\n"
        for turn in turns
    ]
    written = HEADER + "".join(lines).encode()
    (evaluation / f"{dialog}.txt").write_bytes(written)
    (evaluation / f"._{dialog}.txt").write_bytes(b"\x00\x05\x16\x07 Mac OS X" + written)
    for folder in ("Attribute", "Categorical", "Self-evaluation"):
        (evaluation / folder / f"{dialog}_e1.txt").write_bytes(written)
    write_transcripts(session / "dialog" / "transcriptions", dialog, turns)
    recordings = session / "sentences" / "wav" / dialog
    recordings.mkdir(parents=True)
    (recordings / f"._{dialog}_F000.wav").touch()
    for turn in turns:
        record(turn, recordings / f"{turn.utterance_id}.wav")


def write_transcripts(folder, dialog, turns):
    lines = [f"{turn.utterance_id} [006.2901-008.2357]: ".encode() + WORDS[turn.words] + b"\n" for turn in turns]
    remarks = [b"M: [BREATHING]\n", b"F: a bare remark\n", f"{dialog}_MXX0 [001.0000-002.0000]: Pst.\n".encode()]
    (folder / f"{dialog}.txt").write_bytes(b"".join([*remarks, *lines]))
    (folder / f"._{dialog}.txt").write_bytes(b"\x00\x05\x16\x07 Mac OS X")
