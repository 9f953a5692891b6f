"""`stagetrain clean`: removes what no stage needs any more."""

from __future__ import annotations

import pathlib

import rich.console

from stagetrain import files
from stagetrain.cli import prepare
from stagetrain.pipeline import plan as planning
from stagetrain.pipeline.plan import Plan, Selection, assess
from stagetrain.pipeline.rundir import RunDirectory, explained

MAKING = '.making'


def clean(directory: RunDirectory, console: rich.console.Console) -> None:
    """Removes stores that no stage of the present config reads, and temporary folders. Checkpoints stay.

    Stored features are made by the stage that trains on them, so those of finished stages are not needed; a stage that is
    half-done keeps all.

    Raises:
      RunDirectoryError: it is no run directory, or another process holds it.
    """
    loaded = directory.config()
    with directory.writing():
        facts = prepare.gather_facts(loaded.pipeline, directory.cache)
        plan = assess(loaded, facts, directory.state(), select=Selection(variants=True))
        with explained(directory.path):
            directory.create_or_open(loaded)
            freed = [_remove_proposals(directory, store) for store in _unread(directory.proposals, _proposals_needed(plan))]
            if not any(stage.step and stage.action == planning.RESUME for stage in plan.stages):
                freed += [_remove(directory, store) for store in _unread(directory.features, set())]
    console.print(f'{directory.path}: removed {len(freed)} stores, {sum(freed) / 2**20:.1f} MiB', highlight=False, soft_wrap=True)


def _proposals_needed(plan: Plan) -> set[str | None]:
    return {stage.proposals.fingerprint for stage in plan.stages if stage.proposals is not None}


def _unread(parent: pathlib.Path, needed: set[str | None]) -> list[pathlib.Path]:
    stores = sorted(path for path in parent.glob('*') if path.is_dir())
    return [store for store in stores if store.name.removesuffix(MAKING) not in needed]


def _remove_proposals(directory: RunDirectory, store: pathlib.Path) -> int:
    """Removes a proposal store, the lock's entry first, so that no entry is left without its store. Returns the bytes freed."""
    directory.write_lock(directory.lock().with_proposals(store.name, None))
    for path in directory.proposals.glob(f'{store.name}.job.*'):
        path.unlink()
    return _remove(directory, store)


def _remove(directory: RunDirectory, store: pathlib.Path) -> int:
    size = sum(path.stat().st_size for path in store.rglob('*') if path.is_file())
    files.remove_folder(store)
    directory.ledger.record('note', None, f'removed the {store.parent.name} store {store.name[:12]}: no stage reads it')
    return size
