"""Standard output and error in any encoding: a name that the encoding lacks is escaped, and nothing is cut off.

streams.escape_what_does_not_fit()
print('细胞')                          # on a terminal in Latin-1: \\u7ec6\\u80de
streams.say('no class \\x1b[2J')      # on standard error: the letter ESC as \\x1b

Names come from files of others. Letters in them that a terminal would obey (erase the screen, set its title, write backwards) are
escaped wherever they are printed for people; line breaks and tabs stay.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable

import rich.console
import rich.measure
import rich.segment
import rich.table
import rich.text

_ANY_WIDTH = 10_000
_USUAL_WIDTH = 80
_OBEYED = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]')
"""Control characters, and those that separate lines or turn the direction of writing."""


def escape_what_does_not_fit() -> None:
    """Has standard output and error write what their encodings lack as `\\u7ec6`, where Python would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')


def harmless(text: str) -> str:
    """Returns a text with what a terminal would obey escaped, as Python writes it: `\\x1b`, `\\u202e`."""
    return _OBEYED.sub(lambda found: found[0].encode('unicode_escape').decode(), text)


def say(text: str) -> None:
    """Prints a message for people to standard error."""
    print(harmless(text), file=sys.stderr)


def console() -> rich.console.Console:
    """Returns the printer to standard output: a name such as `[/x]` is shown as it is; a terminal obeys Rich alone."""
    made = rich.console.Console(markup=False, emoji=False)
    if made.width < 1:  # COLUMNS=0, as some shells of editors set it: nothing at all would be printed.
        made.width = _USUAL_WIDTH
    made.push_render_hook(_HarmlessContent())
    return made


class _HarmlessContent(rich.console.RenderHook):
    """Escapes what is printed behind Rich's layout and before its colours."""

    def process_renderables(self, renderables: list[rich.console.ConsoleRenderable]) -> list[rich.console.ConsoleRenderable]:
        return [_Harmless(renderable) for renderable in renderables]


class _Harmless:
    def __init__(self, content: rich.console.ConsoleRenderable) -> None:
        self._content = content

    def __rich_console__(self, console: rich.console.Console, options: rich.console.ConsoleOptions) -> rich.console.RenderResult:
        for text, style, control in console.render(self._content, options):
            yield rich.segment.Segment(text if control else harmless(text), style, control)


def fitting(yaml_text: Callable[[bool], str]) -> str:
    """Returns YAML that standard output, and a terminal, can hold as it is: our escapes would change its meaning, YAML's do not.

    Args:
      yaml_text: makes the text, given whether letters outside ASCII may stand in it.
    """
    text = yaml_text(True)
    if harmless(text) != text:
        return yaml_text(False)
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


def print_rows(table: rich.table.Table, console: rich.console.Console) -> None:
    """Prints a long table whole, each row in one line for `grep`, however narrow the terminal is."""
    table.width = _width(table, console)  # `console.print(table, width=...)` takes no more than the terminal has.
    console.print(table, crop=False)


def _width(table: rich.table.Table, console: rich.console.Console) -> int:
    return console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum


def _plain(content: object) -> str:
    return content.plain if isinstance(content, rich.text.Text) else str(content)
