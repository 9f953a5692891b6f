"""The command line in this process: what every command must hold, whatever it is given."""

from __future__ import annotations

import fnmatch
import io
import os
import pathlib
import sys
from collections.abc import Sequence

from stagetrain.cli import main
from stagetrain.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, StagetrainError
from stagetrain.workers import process
from tests.brought.folder import contents
from tests.fakes import project

RUN_FILES = ('run/*', 'calls.jsonl', 'checks.jsonl')
"""What a run of the fakes writes anew."""


class Refused(StagetrainError):
    """A command was refused, and rightly."""

    exit_code = EXIT_BAD_INPUT


def command(folder: pathlib.Path, *arguments: object, changes: Sequence[str] = (), encoding: str = 'utf-8') -> tuple[int, str]:
    """Carries out a command and returns its exit code and output; workers are fakes.

    Args:
      folder: is looked at before and afterwards.
      arguments: as they are typed behind `stagetrain`.
      changes: patterns of files in the folder that may change or go.
      encoding: of standard output and error.

    Raises:
      AssertionError: the exit code is none that a command may have, it was refused without a reason, or a file has changed.
    """
    before = contents(folder)
    process.start_child = project.in_this_process
    code, said = _carry_out(
        [os.fspath(argument) if isinstance(argument, os.PathLike) else str(argument) for argument in arguments], encoding
    )
    told = f'{arguments}: exit code {code}: {said}'
    assert code in (EXIT_DONE, EXIT_FAILED, EXIT_BAD_INPUT), told
    assert 'Traceback' not in said and not said.rstrip().endswith(':'), told
    assert said.strip() or code == EXIT_DONE, told
    after = contents(folder)
    lost = [name for name in before if after.get(name) != before[name] and not any(fnmatch.fnmatch(name, p) for p in changes)]
    assert not lost, f'{told}\nchanged: {lost}'
    return code, said


def done(folder: pathlib.Path, *arguments: object, changes: Sequence[str] = (), encoding: str = 'utf-8') -> str:
    """As `command`, for one that must succeed; returns its output."""
    code, said = command(folder, *arguments, changes=changes, encoding=encoding)
    assert code == EXIT_DONE, f'{arguments}: exit code {code}: {said}'
    return said


def refused(folder: pathlib.Path, *arguments: object, names: str = '', changes: Sequence[str] = ()) -> str:
    """As `command`, for one that must be refused by name; returns its output."""
    code, said = command(folder, *arguments, changes=changes)
    assert code == EXIT_BAD_INPUT and names in said, f'{arguments}: exit code {code}, expected {names!r} in: {said}'
    return said


def _carry_out(arguments: Sequence[str], encoding: str) -> tuple[int, str]:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2)]
    sys.stdout, sys.stderr = streams
    os.environ['COLUMNS'] = '200'
    os.environ.setdefault('STAGETRAIN_CACHE', '')  # Nothing in the home of who runs the campaign.
    try:
        code = main.main(arguments)
    except SystemExit as ended:  # argparse's way out.
        code = ended.code if isinstance(ended.code, int) else EXIT_FAILED
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    for stream in streams:
        stream.flush()
    return code, ''.join(stream.buffer.getvalue().decode(encoding, 'backslashreplace') for stream in streams)  # type: ignore[attr-defined]
