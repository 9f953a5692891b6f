"""What a stage writes into its folder, as types: the JSON of `metrics.jsonl`, `lineage.json` and a checkpoint's `variables.json`.

`run_files` has the names of the files; `answers` has `evaluation.json` as `Metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from stagetrain.pipeline.answers import Metrics

OF_SEVERAL = 'stages'
"""The kind of origin of a variable that was made of several stages."""


class _Step(TypedDict):
    step: int
    """Steps done."""


Rollback = TypedDict('Rollback', {'from': int, 'factor': float})
"""From which step a stage went back, and what the learning rate is multiplied by from there on."""


class MetricsLine(_Step, total=False):
    """A line of `metrics.jsonl`: a report of losses, an evaluation, a batch that was skipped, or a rollback."""

    seconds: float
    """Training time up to here."""
    learning_rate: float
    losses: Mapping[str, float]
    """Live loss term -> its mean since the last report, unweighted; absent where every batch was skipped."""
    regularization: float
    """L2 of what trains, the mean since the last report."""
    evaluation: Metrics
    skipped: str
    """Why the batch was not applied."""
    rollback: Rollback


class _Kind(TypedDict):
    kind: str
    """As of `jobs.ModuleOrigin`; `fresh` for a variable that keeps its initial value; or `OF_SEVERAL`."""


class VariableOrigin(_Kind, total=False):
    """Where a variable came from, in `lineage.json`."""

    stage: str
    path: str
    digest: str
    """Of the module in that stage, or of the file."""
    key: str
    """Under which the source holds it."""
    class_order: Mapping[str, Any]
    """How the numbers of each class were taken by its name."""
    skipped: str
    """Why it is fresh although the source was asked for it."""
    stages: Mapping[str, str]
    """Of several: id of each stage -> digest of the module there."""
    how: str
    """Of several: the kind of the stage that made it of them."""
    new: bool
    """Whether surgery put its layer in, which the source need not have."""


class StoredVariable(TypedDict):
    """A variable of a checkpoint, in `variables.json`."""

    key: str
    """Under which TensorFlow's files hold it."""
    shape: list[int]
    digest: str
    """SHA-256 over type, shape and bytes."""
