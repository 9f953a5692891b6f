"""A run directory: everything that a pipeline run leaves, written by one process at a time.

run.yaml            the resolved config                    ledger.jsonl   what happened, append-only
pipeline.lock       per stage: fingerprint, parts, result  report/        tables, plots, page
data/<digest>.json  which images a data set held           cache/         can be deleted at any time
stages/<id>/        job.json  checkpoints/step-<8 digits>/  metrics.jsonl  ...
next/<id>/          the same, while a finished stage is trained again: it takes the other's place when it is whole
logs/<verb>.log     what TensorFlow and other libraries printed while a verb computed
stores/<kind of artefact>/<fingerprint>/

directory = RunDirectory(pathlib.Path('runs/bccd'))
with directory.writing():
    directory.create_or_open(loaded)
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import errno
import functools
import hashlib
import os
import pathlib
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import filelock

from stagetrain import files
from stagetrain.config import load
from stagetrain.errors import RunDirectoryError
from stagetrain.pipeline import children, data_items, fingerprint, jobs, replacing, run_files
from stagetrain.pipeline.answers import StageResult
from stagetrain.pipeline.ledger import Ledger
from stagetrain.pipeline.lock import Entry, Lock, read_lock, write_lock

_LOCK_FILE = '.lock'
_OWNER_FILE = '.lock.json'
_OWN_NAMES = {run_files.CONFIG, _LOCK_FILE, _OWNER_FILE, children.CHILDREN_FILE, run_files.CACHE, run_files.LENGTHS}
_DISK_REMEDIES = {
    errno.ENOSPC: 'free some space (stagetrain clean removes stores that no stage needs)',
    errno.EDQUOT: 'free some space, or ask for a larger quota',
    errno.EFBIG: 'raise the limit on the size of files (ulimit -f)',
    errno.EROFS: 'name a folder on a disk that can be written with --run_dir',
    errno.EACCES: 'give yourself the right to write there, or name another folder with --run_dir',
    errno.EPERM: 'give yourself the right to write there, or name another folder with --run_dir',
}
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors that only writing has: whoever meets one need not ask what was being done."""


@dataclasses.dataclass(frozen=True)
class Partial:
    """A stage that was begun: its job's fingerprint and parts, and the step of its newest checkpoint (0: none)."""

    fingerprint: str
    parts: Mapping[str, Any]
    step: int
    mixed_versions: tuple[str, ...] = ()
    """As in `lock.Entry`."""
    kept: tuple[int, ...] = ()
    """Steps of all its checkpoints."""
    extended: tuple[str, ...] = ()
    """As in `lock.Entry`."""


@dataclasses.dataclass(frozen=True)
class RunState:
    """What is in a run directory, as far as planning needs it."""

    lock: Lock
    partial: Mapping[str, Partial]
    """Stages that were begun, by id; of those in the lock, what is trained to take the place of their result."""
    missing: Mapping[str, str]
    """Finished stages whose checkpoint is gone or damaged, with the reason; stores likewise, by fingerprint."""
    items: Callable[[str], data_items.Items | None] = lambda digest: None
    """Reads the items of a data set, by digest, when a change of it is to be told by names."""
    kept: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    """Finished stages, by id -> steps of their checkpoints."""

    def data_digests(self) -> set[str]:
        """Returns the digests of all data sets that the stages here were begun or finished with."""
        parts = [part for entry in self.lock.stages.values() for part in (entry.parts, entry.evaluation_parts)]
        parts += [partial.parts for partial in self.partial.values()]
        return {part[name] for part in parts for name in fingerprint.DATA_SETS if name in part}


