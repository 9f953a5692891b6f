"""The report of an import: every field of the file, and what each freeze pattern hits."""

from __future__ import annotations

from collections.abc import Sequence

from stagetrain.bridges.tfod.account import Entry, Kind
from stagetrain.bridges.tfod.freezing import RULES, WHAT, Hits
from stagetrain.bridges.tfod.reading import Parsed

_TITLES = {
    Kind.REPORTED: 'Not carried over',
    Kind.MAPPED: 'Mapped',
    Kind.MEANINGLESS: 'Without meaning here',
}


def render(parsed: Parsed, entries: Sequence[Entry], hits: Sequence[Hits], rule: str, remarks: Sequence[str]) -> str:
    """Returns the report as Markdown.

    Args:
      parsed: the file.
      entries: what became of each field.
      hits: what each freeze pattern hits.
      rule: the freeze rule that was taken.
      remarks: what the screen shows.
    """
    lines = [f'# Import of {parsed.path}', '', summary(entries, len(parsed.unknown)), '']
    if remarks:
        lines += ['## Remarks', '', *(f'- {remark}' for remark in remarks), '']
    if hits:
        lines += _patterns(hits, rule)
    if parsed.unknown:
        lines += ['## Not known', '']
        for item in parsed.unknown:
            lines += [f'Line {item.line}, `{item.path}`:{item.nearest}', '', '```', *item.source.splitlines(), '```', '']
    for kind, title in _TITLES.items():
        chosen = [entry for entry in entries if entry.kind is kind]
        if chosen:
            head = 'becomes' if kind is Kind.MAPPED else 'why'
            lines += [f'## {title}', '', f'| line | field | value | {head} |', '|---:|---|---|---|']
            lines += [f'| {entry.line or ""} | `{entry.path}` | {_cell(entry.value)} | {_cell(entry.text)} |' for entry in chosen]
            lines.append('')
    return '\n'.join(lines).rstrip() + '\n'


def summary(entries: Sequence[Entry], num_unknown: int) -> str:
    """Returns how many fields were mapped, have no meaning here, or were not carried over."""
    counts = {kind: sum(entry.kind is kind for entry in entries) for kind in Kind}
    text = ', '.join(f'{count} {kind.value}' for kind, count in counts.items())
    return f'{len(entries)} fields: {text}{f", {num_unknown} not known" if num_unknown else ""}'


def _patterns(hits: Sequence[Hits], rule: str) -> list[str]:
    lines = ['## Freeze patterns', '', f'Rule: {rule}. {WHAT[rule]}.', '']
    lines += [f'| field | pattern | {" | ".join(RULES)} |', f'|---|---|{"---:|" * len(RULES)}']
    for hit in hits:
        counts = ' | '.join(str(len(hit.by_rule[name])) for name in RULES)
        lines.append(f'| {hit.field} | `{_cell(hit.pattern)}` | {counts} |')
    for hit in hits:
        lines += ['', f'`{hit.pattern}` under {rule}: {hit.problem or ""}'.rstrip(), '']
        lines += [f'    {name}' for name in hit.by_rule[rule]] or ['    (none)']
    return [*lines, '']


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')
