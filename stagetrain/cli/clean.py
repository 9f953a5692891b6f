"""`stagetrain clean`: removes what no stage needs any more."""

from __future__ import annotations

import pathlib

import rich.console

from stagetrain import files
from stagetrain.cli import prepare
from stagetrain.pipeline.plan import Selection, assess
from stagetrain.pipeline.rundir import RunDirectory, explained


def clean(directory: RunDirectory, console: rich.console.Console) -> None:
    """Removes proposal stores that no stage of the present config reads, and temporary folders. Checkpoints stay.

    Raises:
      RunDirectoryError: it is no run directory, or another process holds it.
    """
    loaded = directory.config()
    with directory.writing():
        facts = prepare.gather_facts(loaded.pipeline, directory.cache)
        plan = assess(loaded, facts, directory.state(), select=Selection(variants=True))
        needed = {stage.proposals.fingerprint for stage in plan.stages if stage.proposals is not None}
        with explained(directory.path):
            directory.create_or_open(loaded)
            freed = [
                _remove(directory, store) for store in _stores(directory) if store.name.removesuffix('.making') not in needed
            ]
    console.print(f'{directory.path}: removed {len(freed)} stores, {sum(freed) / 2**20:.1f} MiB', highlight=False, soft_wrap=True)


def _stores(directory: RunDirectory) -> list[pathlib.Path]:
    return sorted(path for path in directory.proposals.glob('*') if path.is_dir())


def _remove(directory: RunDirectory, store: pathlib.Path) -> int:
    """Removes a store, the lock's entry first, so that no entry is left without its store. Returns the bytes freed."""
    size = sum(path.stat().st_size for path in store.rglob('*') if path.is_file())
    directory.write_lock(directory.lock().with_proposals(store.name, None))
    files.remove_folder(store)
    for path in directory.proposals.glob(f'{store.name}.job.*'):
        path.unlink()
    directory.ledger.record('note', None, f'removed the proposal store {store.name[:12]}: no stage reads it')
    return size
