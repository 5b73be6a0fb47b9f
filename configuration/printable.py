"""Text that others wrote, fit for a line on the terminal."""

import codecs
import json
import re
import sys
from typing import Any

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def one_line(text: str) -> str:
    """The text without line breaks and without what would move a terminal's cursor or change its state."""
    return CONTROL.sub(" ", text)


def json_line(value: Any) -> str:
    """JSON for a line on standard output: in ASCII where that is not UTF-8 and may lack a character."""
    encoding = sys.stdout.encoding or "utf-8"  # of what only stands in for standard output there is none
    return json.dumps(value, ensure_ascii=codecs.lookup(encoding).name != "utf-8")
