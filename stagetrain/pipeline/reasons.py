"""Why a stage runs, goes on, is skipped or refused: a kind to decide by, and a text for people.

reason = stale('train.steps: 600 -> 50')
reason.kind, str(reason)                 # Because.STALE, 'stale: train.steps: 600 -> 50'
"""

from __future__ import annotations

import dataclasses
import enum


class Because(enum.Enum):
    """What is the case."""

    UP_TO_DATE = enum.auto()
    NOT_RUN = enum.auto()
    """Nobody has begun it, or nothing of it was saved."""
    LOST = enum.auto()
    """What it gave is gone or damaged."""
    STALE = enum.auto()
    """It was made of something else."""
    STALE_METRICS = enum.auto()
    """It is trained; what it was measured on changed."""
    ASKED = enum.auto()
    """The command asks for it."""
    PENDING = enum.auto()
    """What it starts from has yet to run."""
    HALF_DONE = enum.auto()
    """It goes on behind its newest checkpoint."""
    HALF_DONE_AND_CHANGED = enum.auto()
    """Going on would mix two configs."""
    OTHER_LENGTH = enum.auto()
    """It is finished, and goes on from what it has to another last step."""


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why something happens to a stage or an artefact."""

    kind: Because
    text: str
    changes: str = ''
    """What differs, in words, where that is why it is stale."""

    def __str__(self) -> str:
        return self.text


NOT_RUN = Reason(Because.NOT_RUN, 'not run yet')


def stale(changes: str, offer: str = '') -> Reason:
    """Returns that something was made of other things than now; `offer` says what else could be done about it."""
    return Reason(Because.STALE, f'stale: {changes}{offer}', changes)