EMPTY = RunState(Lock(), {}, {})


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """The paths in a run directory, and what is written by the parent process."""

    path: pathlib.Path

    @property
    def config_file(self) -> pathlib.Path:
        """The resolved config."""
        return self.path / run_files.CONFIG

    @property
    def lock_file(self) -> pathlib.Path:
        """What finished stages were made of."""
        return self.path / run_files.LOCK

    @property
    def ledger(self) -> Ledger:
        """What happened here."""
        return Ledger(self.path / run_files.LEDGER)

    @property
    def cache(self) -> pathlib.Path:
        """Caches; nothing is lost with them."""
        return self.path / run_files.CACHE

    @property
    def data(self) -> pathlib.Path:
        """Names of the images in the data sets that stages were trained on."""
        return self.path / 'data'

    def store(self, kind: str) -> pathlib.Path:
        """Returns the folder of all artefacts of a kind."""
        return self.path / run_files.STORES / kind

    def log(self, verb: str) -> pathlib.Path | None:
        """Returns where what libraries print during a verb goes; None while this is no run directory."""
        return self.path / run_files.LOGS / f'{verb}.log' if self.exists() else None

    def stage(self, stage_id: str) -> pathlib.Path:
        """Returns the folder of a stage."""
        return self.path / run_files.STAGES / stage_id

    def work(self, stage_id: str, lock: Lock | None = None) -> pathlib.Path:
        """Returns the folder in which a stage is trained: that of its result, or beside it while there is one to be kept."""
        finished = (self.lock() if lock is None else lock).stages
        return replacing.folder_of(self.path, stage_id) if stage_id in finished else self.stage(stage_id)

    def checkpoint(self, result: Mapping[str, Any]) -> pathlib.Path:
        """Returns the checkpoint folder that a stage's result names, relative to the run directory, which can be moved."""
        return self.path / str(result['checkpoint'])

    def exists(self) -> bool:
        """Returns whether this is a run directory already."""
        return self.config_file.is_file()

    def require(self) -> None:
        """Raises `RunDirectoryError` when this is no run directory."""
        if not self.exists():
            found = 'a folder without a run.yaml' if self.path.is_dir() else 'no such folder'
            raise RunDirectoryError(
                f'{self.path}: {found}; expected a run directory, as `stagetrain run CONFIG --run_dir=...` makes it'
            )

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the directory for this process alone, making it when it is missing.

        Raises:
          RunDirectoryError: another process or a child of a dead one holds it, it is something else, or cannot be written.
        """
        self.require_usable()
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(self.path / _LOCK_FILE, timeout=0)
        try:
            with explained(self.path):
                held.acquire()
        except filelock.Timeout as error:
            raise RunDirectoryError(
                f'{self.path}: in use by {self.owner() or "another process"}. One process writes a run directory: '
                f'wait for it, stop it, or name another --run_dir.'
            ) from error
        try:
            with explained(self.path):
                started = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
                children.wait_for_leftovers(self.path)
                replacing.finish_all(self.path)
                files.write_json(self.path / _OWNER_FILE, {'pid': os.getpid(), 'host': socket.gethostname(), 'started': started})
            yield
        finally:
            (self.path / _OWNER_FILE).unlink(missing_ok=True)
            held.release()

    def create_or_open(self, loaded: load.Loaded) -> None:
        """Writes `run.yaml` and clears what a crash left half-written; call it inside `writing`.

        A changed config replaces the former one: fingerprints decide which stages are stale. The ledger notes the keys.

        Raises:
          RunDirectoryError: the disk is full or read-only, or the former run.yaml is damaged.
        """
        with explained(self.path):
            changes = self._changes(loaded)
            self._sweep()
            if changes is None or changes:
                files.atomic_write(self.config_file, sealed_config(load.dump_resolved(loaded)))
            if changes:
                self.ledger.record('note', None, f'the config changed: {"; ".join(changes)}', {'changes': changes})

    def keep_data_items(self, items: Mapping[str, data_items.Items]) -> None:
        """Keeps which images the present data sets hold, by digest; raises `RunDirectoryError` when they cannot be written."""
        with explained(self.data):
            data_items.keep(self.data, items, self.state().data_digests())

    def config(self) -> load.Loaded:
        """Returns the config in `run.yaml`.

        Raises:
          RunDirectoryError: this is no run directory.
          ConfigError: `run.yaml` is damaged.
        """
        self.require()
        return load.load_resolved(self.config_file)

    def lengths(self) -> dict[str, Any]:
        """Returns what `keep_lengths` has kept, by key; raises `DamagedFile` when it cannot be read."""
        path = self.path / run_files.LENGTHS
        return dict(files.read_sealed_json(path)) if path.is_file() else {}

    def keep_lengths(self, key: str, value: Mapping[str, Any] | None) -> None:
        """Keeps lengths of stages under a key, or forgets them; raises `RunDirectoryError` when they cannot be written."""
        others = {name: kept for name, kept in self.lengths().items() if name != key}
        with explained(self.path):
            files.write_sealed_json(self.path / run_files.LENGTHS, others if value is None else {**others, key: dict(value)})

    def lock(self) -> Lock:
        """Returns the lock; raises `DamagedFile` when it cannot be read."""
        return read_lock(self.lock_file)

    def require_still_there(self) -> None:
        """Raises `RunDirectoryError` when the directory was deleted or moved while a run wrote into it."""
        if not self.exists():
            raise RunDirectoryError(
                f'{self.path}: the run directory was deleted or moved while this run wrote into it; nothing more is written. '
                f'Start again, or put it back: the same command goes on from its last checkpoints.'
            )

    def write_lock(self, lock: Lock) -> None:
        """Replaces the lock; raises `RunDirectoryError` when the disk is full or read-only, or the directory is gone."""
        self.require_still_there()
        with explained(self.path):
            write_lock(self.lock_file, lock)

    def state(self) -> RunState:
        """Returns what is here; an empty state when nothing is.

        Raises:
          DamagedFile: the lock or a stage's job file cannot be read.
        """
        lock = self.lock()
        begun = [
            path.parent
            for part in (run_files.STAGES, run_files.NEXT)
            for path in sorted(self.path.glob(f'{part}/*/{run_files.JOB}'))
        ]
        # A finished stage that is begun again works beside its result, any other in its own place.
        partial = {folder.name: _partial(folder) for folder in begun if folder == self.work(folder.name, lock)}
        kept = {stage_id: _checkpoint_steps(self.stage(stage_id)) for stage_id in lock.stages}
        missing = {stage_id: reason for stage_id, entry in lock.stages.items() if (reason := self._missing(entry))}
        missing |= {
            key: 'its folder is gone'
            for kind, key, _ in lock.all_artefacts()
            if not (self.store(kind) / key / files.MANIFEST).is_file()
        }
        return RunState(lock, partial, missing, functools.cache(functools.partial(data_items.read, self.data)), kept)

    def file_digests(self, *paths: pathlib.Path) -> dict[str, str]:
        """Returns path in the run directory -> SHA-256 of files and of all files below folders, for the lock.

        Of a committed folder counts its manifest, which speaks for the rest. TensorBoard's files and links do not count.
        """
        found = [path for given in paths for path in (sorted(given.rglob('*')) if given.is_dir() else [given])]
        committed = {path.parent for path in found if path.name == files.MANIFEST}
        counted = [
            path
            for path in found
            if path.is_file() and not path.is_symlink() and 'tensorboard' not in path.parts
            if path.name == files.MANIFEST or not committed & set(path.parents)
        ]
        return {path.relative_to(self.path).as_posix(): files.sha256_file(path) for path in counted}

    def forget_stage(self, stage_id: str) -> None:
        """Removes a stage's entry and all its folders, so that it starts from its sources."""
        with explained(self.path):
            lock = self.lock()
            if stage_id in lock.stages:
                self.write_lock(lock.with_stage(stage_id, None))
            files.remove_folder(self.stage(stage_id))
            files.remove_folder(replacing.folder_of(self.path, stage_id))

    def begin_stage(self, stage_id: str) -> None:
        """Removes what is half-done of a stage, so that it starts from its sources; a result stays until the new one is whole."""
        with explained(self.path):
            files.remove_folder(replacing.folder_of(self.path, stage_id))
            files.remove_folder(self.work(stage_id))

    def extend_stage(self, stage_id: str, step: int, evaluated_every: int | None) -> None:
        """Begins to train a finished stage again from one of its checkpoints; see `replacing.begin_at`."""
        with explained(self.path):
            replacing.begin_at(self.path, stage_id, step, evaluated_every)

    def go_back(self, stage_id: str, step: int) -> None:
        """Removes a half-done stage's checkpoints of later steps, the newest first."""
        for folder in reversed(run_files.checkpoint_folders(self.work(stage_id) / run_files.CHECKPOINTS)):
            if run_files.step_of(folder) > step:
                with explained(folder):
                    files.remove_folder(folder)

    def finish_stage(self, stage_id: str, entry: Entry[StageResult], folder: pathlib.Path) -> None:
        """Writes a stage's entry; what was trained in `folder` is its result now. A crash leaves the old one or the new one.

        Raises:
          RunDirectoryError: the disk is full or read-only, or the directory is gone.
        """
        self.require_still_there()
        with explained(self.path):
            if folder == self.stage(stage_id):
                write_lock(self.lock_file, self.lock().with_stage(stage_id, entry))
            else:
                replacing.commit(self.path, stage_id, entry)

    def require_usable(self) -> None:
        """Raises `RunDirectoryError` when a run would not write here: there is a file, or a folder of something else."""
        if self.path.exists() and not self.path.is_dir():
            raise RunDirectoryError(f'{self.path}: found a file; expected a folder, or a name that is free')
        if not self.path.is_dir() or self.exists():
            return
        strange = sorted(
            name for name in os.listdir(self.path) if name not in _OWN_NAMES and not name.startswith(files.TEMPORARY)
        )
        if strange:
            raise RunDirectoryError(
                f'{self.path}: found a folder with no run.yaml but {len(strange)} other entries ({", ".join(strange[:3])}); '
                f'expected a run directory, an empty folder or a free name. Nothing was written; name another one with --run_dir.'
            )

    def owner(self) -> str | None:
        """Returns who says to be writing here, in words, or None; the lock itself decides, not this."""
        try:
            owner = files.read_json(self.path / _OWNER_FILE)
            return f'process {owner["pid"]} on {owner["host"]} since {owner["started"]}'
        except (OSError, RunDirectoryError, KeyError, TypeError):
            return None

    def _changes(self, loaded: load.Loaded) -> list[str] | None:
        """Returns the keys that differ from the former config, or None when there was none."""
        if not self.exists():
            return None
        former = dict(_flat('', load.load_resolved(self.config_file).resolved))
        return fingerprint.differences(former, dict(_flat('', loaded.resolved)))

    def _sweep(self) -> None:
        parents = (run_files.STAGES, run_files.NEXT)
        stages = [path for part in parents for below in ('', '/*', '/*/*') for path in self.path.glob(part + below)]
        for parent in (self.path, self.cache, *self.path.glob('stores/*'), *stages):
            files.sweep_temporary(parent)

    def _missing(self, entry: Entry[StageResult]) -> str | None:
        folder = self.checkpoint(entry.result)
        return None if (folder / files.MANIFEST).is_file() else f'its checkpoint {folder} is gone'


