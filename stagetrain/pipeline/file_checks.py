"""Checks what a run directory claims from its files: no bit has changed, what was frozen stood still, weights have an origin.

    report = verify(RunDirectory(pathlib.Path('runs/bccd')))
    report.wrong        # () when all is as it was written

Nothing is written, and TensorFlow is not needed: weights are compared by the digests that stand beside them in each checkpoint.
`stagetrain.weights.tensor_checks` reads the tensors themselves.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stagetrain import files
from stagetrain.config import load, scopes
from stagetrain.errors import ConfigError, DamagedFile, RunDirectoryError
from stagetrain.pipeline import jobs, run_files
from stagetrain.pipeline.actions import extended
from stagetrain.pipeline.answers import ArtefactResult, StageResult
from stagetrain.pipeline.children import CHILDREN_FILE
from stagetrain.pipeline.fingerprint import mixed
from stagetrain.pipeline.lock import Entry, Lock
from stagetrain.pipeline.records import OF_SEVERAL, VariableOrigin
from stagetrain.pipeline.rundir import RunDirectory, sealed_config

_UNGUARDED = {'.lock', '.lock.json', CHILDREN_FILE}
_FREE_FOLDERS = (run_files.REPORT, 'tensorboard', run_files.LOGS)
_NUM_SHOWN = 3

Lineage = Mapping[str, VariableOrigin]


@dataclasses.dataclass(frozen=True)
class Report:
    """What was found; every text begins with the file or stage that it is about."""

    wrong: tuple[str, ...]
    remarks: tuple[str, ...]
    """Not wrong, but worth knowing: what is not finished, which stages share a module, files that nobody accounts for."""
    num_files: int
    """Files whose every byte was compared with a digest."""
    num_variables: int
    """Variables of finished stages that were traced to their origin."""


def verify(directory: RunDirectory) -> Report:
    """Checks a run directory.

    Args:
      directory: not being written to by another process; a stage that runs meanwhile is told as half-done.

    Raises:
      RunDirectoryError: it is no run directory.
    """
    directory.require()
    check = _Check(directory)
    lock = check.lock()
    check.config()
    check.ledger()
    check.cache()
    check.lengths()
    check.data_items()
    for folder in sorted(path.parent for path in directory.path.rglob(files.MANIFEST)):
        check.committed_folder(folder)
    for stage_id, entry in lock.stages.items():
        check.entry(f'stages.{stage_id}', entry)
    for kind, key, made in lock.all_artefacts():
        check.entry(f'{kind} {key[:12]}', made)
    if not check.wrong:  # What changed bytes claim need not be asked.
        for stage_id, entry in lock.stages.items():
            check.stage(stage_id, entry, lock)
        for kind, key, made in lock.all_artefacts():
            check.artefact(kind, key, made)
    check.others(lock)
    return Report(tuple(check.wrong), (*check.remarks, *_shared(lock)), len(check.guarded), check.num_variables)


class _Check:
    """What was found so far."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self.wrong: list[str] = []
        self.remarks: list[str] = []
        self.guarded: set[pathlib.Path] = set()
        self.num_variables = 0

    def lock(self) -> Lock:
        """Reads `pipeline.lock`; an empty one when it is damaged."""
        self.guarded.add(self._directory.lock_file)
        return self._told(self._directory.lock) or Lock()

    def config(self) -> None:
        """`run.yaml` has the digest in its first line and can be read."""
        path = self._directory.config_file
        self.guarded.add(path)
        content = path.read_bytes()
        if content != sealed_config(content.partition(b'\n')[2].decode(errors='replace')).encode():
            self.wrong.append(f'{path}: its bytes do not fit the digest in its first line')
        self._told(lambda: load.load_resolved(path))

    def ledger(self) -> None:
        """Every line of the ledger is as it was written, and in its place."""
        self.guarded.add(self._directory.ledger.path)
        self.wrong += self._directory.ledger.faults()

    def cache(self) -> None:
        """Every cache fits its own digest."""
        for path in sorted(path for path in self._directory.cache.rglob('*') if path.is_file()):
            if path.name.startswith(('check.job.', 'speed.job.')):  # Of one that failed or was cut short.
                continue
            self.guarded.add(path)
            read = files.read_sealed_bytes if path.suffix == '.npz' else files.read_sealed_json
            self._told(functools.partial(read, path))

    def lengths(self) -> None:
        """The lengths that were decided by the machine's speed fit their own digest."""
        path = self._directory.path / run_files.LENGTHS
        if path.is_file():
            self.guarded.add(path)
            self._told(functools.partial(files.read_sealed_json, path))

    def data_items(self) -> None:
        """Every list of a data set's images fits its own digest."""
        for path in sorted(self._directory.data.glob('*.json')):
            self.guarded.add(path)
            self._told(functools.partial(files.read_sealed_json, path))

    def committed_folder(self, folder: pathlib.Path) -> None:
        """A checkpoint or a store is byte for byte what its manifest says."""
        self.guarded.update(path for path in folder.rglob('*') if path.is_file())
        self._told(lambda: files.verify_folder(folder))

    def entry(self, place: str, entry: Entry[Any]) -> None:
        """An entry of the lock fits itself, and the files that its job left are still those."""
        if files.digest_of(entry.parts) != entry.fingerprint:
            self.wrong.append(f'{place}: its fingerprint is not that of its parts in pipeline.lock')
        if not entry.files:
            self.remarks.append(f'{place}: the lock holds no digests of its files; they were made by an older version')
        if entry.mixed_versions:
            self.remarks.append(f'{place}: {mixed(entry.mixed_versions)}; equal bits with an undisturbed run are not promised')
        if entry.extended:
            self.remarks.append(f'{place}: {extended(entry.extended)}; its bits are not those of an undisturbed run')
        for name, digest in entry.files.items():
            path = self._directory.path / name
            self.guarded.add(path)
            if not path.is_file():
                self.wrong.append(f'{path}: missing; {place} left it')
            elif files.sha256_file(path) != digest:
                self.wrong.append(f'{path}: its bytes have changed since {place} was finished')

    def artefact(self, kind: str, key: str, entry: Entry[ArtefactResult]) -> None:
        """An artefact is the one that the lock names."""
        folder = self._directory.store(kind) / key
        manifest = self._json(folder / files.MANIFEST)
        if entry.fingerprint != key or (manifest and manifest.get('digest') != entry.result['digest']):
            self.wrong.append(f'{folder}: not the {kind} that pipeline.lock describes')

    def stage(self, stage_id: str, entry: Entry[StageResult], lock: Lock) -> None:
        """A stage's frozen variables are those of its job and have not moved; every variable's origin is still there."""
        folder = self._directory.stage(stage_id)
        variables = self._json(self._directory.checkpoint(entry.result) / run_files.VARIABLES)
        lineage, frozen = (self._json(folder / name) for name in (run_files.LINEAGE, run_files.FROZEN))
        job = self._told(lambda: jobs.recorded_job(folder / run_files.JOB))
        if None in (variables, lineage, frozen, job):
            return
        self.num_variables += len(variables)
        place = f'stages.{stage_id}'
        self._names(place, [name for name in variables if name not in lineage], 'have no origin in lineage.json')
        freeze, train = (job.stage.get(key) for key in ('freeze_variables', 'train_variables'))
        unfrozen = scopes.surely_frozen(list(variables), freeze or (), train) - frozen.keys()
        self._names(place, sorted(unfrozen), 'are frozen by the scopes of the stage but are not in frozen.json')
        moved = [name for name, digest in frozen.items() if name in variables and variables[name]['digest'] != digest]
        self._names(place, moved, 'were frozen and have other bits in the final checkpoint')
        for origin_id, own in _by_stage(lineage).items():
            self._origin(place, origin_id, own, frozen, lock)

    def _origin(self, place: str, origin_id: str, lineage: Lineage, frozen: Mapping[str, str], lock: Lock) -> None:
        entry = lock.stages.get(origin_id)
        if entry is None:
            self.wrong.append(f'{place}: starts from {origin_id}, which is not in pipeline.lock')
            return
        result = entry.result
        modules = {name: origin['key'].split('/')[0] for name, origin in lineage.items()}
        strange = [name for name, module in modules.items() if lineage[name]['digest'] != result['digests'].get(module)]
        self._names(place, strange, f'come from weights that {origin_id} no longer has')
        source = self._json(self._directory.checkpoint(result) / run_files.VARIABLES) or {}
        gone = [name for name in lineage if lineage[name]['key'] not in source]
        self._names(place, gone, f'name keys that the checkpoint of {origin_id} does not have')
        kept = [name for name in lineage if name in frozen and name not in gone]
        moved = [name for name in kept if frozen[name] != source[lineage[name]['key']]['digest']]
        self._names(place, moved, f'were frozen and have other bits than in {origin_id}')

    def others(self, lock: Lock) -> None:
        """Tells of files that no digest guards."""
        root = self._directory.path
        begun = {path.name for path in (root / run_files.STAGES).glob('*') if path.name not in lock.stages}
        again = sorted(path.name for path in (root / run_files.NEXT).glob('*'))
        self.remarks += [
            f'stages.{stage_id}: trained again, not finished; its former result stays until then' for stage_id in again
        ]
        self.remarks += [f'stages.{stage_id}: not finished; its committed checkpoints were checked' for stage_id in sorted(begun)]
        loose = [path.relative_to(root) for path in sorted(root.rglob('*')) if path.is_file() and path not in self.guarded]
        strange = [path for path in loose if path.name not in _UNGUARDED and not _is_free(path, begun)]
        if strange:
            self.remarks.append(f'{root}: {len(strange)} files that nobody accounts for: {_few(map(str, strange))}')

    def _told(self, read: Callable[[], Any]) -> Any:
        """Returns what `read` does, or None when that fails, which is told once."""
        try:
            return read()
        except (RunDirectoryError, ConfigError, DamagedFile) as error:
            text = str(error)
        except OSError as error:
            text = f'{error.filename}: {error.strerror}'
        if text not in self.wrong:
            self.wrong.append(text)
        return None

    def _json(self, path: pathlib.Path) -> Any:
        return self._told(lambda: files.read_json(path))

    def _names(self, place: str, names: list[str], what: str) -> None:
        if names:
            self.wrong.append(f'{place}: {len(names)} variables {what}: {_few(sorted(names))}')


