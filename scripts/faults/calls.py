"""A save that is killed, or told ENOSPC or EIO, at each of its system calls, by `strace -e inject`; and their order.

Unlike `tests/reliability/test_every_call.py` this sees what Python and the C library really call.
"""

from __future__ import annotations

import os
import pathlib
import platform
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

from scripts.faults import save
from stagetrain import files

CALLS = ('openat', 'write', 'fsync', 'rename', 'mkdir', 'unlink', 'unlinkat', 'rmdir', 'ftruncate', 'close')
FAULTS = ('signal=SIGKILL', 'error=ENOSPC', 'error=EIO')
ROOT = pathlib.Path(__file__).parents[2]
_LINE = re.compile(r'(?P<call>[a-z]+)\((?P<arguments>.*)')


def is_possible() -> bool:
    """Returns whether `strace` is here and may trace, on a machine whose calls have the names of `CALLS`."""
    if shutil.which('strace') is None or platform.machine() != 'x86_64':
        return False
    return subprocess.run(['strace', '-o', os.devnull, 'true'], capture_output=True, check=False).returncode == 0


def injected_calls(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each trial: first the order of calls, then each call with each fault, at most `count` of them."""
    trace = _trace(work)
    yield disorder(trace)
    points = [(call, number, fault) for call, number in _points(trace) for fault in FAULTS]
    for index, (call, number, fault) in enumerate(draw.sample(points, min(count - 1, len(points)))):
        folder = save.prepared(work / f'trial-{index}')
        inject = f'inject={call}:{fault}:when={number}'
        code = _run(folder, work / 'injected.log', '-e', f'trace={call}', '-e', inject).returncode
        yield [f'{inject} (exit code {code}): {what}' for what in _what_is_wrong(folder, acknowledged=2 if code == 0 else 1)]
        shutil.rmtree(folder)


def _what_is_wrong(folder: pathlib.Path, acknowledged: int) -> list[str]:
    try:
        return save.lost(folder, acknowledged) + save.go_on(folder, 2)
    except files.DamagedFile as error:
        return [str(error)]


def _trace(work: pathlib.Path) -> list[tuple[str, str]]:
    """Returns every traced call of an undisturbed save, with its arguments, from the start of the process."""
    folder, log = save.prepared(work / 'undisturbed'), work / 'undisturbed.log'
    done = _run(folder, log, '-y', '-s', '200', '-e', f'trace={",".join(CALLS)},access')
    assert done.returncode == 0, done.stderr
    return [(match['call'], match['arguments']) for line in log.read_text().splitlines() if (match := _LINE.match(line))]


def _points(trace: list[tuple[str, str]]) -> list[tuple[str, int]]:
    """Returns (call, how many-eth in the process) of the calls of the save itself."""
    begin = _begin(trace)
    counts = dict.fromkeys(CALLS, 0)
    points = []
    for index, (call, _) in enumerate(trace):
        if call in counts:
            counts[call] += 1
            if index > begin:
                points.append((call, counts[call]))
    return points


def _begin(trace: list[tuple[str, str]]) -> int:
    return next(index for index, (call, arguments) in enumerate(trace) if call == 'access' and save.BEGIN in arguments)


def disorder(trace: list[tuple[str, str]]) -> list[str]:
    """A commit's files are synced before its rename, the folder around it behind that, and only then the old one goes."""
    own = trace[_begin(trace) :]
    new, old = 'step-00000002', 'step-00000001'
    synced = [index for index, (call, arguments) in enumerate(own) if call == 'fsync' and f'{files.TEMPORARY}{new}' in arguments]
    renames = [index for index, (call, arguments) in enumerate(own) if call == 'rename']
    committed = next(index for index in renames if f'/{new}"' in own[index][1])
    removed = next(index for index in renames if f'/{old}"' in own[index][1].split(',')[0])
    parent_synced = any(own[index][0] == 'fsync' for index in range(committed + 1, removed))
    found = []
    if len(synced) < 3 or max(synced) > committed:  # Two files and their folder.
        found.append(f'{len(synced)} syncs of the new checkpoint, the last at {max(synced, default=-1)}, rename at {committed}')
    if not committed < removed or not parent_synced:
        found.append('the old checkpoint went before the rename of the new one was synced')
    return found


def _run(folder: pathlib.Path, log: pathlib.Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ['strace', '-o', str(log), *options, sys.executable, '-B', '-m', 'scripts.faults.save', str(folder), '2']
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
