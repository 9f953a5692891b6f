"""What signals mean to a run: the first one has the job at work save and stop, a second one ends it without saving.

stop = Stop()
stop.ask()      # SAVE
stop.ask()      # SAME within two seconds, for a hand that presses twice in haste means it once; END later
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterator

from stagetrain import standard_error

SAVE, SAME, END = 'save', 'same', 'end'
SECONDS_OF_A_DOUBLE_PRESS = 2.0


@dataclasses.dataclass
class Stop:
    """Whether a run was asked to stop, and what each signal means."""

    clock: Callable[[], float] = time.monotonic
    """Seconds."""
    _asked_at: float | None = None

    @property
    def is_asked(self) -> bool:
        """Whether a signal came."""
        return self._asked_at is not None

    def ask(self) -> str:
        """Returns what the signal that has just come means: `SAVE`, `SAME` as the one before it, or `END`."""
        now = self.clock()
        if self._asked_at is None:
            self._asked_at = now
            return SAVE
        return SAME if now - self._asked_at < SECONDS_OF_A_DOUBLE_PRESS else END


class Stopper:
    """Asks a run to stop: from a signal handler, or from any thread."""

    def __init__(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Args: say: takes what is done about it, in words, at once."""
        self._say, self._stop = say, Stop()
        self._receive: Callable[[str, Callable[[str], None]], None] | None = None

    @property
    def is_asked(self) -> bool:
        """Whether `ask` was called."""
        return self._stop.is_asked

    @property
    def is_passed_on(self) -> bool:
        """Whether a run goes on that receives what is asked."""
        return self._receive is not None

    def ask(self) -> None:
        """Has the job at work save and stop; asked again two seconds later or after that, ends it without saving."""
        meaning = self._stop.ask()
        if self._receive is not None:
            self._receive(meaning, self._say)

    @contextlib.contextmanager
    def passing_to(self, receive: Callable[[str, Callable[[str], None]], None]) -> Iterator[None]:
        """Has `receive` called with each meaning and with what takes words, while a run goes on."""
        self._receive = receive
        try:
            yield
        finally:
            self._receive = None


@dataclasses.dataclass(frozen=True)
class Work:
    """What is at work when a signal comes, as far as stopping it goes."""

    on_stop: str
    """What the first signal does to it, in words."""
    saves: bool
    """Whether it has something to save, which takes a moment; what has nothing to save is ended at once."""

    def __str__(self) -> str:
        """What is said to the person who stops it."""
        second = f' A second Ctrl-C, {SECONDS_OF_A_DOUBLE_PRESS:g} s from now or later, ends without saving.'
        return f'{self.on_stop}.{second if self.saves else ""}'


BETWEEN_JOBS = Work('stopping before the next job begins; all that is done is saved', saves=False)
CHECKING = Work('stopping in the check of names; nothing was begun yet', saves=False)
MEASURING = Work('stopping in the measuring of speed; nothing was begun yet', saves=False)
ENDING = 'ending without saving; the same command goes on from the last checkpoint'


def training(name: str, step: int, num_steps: int | None) -> Work:
    """Returns what stopping a stage does.

    Args:
      name: the stage's id.
      step: the step of its last report.
      num_steps: its number of steps; None before its first report.
    """
    if num_steps is None:
        return Work(f'saving {name}: it stops as soon as its present step is done', saves=True)
    if step >= num_steps:
        return Work(f'saving step {num_steps} of {name}, its last one; it is evaluated when it goes on', saves=True)
    return Work(f'saving {name} behind its present step (step {step} of {num_steps} was reported last)', saves=True)


def making(name: str, done: int, total: int | None) -> Work:
    """Returns what stopping a job does that makes `total` rows of what stages read; None before its first report."""
    part = 'stopping when their present part is saved'
    return Work(f'{name}: {part}' if total is None else f'{name}: {part} ({done} of {total} were reported last)', saves=True)


def say(text: str) -> None:
    """Writes a line to standard error at once and past all buffers: where a signal comes, one may be half-way in a write."""
    line = f'stagetrain: {text}\n'
    with contextlib.suppress(OSError, ValueError):  # Nobody listens any more; what was asked for is done all the same.
        if os.isatty(standard_error.fileno()):
            line = f'\r\x1b[K{line}'  # A progress bar may stand in this line.
        os.write(standard_error.fileno(), line.encode(sys.stderr.encoding or 'utf-8', 'backslashreplace'))
