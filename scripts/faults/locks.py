"""Processes that race for one run directory while holders, and those that take over from them, are killed: exactly one writes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import signal
from collections.abc import Iterator

from scripts.campaign_processes import Forked, KillAt, arm, kill
from stagetrain.errors import RunDirectoryError
from stagetrain.pipeline.rundir import RunDirectory

NUM_RACERS = 3
CALLS_OF_A_TAKE_OVER = 5
HOLDS, REFUSED, GONE = b'h', b'r', b''


class _Racer:
    """A process that tries to hold a run directory, says whether it does, and holds it until it is told or killed."""

    def __init__(self, folder: pathlib.Path, killed_at: int | None = None) -> None:
        self._told_read, self._told = os.pipe()
        self._said, self._said_write = os.pipe()
        self._process = Forked(lambda: self._race(folder, killed_at))
        os.close(self._told_read)
        os.close(self._said_write)

    def _race(self, folder: pathlib.Path, killed_at: int | None) -> int:
        os.close(self._told)
        os.close(self._said)
        os.read(self._told_read, 1)
        arm(None if killed_at is None else KillAt('racer', killed_at, after=False), 'racer')
        try:
            with RunDirectory(folder).writing():
                os.write(self._said_write, HOLDS)
                os.read(self._told_read, 1)
        except RunDirectoryError:
            os.write(self._said_write, REFUSED)
        return 0

    def go(self) -> None:
        """Starts the race, or ends holding."""
        os.write(self._told, b'.')

    def answer(self) -> bytes:
        """Returns HOLDS, REFUSED, or GONE when it was killed before it held."""
        return os.read(self._said, 1)

    def end(self, number: signal.Signals | None = None) -> None:
        """Ends the process, with a signal or by telling it."""
        if number is not None:
            kill(self._process.pid, number)
        with contextlib.suppress(BrokenPipeError):  # It has ended.
            self.go()
        os.close(self._told)
        self._process.wait(30)
        os.close(self._said)


def races(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each race; the holder of about a third is killed, and the next race must have a holder again."""
    folder = work / 'run'
    for _ in range(count):
        racers = [_Racer(folder) for _ in range(NUM_RACERS)]
        for racer in draw.sample(racers, NUM_RACERS):
            racer.go()
        answers = [racer.answer() for racer in racers]
        yield [] if sorted(answers) == [HOLDS, REFUSED, REFUSED] else [f'the racers said {answers}']
        killed = draw.random() < 0.3
        for racer, answer in zip(racers, answers, strict=True):
            racer.end(signal.SIGKILL if killed and answer == HOLDS else None)


def take_overs(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each trial: a holder is killed, and who takes over at one of its calls; the third one must hold."""
    folder = work / 'run'
    for number in range(count):
        holder = _Racer(folder)
        holder.go()
        found = [] if holder.answer() == HOLDS else [f'trial {number}: the first one did not get it']
        holder.end(signal.SIGKILL)
        follower = _Racer(folder, killed_at=number % CALLS_OF_A_TAKE_OVER + 1)
        follower.go()
        draw_of_follower = follower.answer()
        follower.end(signal.SIGKILL)
        third = _Racer(folder)
        third.go()
        if (answer := third.answer()) != HOLDS:
            found.append(f'trial {number}: behind a follower that said {draw_of_follower!r} the third one said {answer!r}')
        third.end(draw.choice((None, signal.SIGKILL)))
        yield found
