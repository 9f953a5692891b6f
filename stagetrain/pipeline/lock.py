"""`pipeline.lock`: what every finished stage was made of, and what it gave.

    {"digest": ..., "stages": {"rpn_1": {"fingerprint", "parts", "evaluation_parts", "result", "finished",
                                             "files", "mixed_versions", "extended"}},
     "proposals": {"<fingerprint>": {... the same ...}}}

There is a table for each kind of artefact that was made. The file carries a digest of itself, so that a flipped bit is found
before a wrong stage is taken for up to date.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from stagetrain import files
from stagetrain.errors import DamagedFile
from stagetrain.pipeline.answers import ArtefactResult, StageResult

_KEYS = {'fingerprint', 'parts', 'evaluation_parts', 'result', 'finished'}
_LATER_KEYS = {'files', 'mixed_versions', 'extended'}
"""Those that locks of older versions lack."""
Result = TypeVar('Result', bound=Mapping[str, Any])


@dataclasses.dataclass(frozen=True)
class Entry(Generic[Result]):
    """One finished job."""

    fingerprint: str
    parts: Mapping[str, Any]
    """What the fingerprint was taken of: part -> value or digest."""
    result: Result
    """What the child answered."""
    finished: str
    """UTC time."""
    evaluation_parts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the metrics in `result` depend on besides the stage itself; empty for artefacts."""
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What the job left, for `verify`: path in the run directory -> SHA-256; of a committed folder its manifest alone."""
    mixed_versions: Sequence[str] = ()
    """Which packages changed while it was half-done, and at which step; equal bits are not promised then."""
    extended: Sequence[str] = ()
    """What an undisturbed run would have done otherwise in steps that were kept (`--extend`); its bits are others then."""


@dataclasses.dataclass(frozen=True)
class Lock:
    """The content of `pipeline.lock`: stages by id, artefacts by kind and fingerprint."""

    stages: Mapping[str, Entry[StageResult]] = dataclasses.field(default_factory=dict)
    artefacts: Mapping[str, Mapping[str, Entry[ArtefactResult]]] = dataclasses.field(default_factory=dict)

    def all_artefacts(self) -> Iterator[tuple[str, str, Entry[ArtefactResult]]]:
        """Yields (kind, fingerprint, entry) of every artefact."""
        for kind, entries in self.artefacts.items():
            for fingerprint, entry in entries.items():
                yield kind, fingerprint, entry

    def with_stage(self, stage_id: str, entry: Entry[StageResult] | None) -> Lock:
        """Returns a lock with a stage's entry replaced, or removed for None."""
        return dataclasses.replace(self, stages=_with(self.stages, stage_id, entry))

    def with_artefact(self, kind: str, fingerprint: str, entry: Entry[ArtefactResult] | None) -> Lock:
        """Returns a lock with an artefact's entry replaced, or removed for None."""
        return dataclasses.replace(
            self, artefacts={**self.artefacts, kind: _with(self.artefacts.get(kind, {}), fingerprint, entry)}
        )


def read_lock(path: pathlib.Path) -> Lock:
    """Returns the lock; an empty one when there is no file yet.

    Raises:
      DamagedFile: the file cannot be read or its digest does not fit; it is left as it is.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Lock()
    try:
        value = json.loads(content)
        body = {table: entries for table, entries in value.items() if table != 'digest'}
        if content != _render(body):
            raise ValueError('its bytes do not fit its own digest')
        tables = {table: {key: entry_from_json(entry) for key, entry in entries.items()} for table, entries in body.items()}
        return Lock(tables.pop('stages'), tables)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFile(
            f'{path}: the lock is damaged ({error}), so nobody can tell which stages are up to date; it was left as it is. '
            f'Keep it under another name (mv {path} {path}.damaged) and run the same command again: '
            f'stages are then taken up from their own checkpoints, which carry digests of their own.'
        ) from error


def write_lock(path: pathlib.Path, lock: Lock) -> None:
    """Writes the lock atomically.

    Raises:
      OSError: the disk is full or read-only; the former lock stays.
    """
    tables: dict[str, Mapping[str, Entry[Any]]] = {'stages': lock.stages, **lock.artefacts}
    body = {table: {key: entry_to_json(entry) for key, entry in entries.items()} for table, entries in tables.items()}
    files.atomic_write(path, _render(body))


def entry_to_json(entry: Entry[Any]) -> dict[str, Any]:
    """Returns an entry as it stands in the file."""
    return dataclasses.asdict(entry)


def entry_from_json(value: Mapping[str, Any]) -> Entry[Any]:
    """Returns the entry that `entry_to_json` described; raises ValueError for anything else."""
    if value.keys() - _LATER_KEYS != _KEYS:
        raise ValueError(f'an entry has the keys {sorted(value)}; expected {sorted(_KEYS | _LATER_KEYS)}')
    return Entry(**{**value, **{name: tuple(value.get(name, ())) for name in ('mixed_versions', 'extended')}})


def _render(body: Mapping[str, Any]) -> bytes:
    value = {'digest': files.digest_of(body), **body}
    return files.as_bytes(json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + '\n')


def _with(entries: Mapping[str, Entry[Result]], key: str, entry: Entry[Result] | None) -> dict[str, Entry[Result]]:
    kept = {other: value for other, value in entries.items() if other != key}
    return kept if entry is None else {**kept, key: entry}
