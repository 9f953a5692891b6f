"""Answers: what a child says while it works and what it gives at the end, as types; `jobs` has what it was asked to do.

    emit(progress(step=200, num_steps=600, values={'rpn_score': 0.12}))
    emit(note('features disk: the output of decoder is fixed'))

A child writes JSON lines on the file descriptor that STAGETRAIN_EVENTS_FD names: any number of `ProgressMessage`,
`NoteMessage` and `LogMessage`, and last a `DoneMessage` or a `FailedMessage`. `pipeline.lock` keeps the results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

Metrics = Mapping[str, float | None]
"""Name of a metric -> fraction in [0, 1] (an experiment's: as its task measures); None where there was nothing to measure on."""


class ProgressMessage(TypedDict):
    """A job reports a step; an evaluation within a stage reports its metrics so."""

    event: Literal['progress']
    step: int
    num_steps: int
    values: Metrics
    """Losses, the learning rate, or metrics."""


class NoteMessage(TypedDict):
    """A line for the ledger."""

    event: Literal['note']
    text: str


class LogMessage(TypedDict):
    """A line of the job's log that flags of absl show to the person; the worker shows it."""

    event: Literal['log']
    text: str


class DoneMessage(TypedDict):
    """The last message of a job that ended well."""

    event: Literal['done']
    result: Mapping[str, Any]


class FailedMessage(TypedDict):
    """The last message of a job that did not."""

    event: Literal['failed']
    message: str
    exit_code: int


Message = ProgressMessage | NoteMessage
"""What a job says while it works."""
Emit = Callable[[Message], None]
"""Takes what a job says."""
ShouldStop = Callable[[], bool]
"""Whether to save and stop; asked between steps."""


def progress(step: int, num_steps: int, values: Metrics | None = None) -> ProgressMessage:
    """Returns the report of a step."""
    return {'event': 'progress', 'step': step, 'num_steps': num_steps, 'values': values or {}}


def note(text: str) -> NoteMessage:
    """Returns a line for the ledger."""
    return {'event': 'note', 'text': text}


class Weights(TypedDict):
    """Weights that a stage keeps."""

    checkpoint: str
    """Folder of the checkpoint, relative to the run directory."""
    digests: Mapping[str, str]
    """Module -> SHA-256 over the names and digests of its variables."""


class BestWeights(Weights):
    """The weights with the best evaluation."""

    step: int


class FeaturesResult(TypedDict):
    """Stored features that a stage read."""

    mode: str
    """`memory` or `disk`."""
    cut: str
    """What was computed in advance, in words."""
    bytes: int
    fingerprint: str
    seconds: float
    """That making or opening them took."""


class _Marks(TypedDict, total=False):
    """Keys that few results have."""

    extended: list[str]
    """What an undisturbed run would have done otherwise in steps that were kept."""


class StageResult(Weights, _Marks):
    """What training a stage gives; `checkpoint` and `digests` are of the weights that it hands over."""

    step: int
    """Steps done; fewer than asked for where early stopping ended it."""
    num_images: int
    """Images seen, each as often as it was seen."""
    seconds: float
    """Over all sessions."""
    seconds_by_part: Mapping[str, float]
    """`training`, `evaluation`, `checkpoints`, `proofs`, and `features` where there are."""
    evaluation_seconds: float
    num_trained_parameters: int
    metrics: Metrics
    """As in `evaluation.json`."""
    best: BestWeights | None
    features: FeaturesResult | None


class ArtefactResult(TypedDict):
    """What making an artefact gives; a kind may add keys."""

    folder: str
    """Absolute, at the time it was made."""
    digest: str
    """Of the committed folder's manifest."""
    num_images: int
    seconds: float


class ProposalsResult(ArtefactResult):
    """What making proposals gives."""

    recall: Metrics
    """Of the validation set's."""
