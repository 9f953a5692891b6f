"""Removes what no stage of a run directory needs any more."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

from stagetrain import files
from stagetrain.api import preparation
from stagetrain.config import artefacts
from stagetrain.config.artefacts import ArtefactSpec
from stagetrain.pipeline import planned, run_files
from stagetrain.pipeline.plan import assess
from stagetrain.pipeline.planned import Plan, Selection
from stagetrain.pipeline.rundir import RunDirectory, explained


def clean(directory: RunDirectory, tell: preparation.Tell = preparation.silent) -> list[int]:
    """Removes stores that no stage of the present config reads, and temporary folders. Checkpoints stay.

    Returns:
      The bytes that each removed store took.

    Raises:
      RunDirectoryError: it is no run directory, or another process holds it.
    """
    loaded = directory.config()
    with directory.writing():
        facts = preparation.gather_facts(loaded.pipeline, directory.cache, tell)
        plan = assess(loaded, facts, directory.state(), select=Selection(variants=True))
        with explained(directory.path):
            directory.create_or_open(loaded)
            return [size for kind in artefacts.kinds() for size in _remove_unread(directory, kind, plan)]


def _remove_unread(directory: RunDirectory, kind: ArtefactSpec, plan: Plan) -> Iterator[int]:
    """Removes what no stage reads of a kind and yields the bytes freed.

    What a stage makes for itself is not needed once it is finished; while one is half-done all is kept.
    """
    needed = {artefact.fingerprint for stage in plan.stages for artefact in stage.artefacts if artefact.kind == kind.name}
    if not kind.has_job and any(stage.action in (planned.RESUME, planned.EXTEND) for stage in plan.stages):
        return
    for store in _unread(directory.store(kind.name), needed):
        if kind.has_job:
            _forget(directory, kind.name, store)
        yield _remove(directory, store)


def _unread(parent: pathlib.Path, needed: set[str | None]) -> list[pathlib.Path]:
    stores = sorted(path for path in parent.glob('*') if path.is_dir())
    return [store for store in stores if store.name.removesuffix(run_files.MAKING) not in needed]


def _forget(directory: RunDirectory, kind: str, store: pathlib.Path) -> None:
    """Removes an artefact's entry from the lock, before the folder: no entry is left without its store."""
    directory.write_lock(directory.lock().with_artefact(kind, store.name, None))
    for path in store.parent.glob(f'{store.name}.job.*'):
        path.unlink()


def _remove(directory: RunDirectory, store: pathlib.Path) -> int:
    size = sum(path.stat().st_size for path in store.rglob('*') if path.is_file())
    files.remove_folder(store)
    directory.ledger.record('note', None, f'removed the {store.parent.name} store {store.name[:12]}: no stage reads it')
    return size
