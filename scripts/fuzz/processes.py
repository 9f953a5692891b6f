"""A process of its own for each case, with at most 10 s of computing and 2 GB more memory than before."""

from __future__ import annotations

import os
import pathlib
import resource
import signal
import traceback
from collections.abc import Callable

from stagetrain.errors import EXIT_BAD_INPUT, StagetrainError

SECONDS = 10
WALL_SECONDS_PER_SECOND = 12
"""A machine that is busy with other things gives a process its seconds late."""
BYTES = 2 << 30
USED, REFUSED, TRACEBACK, UNNAMED, WRONG_CODE = 0, 10, 11, 12, 13
OUTCOMES = {USED: 'used', REFUSED: 'refused', TRACEBACK: 'traceback', UNNAMED: 'file not named', WRONG_CODE: 'exit code not 2'}


def carry_out(folder: pathlib.Path, prepare: Callable[[], pathlib.Path], use: Callable[[pathlib.Path], None]) -> tuple[str, str]:
    """Makes and uses something in a process of its own.

    Args:
      folder: is made, and is the process's working directory.
      prepare: makes what is used, and returns its path; without limits.
      use: uses it, within limits.

    Returns:
      The outcome, one of `OUTCOMES` or an end of the process, and what was said.
    """
    folder.mkdir()
    answer = folder.parent / f'{folder.name}.txt'
    pid = os.fork()
    if pid == 0:
        os._exit(_use(folder, prepare, use, answer))
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    said = answer.read_text(errors='replace') if answer.exists() else ''
    if code in OUTCOMES:
        return OUTCOMES[code], said
    limits = (-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL)
    return 'time limit' if code in limits else f'ended with {code}', f'{said} ({used.ru_maxrss >> 10} MiB)'


def _use(
    folder: pathlib.Path, prepare: Callable[[], pathlib.Path], use: Callable[[pathlib.Path], None], answer: pathlib.Path
) -> int:
    path = folder
    try:
        path = prepare()
        os.chdir(folder)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        _limit()
        use(path)
        return USED
    except StagetrainError as error:
        answer.write_text(str(error), errors='backslashreplace')
        if error.exit_code != EXIT_BAD_INPUT:
            return WRONG_CODE
        return REFUSED if _names(path, str(error)) else UNNAMED
    except BaseException:
        answer.write_text(traceback.format_exc(), errors='backslashreplace')
        return TRACEBACK


def _limit() -> None:
    limit = _virtual_bytes() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS * WALL_SECONDS_PER_SECOND)


def _names(path: pathlib.Path, text: str) -> bool:
    """Whether a message names the file, or the folder or checkpoint that it is a part of."""
    return any(name in text for name in (path.name, str(path.parent), str(path.with_suffix(''))))


def _virtual_bytes() -> int:
    return int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
