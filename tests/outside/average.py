"""A kind of stage from outside the package: a "model soup" (Wortsman et al. 2022), the mean of the variables of finished stages.

- {name: soup, kind: average, of: [detector_1, detector_2]}

What is bit for bit alike in all of them stays as it is, for a mean of equal numbers may round; so does what is no float.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pydantic

from stagetrain.config import options, stage_kinds


class Average(options.Strict):
    """The keys of such a stage."""

    of: Annotated[list[str], pydantic.Field(min_length=2)]
    """The stages whose variables are averaged; modules that not all of them hold are left out."""


def make(job: Any, emit: Any, should_stop: Any) -> Any:
    """Carries the stage out; see `StageKind`."""
    from stagetrain.training.kinds import make_stage

    return make_stage(job, emit, should_stop, mean)


def mean(name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns what a variable becomes, given its value in each stage, by the stage's id."""
    first, *others = values.values()
    if not np.issubdtype(first.dtype, np.floating) or all(first.tobytes() == other.tobytes() for other in others):
        return first
    return np.mean([value.astype(np.float64) for value in values.values()], axis=0).astype(first.dtype)


stage_kinds.register_stage_kind(
    stage_kinds.StageKind(
        name='average',
        settings=Average,
        implementation=f'{__name__}:make',
        made_of=lambda settings: tuple(settings.of),
        describe=lambda settings: f'the mean of the variables of {", ".join(settings.of)}',
    )
)
