"""What signals mean to a run, and what is said at once."""

from __future__ import annotations

import dataclasses

import pytest

from stagetrain.pipeline import stopping
from stagetrain.pipeline.stopping import END, SAME, SAVE, Stop


@dataclasses.dataclass
class Clock:
    """A clock that stands still."""

    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


def meanings(*times: float) -> list[str]:
    clock = Clock()
    stop = Stop(clock)
    found = []
    for clock.seconds in times:
        found.append(stop.ask())
    return found


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        ((5.0,), [SAVE]),
        ((5.0, 5.1), [SAVE, SAME]),
        ((5.0, 6.0, 6.99), [SAVE, SAME, SAME]),
        ((5.0, 7.0), [SAVE, END]),
        ((5.0, 5.1, 7.1, 7.2), [SAVE, SAME, END, END]),
        ((0.0, 2.5), [SAVE, END]),
    ],
)
def test_presses_within_two_seconds_of_the_first_count_as_one(times: tuple[float, ...], expected: list[str]) -> None:
    assert meanings(*times) == expected


def test_a_stop_is_asked_for_from_the_first_signal_on() -> None:
    stop = Stop(Clock())
    assert not stop.is_asked
    stop.ask()
    assert stop.is_asked


SECOND = ' A second Ctrl-C, 2 s from now or later, ends without saving.'


@pytest.mark.parametrize(
    ('work', 'said'),
    [
        (
            stopping.training('rpn_1', 40, 600),
            f'saving rpn_1 behind its present step (step 40 of 600 was reported last).{SECOND}',
        ),
        (stopping.training('rpn_1', 0, None), f'saving rpn_1: it stops as soon as its present step is done.{SECOND}'),
        (stopping.training('rpn_1', 8, 8), f'saving step 8 of rpn_1, its last one; it is evaluated when it goes on.{SECOND}'),
        (
            stopping.making('proposals of rpn_1', 256, 584),
            f'proposals of rpn_1: stopping when their present part is saved (256 of 584 were reported last).{SECOND}',
        ),
        (stopping.BETWEEN_JOBS, 'stopping before the next job begins; all that is done is saved.'),
        (stopping.CHECKING, 'stopping in the check of names; nothing was begun yet.'),
    ],
)
def test_what_a_stop_does_is_said_with_what_a_second_one_would_do(work: stopping.Work, said: str) -> None:
    assert str(work) == said


def test_a_line_is_written_at_once_and_past_all_buffers(capfd: pytest.CaptureFixture[str]) -> None:
    stopping.say('saving step 3 of r\u00e9sum\u00e9')
    assert capfd.readouterr().err in (
        'stagetrain: saving step 3 of r\u00e9sum\u00e9\n',
        'stagetrain: saving step 3 of r\\xe9sum\\xe9\n',
    )
