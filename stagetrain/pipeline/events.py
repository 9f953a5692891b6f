"""What happens in a run, as values: the runner emits them, and the command line, callbacks and Python programs listen.

    def listen(event: Event) -> None:
        if isinstance(event, Finished):
            print(event.job, event.metrics.get('AP'))

`job` is a stage's id, `<kind> of <id>` where an artefact is made, or None for the run as a whole.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from stagetrain.pipeline.planned import Plan


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened."""

    job: str | None


@dataclasses.dataclass(frozen=True)
class Planned(Event):
    """A run begins."""

    plan: Plan
    run_dir: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Remark(Event):
    """Something of the data that a person should know before the first step."""

    text: str


@dataclasses.dataclass(frozen=True)
class Checking(Event):
    """The scopes and sources of all stages are held against the model's real names."""


@dataclasses.dataclass(frozen=True)
class Skipped(Event):
    """A stage is up to date."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Started(Event):
    """A job begins."""

    reason: str


@dataclasses.dataclass(frozen=True)
class Progress(Event):
    """A job reports a step; an evaluation within a stage reports its metrics so."""

    step: int
    num_steps: int
    values: Mapping[str, float | None]
    """Losses, or metrics; None where a metric could not be measured."""


@dataclasses.dataclass(frozen=True)
class Note(Event):
    """A job says something that goes into the ledger."""

    text: str
    is_warning: bool = False


@dataclasses.dataclass(frozen=True)
class Finished(Event):
    """A job is done and what it left is committed."""

    seconds: float
    """Wall clock, with the start of the process."""
    result: Mapping[str, Any]
    """As the lock holds it: of a stage `metrics`, `checkpoint`, `digests`, ...; of an artefact `folder`, `digest`, ..."""

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """The metrics of a stage; empty for an artefact."""
        return self.result.get('metrics') or {}


@dataclasses.dataclass(frozen=True)
class Ended(Event):
    """A job failed, or was interrupted and has saved."""

    step: int
    """The step of its last report."""
    text: str
    was_interrupted: bool


Listener = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Listens to nothing."""
    del event
