"""`stagetrain plan`: what would run and why, without running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from stagetrain.cli import streams
from stagetrain.pipeline.planned import Plan, plan_lines


def show(plan: Plan, console: rich.console.Console) -> None:
    """Prints a plan, stage by stage."""
    for line in plan_lines(plan):
        console.print(rich.text.Text.assemble((line.head, 'bold'), line.text), soft_wrap=True)


def show_table(rows: Sequence[Mapping[str, Any]], console: rich.console.Console) -> None:
    """Prints the table of canonical names by stages."""
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    names = list(rows[0]) if rows else []
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(rich.text.Text(str(row[name])) for name in names))
    streams.print_rows(table, console)
