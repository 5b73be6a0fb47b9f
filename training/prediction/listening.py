"""What a person sees while recordings are heard: how far it is, and nothing of the decoders' own messages."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from tqdm import tqdm

# "[src/libmpg123/layer3.c:1774] error: ...", "Note: Trying to resync...", "Warning: ...", with empty lines between
OF_LIBMPG123 = re.compile(rb".*libmpg123|Note: |Warning: |\s*$")
LINE_SECONDS = 60  # from one line to the next, where nobody looks at a terminal


def counted(
    items: Iterable[Any], total: int, name: str, unit: str, size: Callable[[Any], float] = lambda _: 1
) -> Iterator[Any]:
    """Shows how much of `items` is done: a bar on a terminal, a line now and then elsewhere.

    Args:
        items: what is gone through.
        total: of all their sizes; what is a single item shows nothing.
        name: of the whole.
        unit: of the sizes.
        size: of an item.
    """
    on_terminal = sys.stderr.isatty()
    done, told = 0.0, time.monotonic()
    with tqdm(desc=name, total=total, unit=unit, leave=False, disable=total < 2 or not on_terminal) as bar:
        for item in items:
            yield item
            done += size(item)
            bar.update(round(done) - bar.n)
            if not on_terminal and total > 1 and time.monotonic() - told >= LINE_SECONDS:
                told = time.monotonic()
                print(f"{name}: {done:.0f} of {total} {unit}", file=sys.stderr, flush=True)


@contextmanager
def without_decoder_messages() -> Iterator[None]:
    """Keeps off the screen what libmpg123 says of an MP3 file's frames, which it writes past Python's stderr.

    What is wrong with a recording is told by us, once and with its name. All else that is written is passed on.
    """
    screen = os.dup(2)
    read, write = os.pipe()
    of_python = sys.stderr
    if _is_the_process_own(of_python):  # so that bars are still drawn on the terminal itself
        of_python.flush()
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    os.dup2(write, 2)
    os.close(write)
    passing_on = Thread(target=_pass_on, args=(read, screen), daemon=True)
    passing_on.start()
    try:
        yield
    finally:
        if sys.stderr is not of_python:
            sys.stderr.close()
            sys.stderr = of_python
        os.dup2(screen, 2)  # closes the pipe, and so ends the thread
        passing_on.join(timeout=5)
        os.close(screen)


def _is_the_process_own(stream: Any) -> bool:
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False


def _pass_on(read: int, screen: int) -> None:
    with os.fdopen(read, "rb") as lines:
        for line in lines:
            if not OF_LIBMPG123.match(line):
                os.write(screen, line)
