"""Keeps off the screen what decoders write past Python."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

# "[src/libmpg123/layer3.c:1774] error: ...", "Note: Trying to resync...", "Warning: ...", with empty lines between
OF_LIBMPG123 = re.compile(rb".*libmpg123|Note: |Warning: |\s*$")
ALL_PASSED_ON = b"\0\n"  # a line that nothing else writes
PATIENCE = 5  # seconds to wait for the last lines


@contextmanager
def without_decoder_messages() -> Iterator[None]:
    """Keeps off the screen what libmpg123 says of an MP3 file's frames, which it writes past Python's stderr.

    What is wrong with a recording is told by us, once and with its name. All else that is written is passed on, also
    of processes that are started meanwhile, as long as they live.
    """
    screen = os.dup(2)
    read, write = os.pipe()
    of_python = sys.stderr
    if _is_the_process_own(of_python):  # so that bars are still drawn on the terminal itself
        of_python.flush()
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    os.dup2(write, 2)
    os.close(write)
    all_passed_on = Event()
    arguments = (read, os.dup(screen), all_passed_on)
    Thread(target=_pass_on, args=arguments, daemon=True, name="decoder messages").start()
    try:
        yield
    finally:
        if sys.stderr is not of_python:
            sys.stderr.close()
            sys.stderr = of_python
        os.write(2, ALL_PASSED_ON)
        os.dup2(screen, 2)  # closes the pipe, which ends the thread unless other processes still have it
        os.close(screen)
        all_passed_on.wait(PATIENCE)


def _is_the_process_own(stream: Any) -> bool:
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False


def _pass_on(read: int, screen: int, all_passed_on: Event) -> None:
    with os.fdopen(read, "rb") as lines, os.fdopen(screen, "wb", buffering=0) as shown:
        for line in lines:
            said = line.removesuffix(ALL_PASSED_ON)
            if not OF_LIBMPG123.match(said):
                shown.write(said)
            if said != line:
                all_passed_on.set()
