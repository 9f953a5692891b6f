"""Ctrl-C as people press it: once, twice in a hurry, again after a while, three times; and the machine's SIGTERM."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence

import pytest

from stagetrain import files
from tests.fakes import project

INTERRUPT, TERMINATE = signal.SIGINT, signal.SIGTERM


class Run:
    """`stagetrain run` in a process of its own, whose fake worker takes its time over a step."""

    def __init__(self, folder: pathlib.Path, seconds: float) -> None:
        self.made = project.make_project(folder)
        environment = project.environ_of({'FAKE_SECONDS': str(seconds), 'COLUMNS': '200', 'PYTHONUNBUFFERED': '1'})
        self.output = folder / 'output.txt'
        with open(self.output, 'wb') as file:
            self.process = subprocess.Popen(self.made.command, env=environment, stdout=file, stderr=subprocess.STDOUT)

    def wait_for(self, text: str, seconds: float = 60) -> None:
        """Returns once the text was printed."""
        end = time.monotonic() + seconds
        while text not in self.said():
            assert self.process.poll() is None and time.monotonic() < end, f'{text!r} was not printed:\n{self.said()}'
            time.sleep(0.02)

    def said(self) -> str:
        """Returns what was printed until now."""
        return self.output.read_text(errors='replace')

    def send(self, pauses: Sequence[float], number: signal.Signals = INTERRUPT) -> int:
        """Sends a signal, and again after each pause; returns the exit code."""
        self.process.send_signal(number)
        for pause in pauses:
            time.sleep(pause)
            self.process.send_signal(number)
        return self.process.wait(60)

    def saved_step(self) -> int:
        """Returns the step of the newest checkpoint of the first stage; 0 without one."""
        folders = sorted((self.made.directory.path / 'stages' / 'rpn_1' / 'checkpoints').glob('step-*'))
        for folder in folders:
            files.verify_folder(folder)
        return int(folders[-1].name.removeprefix('step-')) if folders else 0


@pytest.fixture
def started(tmp_path: pathlib.Path) -> Iterator[list[Run]]:
    """Runs that a test starts; what is left of them is ended."""
    runs: list[Run] = []
    yield runs
    for run in runs:
        run.process.kill()
        run.process.wait()


def _start(started: list[Run], folder: pathlib.Path, seconds: float) -> Run:
    started.append(Run(folder, seconds))
    started[-1].wait_for('rpn_1: 2/8')
    return started[-1]


def test_the_first_says_at_once_what_it_does_and_what_a_second_would_do(tmp_path: pathlib.Path, started: list[Run]) -> None:
    run = _start(started, tmp_path, seconds=1.5)
    run.process.send_signal(INTERRUPT)
    run.wait_for('without', seconds=1.4)  # Before the step that is under way has ended.
    assert run.process.wait(60) == 130
    said = ' '.join(run.said().split())
    assert 'sav' in said and 'Traceback' not in said
    assert run.saved_step() >= 3


@pytest.mark.parametrize('number', [INTERRUPT, TERMINATE])
def test_one_signal_saves_what_was_done(tmp_path: pathlib.Path, started: list[Run], number: signal.Signals) -> None:
    run = _start(started, tmp_path, seconds=0.3)
    assert run.send([], number) == 130
    assert run.saved_step() >= 2
    assert run.made.actions()['rpn_1'] == 'resume'


@pytest.mark.parametrize('pauses', [[0.1], [0.01, 0.01, 0.01, 0.01]], ids=['double', 'five'])
def test_a_nervous_press_counts_as_one(tmp_path: pathlib.Path, started: list[Run], pauses: list[float]) -> None:
    run = _start(started, tmp_path, seconds=1.2)
    assert run.send(pauses) == 130
    assert run.saved_step() >= 3
    assert 'Traceback' not in run.said()


@pytest.mark.parametrize('pauses', [[2.3], [2.3, 0.05]], ids=['two', 'three'])
def test_another_after_a_while_ends_at_once_and_what_was_saved_before_is_whole(
    tmp_path: pathlib.Path, started: list[Run], pauses: list[float]
) -> None:
    run = _start(started, tmp_path, seconds=4)
    assert run.send(pauses) == 130
    assert run.saved_step() == 0  # The third step had not ended: the signal did not wait for it.
    assert 'Traceback' not in run.said()


def test_one_before_the_first_stage_is_no_traceback(tmp_path: pathlib.Path, started: list[Run]) -> None:
    started.append(Run(tmp_path, seconds=1))
    started[0].wait_for('4 of 4 stages to do')
    assert started[0].send([]) == 130
    assert 'Traceback' not in started[0].said()
