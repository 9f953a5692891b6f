"""The ledger: what happened in a run directory, one JSON line each, never changed afterwards.

ledger.record('started', 'rpn_1', 'not run yet')
ledger.read()[-1]       # {'time': '2026-01-31T12:00:00Z', 'event': 'started', 'job': 'rpn_1', 'text': 'not run yet'}
"""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
from collections.abc import Mapping
from typing import Any

from stagetrain import files

EVENTS = ('started', 'finished', 'failed', 'skipped', 'interrupted', 'note')


@dataclasses.dataclass(frozen=True)
class Ledger:
    """An append-only file; every line is synced before `record` returns."""

    path: pathlib.Path

    def record(self, event: str, job: str | None, text: str, details: Mapping[str, Any] | None = None) -> None:
        """Appends a line.

        Args:
          event: one of `EVENTS`.
          job: a stage's id, `proposals of <id>`, or None for the run directory as a whole.
          text: the reason, in words.
          details: what a program may want to read: steps, seconds, fingerprint.
        """
        assert event in EVENTS, event
        files.append_json_line(self.path, {'time': utc_now(), 'event': event, 'job': job, 'text': text, **(details or {})})

    def read(self) -> list[dict[str, Any]]:
        """Returns all lines, oldest first; a line torn by a crash is left out.

        Raises:
          DamagedFile: a line before the last is not JSON.
        """
        return files.read_json_lines(self.path)


def utc_now() -> str:
    """Returns the present time as `2026-01-31T12:00:00Z`."""
    return datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