def _by_stage(lineage: Lineage) -> dict[str, dict[str, VariableOrigin]]:
    """Returns id of a stage -> the variables that come from it, or from several of which it is one, with `key` and `digest`."""
    found: dict[str, dict[str, VariableOrigin]] = {}
    for name, origin in lineage.items():
        stages = origin['stages'] if origin['kind'] == OF_SEVERAL else {}
        for stage_id, digest in ({origin['stage']: origin['digest']} if origin['kind'] == 'stage' else stages).items():
            found.setdefault(stage_id, {})[name] = {**origin, 'digest': digest}
    return found


def _shared(lock: Lock) -> Iterator[str]:
    """Tells which stages hold a module bit for bit alike."""
    holders: dict[tuple[str, str], list[str]] = {}
    for stage_id, entry in lock.stages.items():
        for module, digest in entry.result.get('digests', {}).items():
            holders.setdefault((module, digest), []).append(stage_id)
    for (module, _), stages in sorted(holders.items()):
        if len(stages) > 1:
            yield f'{module}: the same bits in {", ".join(stages)}'


def _is_free(path: pathlib.Path, begun: set[str]) -> bool:
    """Whether a file, by its path in the run directory, is a report, a cache's or of a job that is not finished."""
    parts = path.parts
    unfinished = parts[0] == run_files.NEXT or (parts[0] == run_files.STAGES and len(parts) > 1 and parts[1] in begun)
    return (
        unfinished
        or parts[0] in (run_files.CACHE, run_files.STORES)
        and '.job.' in path.name
        or any(part in _FREE_FOLDERS for part in parts)
    )


def _few(names: Any) -> str:
    names = list(names)
    rest = len(names) - _NUM_SHOWN
    return ', '.join(names[:_NUM_SHOWN]) + (f' and {rest} more' if rest > 0 else '')
