"""What a person sees while recordings are heard: how far it is."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tqdm import tqdm

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
