"""A finished stage that is trained again keeps its result until the new one is whole, wherever a crash comes.

    begin_at(run_dir, 'rpn_1', 600, evaluated_every=200)      # next/rpn_1 holds what it had at step 600
    commit(run_dir, 'rpn_1', entry)                           # next/rpn_1 is stages/rpn_1 now, with that entry in the lock

next/<id>/              all that stages/<id>/ has, of the training that is to take its place
next/<id>/entry.json    it is finished, and this will be its entry: from here on it counts, and the rest is carried through
"""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

from stagetrain import files
from stagetrain.errors import DamagedFile
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import StageResult
from stagetrain.pipeline.lock import Entry, entry_from_json, entry_to_json, read_lock, write_lock

_ENTRY_FILE = 'entry.json'


def folder_of(run_dir: pathlib.Path, stage_id: str) -> pathlib.Path:
    """Returns where a finished stage is trained again."""
    return run_dir / run_files.NEXT / stage_id


def begin_at(run_dir: pathlib.Path, stage_id: str, step: int, evaluated_every: int | None) -> None:
    """Begins to train a finished stage again as if it had been stopped at a step: copies what a stopped one has.

    The evaluation at the end of the former training is left out, and a best checkpoint that it gave, unless the stage is
    evaluated at that step anyhow: an undisturbed one would not know of it.

    Args:
      run_dir: the run directory.
      stage_id: a finished stage.
      step: one of its checkpoints.
      evaluated_every: its `validation_interval`.

    Raises:
      DamagedFile: the checkpoint is not as it was written.
      OSError: the disk is full or read-only.
    """
    former, new = run_dir / run_files.STAGES / stage_id, folder_of(run_dir, stage_id)
    files.remove_folder(new)
    try:
        files.verify_folder(_checkpoint(former, step))
    except DamagedFile as error:
        raise DamagedFile(
            f'{error}. It cannot be extended; --force {stage_id} trains it anew, and keeps it until that is done'
        ) from error
    files.make_folder(new, lambda folder: _copy(former, folder, step, evaluated_every))


def commit(run_dir: pathlib.Path, stage_id: str, entry: Entry[StageResult]) -> None:
    """Has a finished training take the place of the former result; raises OSError when the disk is full or read-only."""
    files.write_sealed_json(folder_of(run_dir, stage_id) / _ENTRY_FILE, entry_to_json(entry))
    _install(run_dir, stage_id)


def finish_all(run_dir: pathlib.Path) -> None:
    """Carries through what a crash cut short; call it before the lock is read by the one who writes the directory.

    Raises:
      DamagedFile: the lock or an entry is not as it was written.
      OSError: the disk is full or read-only.
    """
    for parent in (run_files.NEXT, run_files.STAGES):
        for path in sorted(run_dir.glob(f'{parent}/*/{_ENTRY_FILE}')):
            _install(run_dir, path.parent.name)


def _install(run_dir: pathlib.Path, stage_id: str) -> None:
    """Each line may be repeated: a crash before it, in it or behind it changes nothing."""
    new, place = folder_of(run_dir, stage_id), run_dir / run_files.STAGES / stage_id
    files.sweep_temporary(place.parent)  # Of the former result, which a crash may have left half-deleted.
    if (new / _ENTRY_FILE).is_file():
        files.replace_folder(place, new)
    entry = entry_from_json(files.read_sealed_json(place / _ENTRY_FILE))
    write_lock(run_dir / run_files.LOCK, read_lock(run_dir / run_files.LOCK).with_stage(stage_id, entry))
    (place / _ENTRY_FILE).unlink()


def _copy(former: pathlib.Path, folder: pathlib.Path, step: int, evaluated_every: int | None) -> None:
    def is_due(at: int) -> bool:
        return evaluated_every is not None and at % evaluated_every == 0

    bests = [path for path in run_files.checkpoint_folders(former / run_files.BEST) if run_files.step_of(path) <= step]
    due = [path for path in bests if is_due(run_files.step_of(path))]
    for path in (_checkpoint(former, step), *due):
        shutil.copytree(path, folder / path.relative_to(former))
    lines = [line for line in files.read_json_lines(former / run_files.METRICS) if _stays(line, step, is_due(line['step']))]
    (folder / run_files.METRICS).write_text(''.join(files.canonical_json(line) + '\n' for line in lines))


def _stays(line: dict[str, Any], step: int, is_due: bool) -> bool:
    return bool(line['step'] <= step and (is_due or 'evaluation' not in line))


def _checkpoint(folder: pathlib.Path, step: int) -> pathlib.Path:
    return run_files.checkpoint_folder(folder / run_files.CHECKPOINTS, step)
