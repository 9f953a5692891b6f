"""Standard output and error in any encoding: a name that the encoding lacks is escaped, and nothing is cut off.

streams.escape_what_does_not_fit()
print('细胞')                          # on a terminal in Latin-1: \\u7ec6\\u80de
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import rich.console
import rich.table
import rich.text

_ANY_WIDTH = 10_000


def escape_what_does_not_fit() -> None:
    """Has standard output and error write what their encodings lack as `\\u7ec6`, where Python would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def fitting(yaml_text: Callable[[bool], str]) -> str:
    """Returns YAML that standard output can hold as it is: our escapes would change its meaning, YAML's own do not.

    Args:
      yaml_text: makes the text, given whether letters outside ASCII may stand in it.
    """
    text = yaml_text(True)
    try:
        text.encode(getattr(sys.stdout, 'encoding', None) or 'utf-8')
    except UnicodeEncodeError:
        return yaml_text(False)
    return text


def print_table(table: rich.table.Table, console: rich.console.Console) -> None:
    """Prints a table whole: as it is where the terminal is wide enough, else each row as lines of `column: value`."""
    if _width(table, console) <= console.width:
        console.print(table)
        return
    names = [_plain(column.header) for column in table.columns]
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        first, *values = map(_plain, cells)
        console.print(rich.text.Text(first, 'bold'), soft_wrap=True)
        for name, value in zip(names[1:], values, strict=True):
            if value:
                console.print(rich.text.Text(f'  {name}: {value}' if name else f'  {value}'), soft_wrap=True)
    if table.caption:
        console.print(rich.text.Text(_plain(table.caption)), soft_wrap=True)


def print_rows(table: rich.table.Table, console: rich.console.Console) -> None:
    """Prints a long table whole, each row in one line for `grep`, however narrow the terminal is."""
    table.width = _width(table, console)  # `console.print(table, width=...)` takes no more than the terminal has.
    console.print(table, crop=False)


def _width(table: rich.table.Table, console: rich.console.Console) -> int:
    return console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum


def _plain(content: object) -> str:
    return content.plain if isinstance(content, rich.text.Text) else str(content)
