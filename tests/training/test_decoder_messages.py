"""What decoders write past Python stays off the screen, and nothing else does."""

import os
import sys
import threading
from multiprocessing import get_context

import numpy as np
import pytest
import soundfile

from ser_meta.training.machine.decoder_messages import without_decoder_messages


def test_a_decoders_own_messages_stay_off_the_screen(capfd):
    with without_decoder_messages():
        os.write(2, b"[src/libmpg123/layer3.c] error: of a frame\nNote: Trying to resync...\n\nWarning: of a header\n")
        os.write(2, b"something else\n")
        sys.stderr.write("from Python\n")
    os.write(2, b"and afterwards\n")
    assert sorted(capfd.readouterr().err.splitlines()) == ["and afterwards", "from Python", "something else"]


def test_a_process_that_outlives_it_can_still_write(capfd):
    def write_later(ready):
        ready.wait()
        os.write(2, b"Note: Trying to resync...\nfrom a child\n")

    forks = get_context("fork")
    ready = forks.Event()
    child = forks.Process(target=write_later, args=(ready,))
    with without_decoder_messages():
        child.start()
        os.write(2, b"the last line")
    assert capfd.readouterr().err == "the last line"
    ready.set()
    child.join()
    for thread in threading.enumerate():
        if thread.name == "decoder messages":
            thread.join()
    assert capfd.readouterr().err == "from a child\n"


def test_check_and_predict_are_without_them(command_line, finished_run, tmp_path, capfd):
    path = tmp_path / "torn.mp3"
    soundfile.write(path, 0.1 * np.random.default_rng(0).normal(size=160_000), 16_000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 7] + whole[len(whole) // 2 + 300 :])
    capfd.readouterr()
    soundfile.read(path)
    if "Note: " not in capfd.readouterr().err:
        pytest.skip("this libsndfile's MP3 decoder says nothing of a torn file")
    (tmp_path / "t.csv").write_text("audio,emotion,speaker\ntorn.mp3,sad,anna\n")
    for command in (
        ["check", "table", tmp_path / "t.csv", "--workers", "1"],
        ["predict", finished_run / "model", path],
    ):
        _, printed, errors = command_line(*command)
        assert printed and not any(line.startswith(("Note: ", "[src")) for line in errors)
