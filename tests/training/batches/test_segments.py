"""Rows that are segments of long recordings are heard everywhere as the same recordings cut apart are."""

import csv
import json

import numpy as np
import pytest
import soundfile
import torch

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
from ser_meta.training.checking.check import check_rows
from ser_meta.training.checking.duplicates import overlap, refuse_shared_recordings
from ser_meta.training.checking.recordings import digests, likeness, measure
from ser_meta.training.corpora import load_corpus
from ser_meta.training.corpora.recordings import recordings, require_recordings
from ser_meta.training.corpora.rows import gather
from ser_meta.training.measures.yardstick import logistic_regression_yardstick
from ser_meta.training.planning.durations import recording_durations
from ser_meta.training.runs.preparation import prepare

RATE = 16_000


@pytest.fixture(scope="module")
def long_table(speech_table, tmp_path_factory):
    """The corpus of `speech_table`, every speaker's recordings in one file with half a second between them."""
    folder = tmp_path_factory.mktemp("long")
    rows, joined = list(csv.DictReader(speech_table.open(encoding="utf-8"))), {}
    for row in rows:
        samples, _ = soundfile.read(speech_table.parent / row["audio"], dtype="int16")
        parts = joined.setdefault(row["speaker"], [])
        start = sum(map(len, parts))
        parts += [samples, np.full(RATE // 2, 9_999, dtype=np.int16)]
        times = {"start": start / RATE, "end": (start + len(samples)) / RATE}
        row |= {"utterance_id": row["audio"], "audio": f"{row['speaker']}.wav", **times}
    for speaker, parts in joined.items():
        soundfile.write(folder / f"{speaker}.wav", np.concatenate(parts), RATE)
    return write_table(folder / "long.csv", rows)


def write_table(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def both(speech_table, long_table):
    return load_corpus("table", speech_table), load_corpus("table", long_table)


def test_a_segment_is_read_and_measured_as_the_recording_it_was(both):
    cut, long = both
    for one, other in zip(recordings(cut), recordings(long), strict=True):
        np.testing.assert_array_equal(read_audio(one), read_audio(other))
    assert recording_durations(long) == pytest.approx(recording_durations(cut), abs=1e-9)
    for row in range(0, len(cut), 7):
        one, other = measure(cut[row]), measure(long[row])
        assert one.pop("digest") != other.pop("digest")
        np.testing.assert_array_equal(one.pop("spectrum"), other.pop("spectrum"))
        assert one == other and one["error"] is None
    assert likeness(next(recordings(cut)), next(recordings(long))) == pytest.approx(1)


@pytest.mark.parametrize("kept", [False, True])
def test_a_training_hears_segments_alone(recipe_file, long_table, speech_table, steady_settings, tmp_path, kept):
    settings = [*steady_settings, "data.trim_decibels=30", *([f"cache={tmp_path}"] if kept else [])]
    cut, long = (
        prepare(load_recipe(str(recipe_file), [f"data.root={table}", *settings]))
        for table in (speech_table, long_table)
    )
    model, stage = cut.new_model(), cut.recipe.stages["metadata"]
    assert cut.utterances() == long.utterances()
    one, other = cut.build_collator(model, stage), long.build_collator(model, stage)
    if kept:
        assert one.states.origin != other.states.origin
    expected = one([cut.dataset[row] for row in range(6)])
    found = other([long.dataset[row] for row in range(6)])
    for name in expected.keys() - {"labels"}:
        torch.testing.assert_close(found[name], expected[name])
    assert other.lengths(long.dataset) == pytest.approx(one.lengths(cut.dataset))


def test_the_yardstick_hears_segments_alone(both):
    cut, long = (
        logistic_regression_yardstick(rows.select(range(18)), rows.select(range(18, 36)), "emotion") for rows in both
    )
    assert cut == long


def test_states_are_kept_under_a_name_that_has_the_times(both):
    _, long = both
    sources = list(recordings(long))
    assert len(set(digests(sources))) == len(long)
    later = [source | {"end": source["end"] - 0.1} for source in sources]
    assert not set(digests(sources)) & set(digests(later))


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ((0, 2), (2, 4), 0),
        ((0, 2), (1.5, 4), 0.25),
        ((0, 2), (0.5, 1.5), 1),
        ((0, 2), (None, None), 1),
        ((None, None), (None, None), 1),
        ((3, None), (0, 4), 0.25),
    ],
)
def test_how_much_two_segments_share(one, other, share):
    parts = [dict(zip(("start", "end"), times, strict=True)) for times in (one, other)]
    assert overlap(*parts) == overlap(*parts[::-1]) == share


@pytest.fixture
def segments(tmp_path):
    """Rows that are these segments of one recording of four seconds, each its own id."""
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 4 * RATE), RATE)

    def make(*times, **columns):
        rows = [
            {"audio": path, "utterance_id": f"u{row}", "start": start, "end": end}
            for row, (start, end) in enumerate(times)
        ]
        return gather(rows).with_columns(columns)

    return make


@pytest.mark.parametrize(("end", "shared"), [(1.0, False), (1.3, False), (1.5, True), (None, True)])
def test_half_a_segment_on_another_side_is_the_same_recording(segments, end, shared):
    rows, sides = segments((0.0, end), (1.0, 2.0), (2.0, 3.0)), {"train": [0], "test": [1, 2]}
    refuse_shared_recordings(rows.dataset(), {"train": [0, 1, 2]})
    if not shared:
        refuse_shared_recordings(rows.dataset(), sides)
        return
    with pytest.raises(UserError, match=r"u0 \(train side\) and u1 \(test side\) are the same recording"):
        refuse_shared_recordings(rows.dataset(), sides)


def test_what_is_refused_on_two_sides_is_what_check_leaves_out(segments):
    rows = segments((0.0, 1.5), (1.0, 2.0), (2.0, 3.0), (2.0, 3.0), emotion=["sad", "sad", "sad", "glad"])
    report = check_rows(rows, workers=1)
    assert report["leave_out"] == {
        "u1": "same segment: as u0",
        "u2": "same bytes: as u3, with another emotion",
        "u3": "same bytes: as u2, with another emotion",
    }


def test_a_segment_that_is_not_in_its_recording_is_refused_with_what_may_be_meant(segments):
    rows = segments((0.0, 1.0), (1.0, 4.5), (4000.0, 5000.0))
    told = r"^table: u1: .*1\.0 s to 4\.5 s.* lasts 4\.000 s.*\(2 of 3 segments\).* time_unit=ms"
    with pytest.raises(UserError, match=told):
        require_recordings(rows, "table")
    assert set(details(check_rows(rows, workers=1), "unreadable")) == {"u1", "u2"}


def details(report, finding):
    return next((found["details"] for found in report["findings"] if found["finding"] == finding), {})


def test_a_table_of_segments_is_recognised_by_its_ids(command_line, finished_run, speech_table, long_table):
    results = []
    for table in (speech_table, long_table):
        code, printed, _ = command_line("predict", finished_run / "model", "--table", table, "--json")
        assert code == 0
        results.append([json.loads(line) for line in printed.splitlines()])
    cut, long = results
    assert [result["utterance_id"] for result in cut] == [result["utterance_id"] for result in long]
    assert [result["utterance_id"] for result in cut[:2]] == ["anna-angry-improvised.wav", "anna-angry-scripted.wav"]
    for one, other in zip(cut, long, strict=True):
        assert one["emotion"][0]["score"] == pytest.approx(other["emotion"][0]["score"], abs=1e-5)
