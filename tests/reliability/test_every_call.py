"""A save that is killed, or told that the disk is full, at each of its calls of the file system: nothing committed is lost."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from scripts.campaign_processes import CALLS, Forked, KillAt, arm
from scripts.faults import save

KILLED = -9
DONE = 0


@pytest.mark.parametrize('after', [False, True])
def test_killed_at_each_call(tmp_path: pathlib.Path, after: bool) -> None:
    codes: list[int] = []
    while codes[-2:] != [DONE, DONE]:  # A call that raises (a folder that is there already) does not come to its end.
        folder = save.prepared(tmp_path / str(len(codes)))

        def work(folder: pathlib.Path = folder, call: int = len(codes) + 1) -> int:
            arm(KillAt('saver', call, after), 'saver')
            save.save(folder, 2)
            return DONE

        codes.append(Forked(work).wait(30))
        assert save.lost(folder) + save.go_on(folder, 2) == []
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
        folder = save.prepared(tmp_path / str(calls))
        calls, count, failing = calls + 1, 0, calls + 1
        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, refusing(getattr(os, name)))
            try:
                save.save(folder, 2)
                refused = count >= failing
            except OSError as error:
                assert error.errno == code
        assert save.lost(folder) + save.go_on(folder, 2) == []
    assert calls > 15
