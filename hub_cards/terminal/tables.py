"""Tables on a terminal: whole where they fit, in parts with the names in each where they do not."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from ...configuration.printable import one_line
from ..document import Table

NAME_WIDTH = 24  # characters at most


def print_table(table: Table, console: Console) -> None:
    """Prints a table; no figure is cut, and a blank line stands between its parts."""
    for number, part in enumerate(_parts(table, console.width)):
        if number:
            console.print()
        console.print(part)


def print_lines(table: Table) -> None:
    """Prints a table with each row on one line, however long: for lists that are searched, and cut by other tools."""
    rows = [list(table.header), *map(list, table.rows)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        print(one_line("  ".join(cells).rstrip()))


def _parts(table: Table, width: int) -> Iterator[TerminalTable]:
    """The table in parts that a terminal of `width` characters can show whole, the names in each of them."""
    columns = [[*header.split(), *cells] for header, *cells in zip(table.header, *table.rows, strict=True)]
    widths = [max(map(cell_len, cells), default=0) for cells in columns]
    names = list(range(table.names))
    widths[: table.names] = [min(widths[place], NAME_WIDTH) for place in names]
    fits_in = sum(widths) + len(widths) - 1
    between = 1 if fits_in <= width < fits_in + len(widths) - 1 else 2
    room = width - sum(widths[place] for place in names) - between * (len(names) - 1)
    groups = table.groups or [""] * len(widths)
    for group, places in groupby(range(table.names, len(widths)), key=groups.__getitem__):
        left = list(places)
        while left:
            taken = accumulate(widths[place] + between for place in left)
            fitting = max(1, sum(total <= room for total in taken))
            yield _terminal_table(table, [*names, *left[:fitting]], widths, group, between)
            left = left[fitting:]


def _terminal_table(
    table: Table, columns: Sequence[int], widths: Sequence[int], title: str, between: int
) -> TerminalTable:
    shown = TerminalTable(
        box=SIMPLE_HEAD,
        title=Text(title) if title else None,
        title_justify="left",
        show_edge=False,
        padding=(0, between - 1),
        pad_edge=False,
        collapse_padding=True,
    )
    for place in columns:
        is_name = place < table.names
        justify = "left" if is_name else "right"
        shown.add_column(Text(table.header[place]), justify=justify, width=widths[place], overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(row[place]) for place in columns))
    return shown
