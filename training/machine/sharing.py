"""Whether the machines that work together share a folder."""

import platform
import time
from pathlib import Path

from ...configuration.errors import UserError

SECONDS_TO_APPEAR = 60.0


def require_shared(written: Path, option: str, patience: float = SECONDS_TO_APPEAR) -> None:
    """Raises `UserError` where this process does not see a file that the main one has written.

    Several machines work together in one folder: what the main process writes is read by all of them.

    Args:
        written: the file.
        option: that named its folder.
        patience: seconds until a file system that machines share must show it.
    """
    started = time.monotonic()
    while not written.is_file():
        if time.monotonic() - started >= patience:
            raise UserError(
                f"{written} is not to be seen on {platform.node()}: several machines need an {option} on a file "
                "system that they share"
            )
        time.sleep(1)
