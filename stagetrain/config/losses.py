"""Losses that are added to a network's own, by registered kinds, described without importing TensorFlow.

    register_loss(LossSpec('imitation', Imitation, implementation='my_package.imitation:Imitate', modules=...))

A registered loss is a term of `loss_weights` in every stage whose `losses` gives its settings:

    loss_weights: {imitation: 0.5, rpn_score: 1.0, rpn_box: 1.0}
    losses: {imitation: {from: teacher}}

Where its settings have a `from`, the network of that earlier stage is built beside the stage's own, loaded and frozen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pydantic

from stagetrain.config.options import Strict
from stagetrain.config.registry import Registry

if TYPE_CHECKING:
    from stagetrain.config.specs import DetectorSpec


class TeacherSettings(Strict):
    """What a stage says of a loss that compares with an earlier stage's network; a loss adds settings of its own."""

    model_config = pydantic.ConfigDict(populate_by_name=False)

    origin: str = pydantic.Field(alias='from')
    """The earlier stage whose network is the teacher."""


@dataclasses.dataclass(frozen=True)
class LossSpec:
    """A loss."""

    name: str
    """The term."""
    settings: type[Strict]
    """The type of its key under `losses`; a `TeacherSettings` where it has a teacher."""
    implementation: str
    """Place of `build(network, teacher, settings) -> loss`; `loss` is called with a batch and the teacher's batch (see
    `stagetrain.stages.added`) and returns a float32 scalar. `teacher` is None where the settings have no `from`."""
    modules: Callable[[DetectorSpec], tuple[str, ...]]
    """Given the spec of the stage's network: the modules that the loss depends on."""
    teacher_modules: Callable[[DetectorSpec], tuple[str, ...]] = lambda spec: ()
    """Given the spec of the teacher's network: the modules that it needs."""

    @property
    def has_teacher(self) -> bool:
        """Whether it compares with an earlier stage's network."""
        return issubclass(self.settings, TeacherSettings)


_specs: Registry[LossSpec] = Registry()
register_loss, loss, kinds = _specs.register, _specs.named, _specs.kinds
"""The first makes a stage's `losses: {NAME: ...}` valid."""


def added_by(stage: Any) -> Mapping[str, Any]:
    """Returns term -> settings of the losses that a stage adds to its network's own and gives a weight above 0."""
    given = getattr(stage, 'losses', None)
    settings = {spec.name: getattr(given, spec.name, None) for spec in kinds()}
    return {name: value for name, value in settings.items() if value is not None and stage.loss_weights.get(name, 0) > 0}


def teachers_of(stage: Any) -> Mapping[str, str]:
    """Returns term -> name of the stage whose network it compares with."""
    return {name: settings.origin for name, settings in added_by(stage).items() if loss(name).has_teacher}
