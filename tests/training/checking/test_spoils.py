"""What would spoil a result is found in a corpus's table, and nothing is found where it is in order."""

import pytest

from ser_meta.training.checking.spoils import SPOILS, spoiling_findings
from ser_meta.training.corpora.rows import gather

SPEAKERS, EMOTIONS = ("anna", "bela", "cleo", "dora"), ("angry", "neutral", "sad")


def found(change=lambda row: {}, speakers=SPEAKERS):
    rows = [
        {"audio": f"{speaker}-{emotion}.wav", "speaker": speaker, "emotion": emotion, "gender": "female"}
        for speaker in speakers
        for emotion in EMOTIONS
    ]
    rows = [row | {"utterance_id": row["audio"]} | change(row) for row in rows]
    return {name: details for name, details in spoiling_findings(gather(rows)).items() if details}


def only(**emotions):
    return lambda row: {"emotion": emotions.get(row["speaker"], row["emotion"])}


@pytest.mark.parametrize(
    ("change", "finding", "details"),
    [
        (lambda row: {"emotion": None}, "no emotion", {"emotion": "none in 12 rows"}),
        (lambda row: {"emotion": "sad"}, "one emotion", {"emotion": "sad in all 12 rows that have one"}),
        (lambda row: {"speaker": None}, "no speaker", {"speaker": "none in 12 rows"}),
        (
            lambda row: {"speaker": (row["speaker"][0] < "c" and "one") or "two"},
            "few speakers",
            {"speaker": "one and two"},
        ),
        (
            only(anna="sad", bela="sad", cleo="angry"),
            "one emotion a speaker",
            {
                "speakers": "3 of 4",
                "speaker anna": "sad alone",
                "speaker bela": "sad alone",
                "speaker cleo": "angry alone",
            },
        ),
        (
            lambda row: {"emotion": "bored"} if row["audio"] == "anna-sad.wav" else {},
            "emotion of one speaker",
            {"bored": "speaker anna alone"},
        ),
        (
            lambda row: {"emotion": row["emotion"].title()} if row["speaker"] < "c" else {},
            "spellings",
            {"emotion": "'Angry' (2) and 'angry' (2); 'Neutral' (2) and 'neutral' (2); 'Sad' (2) and 'sad' (2)"},
        ),
        (
            lambda row: {"gender": {"anna": "Unknown", "bela": "-"}.get(row["speaker"], "male")},
            "marks as labels",
            {"gender": "'Unknown' (3), '-' (3)"},
        ),
    ],
)
def test_each_is_found_and_nothing_else(change, finding, details):
    assert found(change) == {finding: details} and finding in SPOILS


def test_nothing_is_found_where_all_is_in_order():
    assert found() == {}


def test_half_of_the_speakers_with_one_emotion_are_not_most():
    assert "one emotion a speaker" not in found(only(anna="sad", bela="sad"))
