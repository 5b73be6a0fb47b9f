"""What a summary prints, and the cells of one of its lines."""

import io
import re

from rich.console import Console


def printed(print_summary, report, width=100):
    console = Console(file=io.StringIO(), width=width)
    print_summary(report, console)
    return console.file.getvalue()


def cells(text, start):
    line = next(line for line in text.splitlines() if line.strip().startswith(start))
    return re.split(r" {2,}", line.strip())
