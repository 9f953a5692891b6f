"""The ledger: what happened in a run directory, one JSON line each, never changed afterwards.

Each line carries `check`, a digest over itself and the line before it, so that a changed, missing or inserted line shows.

ledger.record('started', 'rpn_1', 'not run yet')
ledger.read()[-1]       # {'time': '2026-01-31T12:00:00Z', 'event': 'started', 'job': 'rpn_1', 'text': 'not run yet'}
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
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
        line = {'time': utc_now(), 'event': event, 'job': job, 'text': text, **(details or {})}
        files.append_json_line(self.path, {**line, 'check': _check(self._last_line(), line)})

    def read(self) -> list[dict[str, Any]]:
        """Returns all lines, oldest first; a line torn by a crash is left out.

        Raises:
          DamagedFile: a line before the last is not JSON.
        """
        lines = files.read_json_lines(self.path)
        return [{key: value for key, value in line.items() if key != 'check'} for line in lines]

    def faults(self) -> list[str]:
        """Returns what is wrong with the file, in words: lines that are not as they were written, or not in their place."""
        try:
            *lines, rest = self.path.read_bytes().split(b'\n')
        except OSError as error:
            return [f'{self.path}: cannot be read: {error.strerror}']
        found = [f'{self.path}: its last line is not finished; the next command cuts it off'] if rest else []
        for number, (before, line) in enumerate(zip([b'', *lines], lines, strict=False), start=1):
            if not _is_whole(before, line):
                found.append(f'{self.path}:{number}: this line or the one before it is not as it was written')
        return found

    def _last_line(self) -> bytes:
        content = self.path.read_bytes() if self.path.exists() else b''
        return (content.split(b'\n')[-2:-1] or [b''])[0]  # Behind the last line feed stands nothing, or a torn line.


def _check(before: bytes, line: Mapping[str, Any]) -> str:
    return hashlib.sha256(before + b'\n' + files.as_bytes(files.canonical_json(line))).hexdigest()[:16]


def _is_whole(before: bytes, line: bytes) -> bool:
    try:
        value = json.loads(line)
        check = value.pop('check')
        return check == _check(before, value) and line == files.as_bytes(files.canonical_json({**value, 'check': check}))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def utc_now() -> str:
    """Returns the present time as `2026-01-31T12:00:00Z`."""
    return datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
