"""Rows that are one channel of a call are heard everywhere as that channel in a file of its own."""

import csv
import json
from functools import partial

import numpy as np
import pytest
import soundfile

from ser_meta.configuration.errors import UserError
from ser_meta.modeling_ser_meta.audio_ser_meta import channels_differ, read_audio
from ser_meta.training.checking.check import check_rows
from ser_meta.training.checking.duplicates import refuse_shared_recordings
from ser_meta.training.checking.recordings import digests
from ser_meta.training.corpora import load_corpus, load_rows
from ser_meta.training.corpora.recordings import recordings
from ser_meta.training.planning.durations import recording_durations

RATE = 16_000


@pytest.fixture(scope="module")
def calls(speech_table, tmp_path_factory):
    """The corpus of `speech_table` as calls: the first recording is a channel beside the last one's, and so on."""
    folder = tmp_path_factory.mktemp("calls")
    rows = list(csv.DictReader(speech_table.open(encoding="utf-8")))
    rows = [row for pair in zip(rows[:18], rows[:17:-1], strict=True) for row in pair]
    for number in range(0, len(rows), 2):
        both = [soundfile.read(speech_table.parent / row["audio"])[0] for row in rows[number : number + 2]]
        channels = np.zeros((max(map(len, both)), 2))
        for place, samples in enumerate(both):
            channels[: len(samples), place] = samples
            rows[number + place] |= {"audio": f"{number}.wav", "channel": ("left", "1")[place]}
        soundfile.write(folder / f"{number}.wav", channels, RATE)
    with (folder / "calls.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return folder / "calls.csv"


@pytest.fixture
def every_file(calls, tmp_path):
    """Loads a table of the calls' files, each once and without a channel."""
    (tmp_path / "files.csv").write_text(
        "audio,emotion\n" + "".join(f"{number}.wav,sad\n" for number in range(0, 36, 2))
    )
    return partial(load_rows, "table", tmp_path / "files.csv", audio_root=calls.parent)


def test_a_row_is_its_channel(speech_table, calls):
    alone = load_corpus("table", speech_table)
    order = [row for pair in zip(range(18), range(35, 17, -1), strict=True) for row in pair]
    beside = load_corpus("table", calls)
    for one, other in zip(recordings(alone.select(order)), recordings(beside), strict=True):
        samples = read_audio(one)
        np.testing.assert_array_equal(read_audio(other)[: len(samples)], samples)
    assert beside["utterance_id"][:2] == ["0.wav[left]", "0.wav[channel 1]"]
    assert len(set(digests(recordings(beside)))) == len(beside)
    refuse_shared_recordings(beside, {"train": range(0, 36, 2), "test": range(1, 36, 2)})


def test_check_hears_the_channel_and_tells_of_those_that_are_mixed(calls, every_file):
    rows = load_rows("table", calls)
    found = {finding["finding"] for finding in check_rows(rows, workers=1)["findings"]}
    assert not found & {"channels differ", "same bytes", "same segment"}
    mixed = every_file()
    (told,) = [one for one in check_rows(mixed, workers=1)["findings"] if one["finding"] == "channels differ"]
    assert "data.options.channel" in told["meaning"]


def test_any_corpus_has_a_channel_for_all(calls, every_file):
    rows = load_rows("table", calls, channel="right")
    assert set(rows["channel"]) == {"left", "1"}  # what a table says of a row goes first
    assert set(every_file(channel=1)["channel"]) == {"1"}
    with pytest.raises(UserError, match="channel=middle is none of mix, left, right"):
        load_rows("table", calls, channel="middle")


@pytest.mark.parametrize("value", ["A", "-1", "1.5", "both"])
def test_a_cell_that_is_no_channel_is_refused(value, tmp_path):
    (tmp_path / "t.csv").write_text(f"audio,emotion,channel\na.wav,sad,mix\nb.wav,sad,{value}\n")
    with pytest.raises(UserError, match=rf"holds '{value}' in row 1, which is none of .*columns=\{{channel: null\}}"):
        load_rows("table", tmp_path / "t.csv")


def test_a_training_is_told_of_channels_that_are_mixed_and_refused_one_that_is_not_there(calls, every_file, caplog):
    recording_durations(every_file().dataset())
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("channels differ: ") and "of 18 that were" in line and "data.options.channel=left" in line
    caplog.clear()
    recording_durations(load_rows("table", calls).dataset())
    assert not caplog.records
    with pytest.raises(UserError, match=r"0.wav has no channel 2, but 2"):
        recording_durations(every_file(channel=2).dataset())


def test_channels_differ_where_mixing_loses_much(tmp_path):
    voice, other = np.random.default_rng(0).normal(0, 0.1, (2, RATE))
    for name, channels, expected in (
        ("calls", [voice, other], True),
        ("dead", [voice, 0 * voice], True),
        ("stereo", [voice, 0.9 * voice], False),
        ("mono", [voice], False),
    ):
        soundfile.write(tmp_path / f"{name}.wav", np.stack(channels, axis=1), RATE)
        assert channels_differ(tmp_path / f"{name}.wav") is expected


def test_predict_tells_once_and_takes_the_channel_of_a_row(command_line, finished_run, calls):
    model = finished_run / "model"
    code, _, errors = command_line("predict", model, calls.parent / "0.wav", calls.parent / "2.wav", "--json")
    (told,) = [line for line in errors if "channels" in line]
    assert code == 0 and "0.wav and 1 others" in told and "--channels separate" in told
    code, printed, errors = command_line("predict", model, "--table", calls, "--json")
    found = [json.loads(line) for line in printed.splitlines()]
    assert code == 0 and [one["channel"] for one in found[:2]] == [0, 1] and not any("mixed" in e for e in errors)
    assert found[0]["emotion"] != found[1]["emotion"]
