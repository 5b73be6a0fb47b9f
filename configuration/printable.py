"""Text that others wrote, fit for a line on the terminal."""

import re

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def one_line(text: str) -> str:
    """The text without line breaks and without what would move a terminal's cursor or change its state."""
    return CONTROL.sub(" ", text)