def _partial(folder: pathlib.Path) -> Partial:
    job, kept = jobs.recorded_job(folder / run_files.JOB), _checkpoint_steps(folder)
    return Partial(job.fingerprint, job.parts, max(kept, default=0), job.mixed_versions, kept, job.extended)


def _checkpoint_steps(folder: pathlib.Path) -> tuple[int, ...]:
    """Returns the steps of the checkpoints in a stage's folder."""
    return tuple(map(run_files.step_of, run_files.checkpoint_folders(folder / run_files.CHECKPOINTS)))


@contextlib.contextmanager
def explained(path: pathlib.Path) -> Iterator[None]:
    """Turns an `OSError` of writing below `path` into a `RunDirectoryError` that says what to do."""
    try:
        yield
    except OSError as error:
        if isinstance(error, TimeoutError):  # filelock's way to say that somebody else holds the lock.
            raise
        remedy = _DISK_REMEDIES.get(error.errno or 0, 'see whether the disk is there and healthy')
        where = error.filename or path
        raise RunDirectoryError(
            f'{where}: cannot be written: {error.strerror or error}. What was saved before is intact; {remedy}.'
        ) from error


def sealed_config(text: str) -> str:
    """Returns the text of a config with a first line that holds the digest of the rest."""
    return f'# sha256 of what follows: {hashlib.sha256(text.encode()).hexdigest()}\n{text}'


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yields dotted key -> value of plain mappings and lists; stages go by their names."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(f'{prefix}.{key}' if prefix else str(key), item)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            name = item.get('name', number) if isinstance(item, Mapping) else number
            yield from _flat(f'{prefix}.{name}', item)
    else:
        yield prefix, value
