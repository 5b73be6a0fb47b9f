import pytest
from printing import cells, printed

from ser_meta.hub_cards.terminal.check import print_check


@pytest.fixture
def checked():
    return {
        "corpus": "ravdess",
        "utterances": 1046,
        "speakers": 2,
        "durations": {"total": 7200.0, "shortest": 1.25, "median": 3.5, "longest": 9.0},
        "rates": {"16000": 1040, "8000": 6},
        "folds_by": "speaker",
        "counts": [
            {"fold": "[b]", "gender": None, "emotions": {"angry": 1000, "surprised": 0}},
            {"fold": "21", "gender": "female", "emotions": {"angry": 40, "surprised": 6}},
        ],
        "findings": [
            {"finding": "few speakers", "meaning": "add some", "harm": "spoils", "details": {"speaker": "a and b"}},
            {"finding": "silent", "meaning": "no sound", "harm": "left_out", "details": {"x": "peak 0"}},
            {
                "finding": "unusual rate",
                "meaning": "not that of most",
                "harm": "remark",
                "details": {f"u{number}": "8000 Hz" for number in range(6)},
            },
        ],
        "leave_out": {"x": "silent: peak 0"},
    }


def words(text, start):
    return next(line for line in text.splitlines() if line.strip().startswith(start)).split()


def test_every_count_in_its_line(checked):
    text = printed(print_check, checked, width=120)
    assert text.startswith("ravdess: 1,046 utterances, 2 speakers, 2.00 h; 1.25 to 9.00 s, median 3.50 s;")
    assert "16,000 Hz (1,040), 8,000 Hz (6)" in text
    assert words(text, "speaker ") == ["speaker", "gender", "angry", "surprised", "all"]
    assert words(text, "[b]") == ["[b]", "-", "1000", "-", "1000"]
    assert words(text, "all ") == ["all", "1040", "6", "1046"]


def test_every_finding_with_its_consequence_and_examples(checked):
    text = printed(print_check, checked)
    assert cells(text, "few speakers") == ["few speakers", "1", "SPOILS A RESULT", "add some"]
    assert cells(text, "silent") == ["silent", "1", "leave out", "no sound"]
    assert cells(text, "unusual rate") == ["unusual rate", "6", "remark", "not that of most"]
    assert "u0: 8000 Hz; u1: 8000 Hz; u2: 8000 Hz; ..." in text and "u3" not in text
    assert "leave out 1 of 1,046 utterances" in text


def test_many_folds_are_counted_together(checked):
    fold = {"gender": "male", "emotions": {"angry": 2, "surprised": 1}}
    checked["counts"] += [{"fold": str(number), **fold} for number in range(40)]
    text = printed(print_check, checked)
    assert words(text, "40 speakers") == ["40", "speakers", "male", "80", "40", "120"]
    assert words(text, "all ") == ["all", "1120", "46", "1166"]


def test_a_corpus_without_a_fault(checked):
    checked["findings"], checked["leave_out"] = [], {}
    assert printed(print_check, checked).rstrip().endswith("Nothing was found that a training should mind.")


def test_it_fits_a_terminal_of_80_columns(checked):
    emotions = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised", "contempt", "other")
    for row in checked["counts"]:
        row["emotions"] = dict.fromkeys(emotions, 1234)
    text = printed(print_check, checked, width=80)
    assert max(map(len, text.splitlines())) <= 80
    rows = [line.split() for line in text.splitlines()]
    headers = [row[2:] for row in rows if row[:2] == ["speaker", "gender"]]
    assert [label for header in headers for label in header] == [*emotions, "all"]  # in two parts, no word is torn
    figures = [figure for row in rows if row[:1] == ["21"] for figure in row[2:]]
    assert figures == ["1234"] * 10 + ["12340"]
    for row in checked["counts"]:
        row["emotions"] = dict.fromkeys(emotions[:8], 1234)
    assert words(printed(print_check, checked, width=80), "21")[2:] == ["1234"] * 8 + ["9872"]  # in one
