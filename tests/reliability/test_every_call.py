"""A save that is killed, or told that the disk is full, at each of its calls of the file system: nothing committed is lost."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from scripts.campaign_processes import CALLS, Forked, KillAt, arm
from stagetrain import files
from stagetrain.pipeline.ledger import Ledger
from stagetrain.pipeline.lock import Entry, Lock, read_lock, write_lock

KILLED = -9
DONE = 0


def save(folder: pathlib.Path, step: int) -> None:
    """What a finished stage does: commit, prune, lock, ledger."""
    digest = files.commit_folder(folder / f'step-{step}', lambda new: files.write_json(new / 'weights.json', {'step': step}))
    files.remove_folder(folder / f'step-{step - 1}')
    write_lock(folder / 'pipeline.lock', Lock({'rpn_1': Entry('f', {}, {'step': step, 'digest': digest}, 'now')}))
    Ledger(folder / 'ledger.jsonl').record('finished', 'rpn_1', f'step {step}')


def require_nothing_lost(folder: pathlib.Path) -> None:
    """The lock is readable and of step 1 or 2, a checkpoint at least as new is whole, the ledger has its first line."""
    locked = read_lock(folder / 'pipeline.lock').stages['rpn_1'].result['step']
    committed = sorted(path for path in folder.glob('step-*'))
    assert [files.verify_folder(path) for path in committed]
    assert committed[-1].name >= f'step-{locked}'
    assert Ledger(folder / 'ledger.jsonl').read()[0]['text'] == 'step 1'
    files.sweep_temporary(folder)
    assert not list(folder.rglob(f'{files.TEMPORARY}*'))


def go_on(folder: pathlib.Path) -> None:
    """The next start: commits step 2 if that was not done, and writes what is missing."""
    if not (folder / 'step-2').exists():
        save(folder, 2)
    assert files.read_json(folder / 'step-2' / 'weights.json') == {'step': 2}


def prepared(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir()
    save(folder, 1)
    return folder


@pytest.mark.parametrize('after', [False, True])
def test_killed_at_each_call(tmp_path: pathlib.Path, after: bool) -> None:
    codes: list[int] = []
    while codes[-2:] != [DONE, DONE]:  # A call that raises (a folder that is there already) does not come to its end.
        folder = prepared(tmp_path / str(len(codes)))

        def work(folder: pathlib.Path = folder, call: int = len(codes) + 1) -> int:
            arm(KillAt('saver', call, after), 'saver')
            save(folder, 2)
            return DONE

        codes.append(Forked(work).wait(30))
        require_nothing_lost(folder)
        go_on(folder)
    assert set(codes) == {KILLED, DONE}
    assert codes.count(KILLED) > 15


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EIO])
def test_refused_at_each_call(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    calls, count, failing = 0, 0, 0

    def refusing(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == failing:
                raise OSError(code, os.strerror(code))
            return original(*arguments, **options)

        return call

    refused = True
    while refused:
        folder = prepared(tmp_path / str(calls))
        calls, count, failing = calls + 1, 0, calls + 1
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, refusing(getattr(os, name)))
            try:
                save(folder, 2)
                refused = count >= failing
            except OSError as error:
                assert error.errno == code
        require_nothing_lost(folder)
        go_on(folder)
    assert calls > 15
