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

from stagetrain.config import metric_names
from stagetrain.pipeline.planned import SKIP, Plan


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
class Measuring(Event):
    """How fast this machine carries stages out is measured, for lengths that depend on it."""

    stages: tuple[str, ...]


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


def described(event: Event) -> str | None:
    """Returns an event as one line; None for one that another event or the error that ends the run describes."""
    if isinstance(event, Planned):
        return _headline(event)
    if isinstance(event, Checking):
        return 'checking all stages against the names of the variables'
    if isinstance(event, Measuring):
        what = ', '.join(event.stages)
        return f'measuring how fast this machine carries out {what}: about 20 s for each where nothing else runs'
    if isinstance(event, Remark):
        return event.text
    if isinstance(event, Started | Skipped):
        return f'{event.job}: {event.reason}'
    if isinstance(event, Note):
        return f'{event.job}: {"WARNING: " if event.is_warning else ""}{event.text}'
    if isinstance(event, Progress):
        return f'{event.job}: {event.step}/{event.num_steps} {values_text(event.values)}'
    if isinstance(event, Finished):
        return f'{event.job}: finished in {event.seconds:.1f} s{_brief(event.metrics)}'
    return None


def values_text(values: Mapping[str, float | None]) -> str:
    """Returns losses or metrics as they are shown beside a step."""
    return ' '.join(f'{key} {"not measured" if value is None else f"{value:.4g}"}' for key, value in values.items())


def _brief(metrics: Mapping[str, float | None]) -> str:
    shown = {name: metrics.get(name) for name in metric_names.BRIEF}
    return ''.join(f', {name} {value:.3f}' for name, value in shown.items() if value is not None)


def _headline(event: Planned) -> str:
    plan = event.plan
    selected = [stage for stage in plan.stages if stage.selected]
    waiting = [stage for stage in selected if stage.action != SKIP]
    what = f'{len(waiting)} of {len(selected)} stages to do' if waiting else f'all {len(selected)} stages are up to date'
    bad = plan.facts.num_bad_train + plan.facts.num_bad_validation
    skipped = f', {bad} bad items left out' if bad else ''
    return f'{event.run_dir}: {what}; {plan.facts.num_train} training and {plan.facts.num_validation} validation images{skipped}'


def nobody(event: Event) -> None:
    """Listens to nothing."""
    del event
