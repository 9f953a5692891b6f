"""A case: what somebody brings, the commands that are typed, and what must come of each.

    Case('semicolons', csv_with_semicolons, Step('data check boxes.csv', code=2, says=['boxes.csv', 'semicolon']))

Commands are carried out by `stagetrain.cli.main.main` in this process, in the folder that `make` has filled; `run` and `eval` get
workers that need no TensorFlow (`tests/fakes`) unless a step says otherwise. Of every step these are demanded too: no exception
escapes, a refusal (exit code 2) says something, no message ends with a colon and nothing behind it, and no file that was there
before has changed or is gone, unless the step allows it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from stagetrain.cli import main
from stagetrain.workers import process
from tests.brought.folder import contents
from tests.fakes import project

RUN_FILES = ('run/*', 'calls.jsonl', 'checks.jsonl')
"""What a run of the fakes writes anew."""
FAKE, REAL, SUBPROCESS = 'fake', 'real', 'subprocess'


@dataclasses.dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
      command: as it is typed behind `stagetrain`; quotes as in a shell, no patterns.
      code: the exit code.
      says: regular expressions that its output, standard output before standard error, must hold; runs of blanks are one blank.
      silent: regular expressions that it must not hold.
      made: patterns of files that must be there afterwards.
      not_made: patterns of files that must not.
      changes: patterns of files that may change or go.
      where: `FAKE`: here, with fake workers; `REAL`: here, with TensorFlow; `SUBPROCESS`: in a process of its own,
        with fake workers.
      environ: variables more.
      before: what happens to the folder just before.
    """

    command: str
    code: int = 0
    says: Sequence[str] = ()
    silent: Sequence[str] = ()
    made: Sequence[str] = ()
    not_made: Sequence[str] = ()
    changes: Sequence[str] = ()
    where: str = FAKE
    environ: Mapping[str, str] = dataclasses.field(default_factory=dict)
    before: Callable[[pathlib.Path], object] = lambda folder: None


@dataclasses.dataclass(frozen=True)
class Case:
    """What is brought (`make` fills an empty folder) and the steps that follow."""

    name: str
    make: Callable[[pathlib.Path], object]
    steps: tuple[Step, ...]

    def __init__(self, name: str, make: Callable[[pathlib.Path], object], *steps: Step) -> None:
        object.__setattr__(self, 'name', name)
        object.__setattr__(self, 'make', make)
        object.__setattr__(self, 'steps', steps)


def each(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """Makes a test that takes `case` run once for each of them, under its name."""
    return pytest.mark.parametrize('case', cases, ids=[case.name for case in cases])


Hold = Callable[[Case], None]


def hold(case: Case, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Fails when some step of a case does not come out as it must."""
    case.make(folder)
    monkeypatch.chdir(folder)
    for step in case.steps:
        step.before(folder)
        before = contents(folder)
        with monkeypatch.context() as patch:
            code, said = carry_out(step, folder, patch, capsys)
        found = [*_wrong_words(step, code, said), *_wrong_files(step, folder, before)]
        if found:
            pytest.fail('\n'.join([f'stagetrain {step.command}', *found, f'exit code {code}', said]), pytrace=False)


def carry_out(step: Step, folder: pathlib.Path, patch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Returns exit code and output of a command; an exception that `main` lets out is the test's."""
    arguments = shlex.split(step.command)
    if step.where == SUBPROCESS:
        return in_a_process(arguments, folder, step.environ)
    for name, value in {'COLUMNS': '200', **step.environ}.items():
        patch.setenv(name, value)
    if step.where == FAKE:
        patch.setattr(process, 'start_child', project.in_this_process)
    capsys.readouterr()
    try:
        code = main.main(arguments)
    except SystemExit as ended:  # argparse's way out.
        code = ended.code if isinstance(ended.code, int) else 1
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def in_a_process(arguments: Sequence[str], folder: pathlib.Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """Returns exit code and output of the command line in a process of its own, whose children are fakes."""
    command = [sys.executable, '-m', 'tests.fakes.main', *arguments]
    environment = project.environ_of({'COLUMNS': '200', **environ})
    done = subprocess.run(command, capture_output=True, cwd=folder, env=environment, check=False, timeout=120)
    return done.returncode, (done.stdout + done.stderr).decode(errors='backslashreplace')


def _wrong_words(step: Step, code: int, said: str) -> Iterator[str]:
    text = ' '.join(said.split())
    if code != step.code:
        yield f'expected exit code {step.code}'
    if 'Traceback' in text:
        yield 'a traceback'
    if not text and code:
        yield 'refused without a word'
    if text.endswith(':'):
        yield 'nothing stands behind the last colon'
    yield from (f'does not say {pattern!r}' for pattern in step.says if not re.search(pattern, text))
    yield from (f'says {pattern!r}' for pattern in step.silent if re.search(pattern, text))


def _wrong_files(step: Step, folder: pathlib.Path, before: Mapping[str, str]) -> Iterator[str]:
    after = contents(folder)
    for name, content in before.items():
        if after.get(name) != content and not _is_one_of(name, step.changes):
            yield f'{name}: {"has changed" if name in after else "is gone"}'
    yield from (f'{pattern}: was not made' for pattern in step.made if not _matching(after, pattern))
    yield from (f'{pattern}: was made: {_matching(after, pattern)}' for pattern in step.not_made if _matching(after, pattern))


def _is_one_of(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _matching(names: Mapping[str, str], pattern: str) -> list[str]:
    return [name for name in names if fnmatch.fnmatch(name, pattern)]
