"""A save as a finished stage makes it, and what must hold whatever became of it. Also a program, for `strace`.

python -m scripts.faults.save FOLDER 2        # commits step 2, removes step 1, writes lock and ledger
"""

from __future__ import annotations

import os
import pathlib
import sys

from stagetrain import files
from stagetrain.pipeline.ledger import Ledger
from stagetrain.pipeline.lock import Entry, Lock, read_lock, write_lock

BEGIN = '/the-save-begins-here'
"""A path that is asked for just before the save, so that a trace of system calls shows where it begins."""


def save(folder: pathlib.Path, step: int) -> None:
    """What a finished stage does: commit, prune, lock, ledger."""
    digest = files.commit_folder(checkpoint(folder, step), lambda new: files.write_json(new / 'weights.json', {'step': step}))
    for old in sorted(folder.glob('step-*'))[:-1]:
        files.remove_folder(old)
    write_lock(folder / 'pipeline.lock', Lock({'rpn_1': Entry('f', {}, {'step': step, 'digest': digest}, 'now')}))
    Ledger(folder / 'ledger.jsonl').record('finished', 'rpn_1', f'step {step}')


def checkpoint(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Returns where the checkpoint of a step lies."""
    return folder / f'step-{step:08d}'


def newest(folder: pathlib.Path) -> int:
    """Returns the step of the newest committed checkpoint; raises DamagedFile when any is not whole."""
    committed = sorted(folder.glob('step-*'))
    for path in committed:
        files.verify_folder(path)
    return int(committed[-1].name.removeprefix('step-'))


def prepared(folder: pathlib.Path) -> pathlib.Path:
    """Returns a new folder in which step 1 was saved."""
    folder.mkdir()
    save(folder, 1)
    return folder


def lost(folder: pathlib.Path, acknowledged: int = 1) -> list[str]:
    """Returns what was lost of `acknowledged`, the last step whose save came to its end; sweeps what is half-written.

    Lock and ledger must be readable, all checkpoints whole, the newest at least as new as the lock says and as `acknowledged`.
    """
    found = []
    locked = read_lock(folder / 'pipeline.lock').stages['rpn_1'].result['step']
    if not acknowledged <= locked <= newest(folder):
        found.append(f'acknowledged step {acknowledged}, lock of step {locked}, newest checkpoint of step {newest(folder)}')
    told = [line['text'] for line in Ledger(folder / 'ledger.jsonl').read()]
    if f'step {acknowledged}' not in told:
        found.append(f'the ledger lost its line of step {acknowledged}')
    files.sweep_temporary(folder)
    return found + [f'{path} is left behind' for path in folder.rglob(f'{files.TEMPORARY}*')]


def go_on(folder: pathlib.Path, step: int) -> list[str]:
    """Does what the next start does: saves a step if that was not done; returns what is wrong behind it."""
    if not checkpoint(folder, step).exists():
        save(folder, step)
    value = files.read_json(checkpoint(folder, step) / 'weights.json')
    return [] if value == {'step': step} else [f'step {step} holds {value}']


if __name__ == '__main__':
    os.access(BEGIN, os.F_OK)
    save(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
