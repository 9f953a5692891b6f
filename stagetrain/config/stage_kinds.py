"""Kinds of stages: how a stage's checkpoint is made, by registered kinds, described without importing TensorFlow.

    register_stage_kind(StageKind('average', Average, 'my_package.average:make', made_of=lambda settings: settings.of))

`kind: train` is the default. A stage of another kind has the keys of every stage (`name`, `kind`, `model`, `require`), those of
its kind's settings, and, where the kind trains, those of training:

    - {name: soup, kind: average, of: [detector_1, detector_2]}

Plan, lock, runner, `verify` and evaluation treat it like every stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from stagetrain.config.options import Strict
from stagetrain.config.registry import Registry

TRAIN = 'train'
"""The kind of a stage that names none."""
COMMON_KEYS = ('name', 'kind', 'model', 'require')
"""Keys of a stage of any kind."""
ONE_STEP = {
    'steps': 1,
    'optimizer': {'type': 'sgd', 'sgd': {}},
    'learning_rate': {'type': 'constant', 'constant': {'learning_rate': 0.0}},
}
"""The `train` of a stage that does not train: its checkpoint is made in one step."""


@dataclasses.dataclass(frozen=True)
class StageKind:
    """A kind of stage."""

    name: str
    settings: type[Strict]
    """The keys of its stages beside the common ones; an optional one has a default."""
    implementation: str
    """Place of `make(job, emit, should_stop) -> result`, which carries out a `pipeline.jobs.StageJob`: it leaves a checkpoint,
    its lineage, the digests of what stayed as it was, and an evaluation. `training.kinds.make_stage` does all but the weights."""
    trains: bool = False
    """Whether its stages have the keys of training too: `init`, scopes, losses, `train`, artefacts."""
    made_of: Callable[[Any], tuple[str, ...]] = lambda settings: ()
    """Given the settings: the earlier stages of the same network whose whole results it is made of, in their order."""
    describe: Callable[[Any], str] = lambda settings: ''
    """Given the settings: the plan's line."""


_specs: Registry[StageKind] = Registry()
register_stage_kind, stage_kind, kinds = _specs.register, _specs.named, _specs.kinds
"""The first makes a stage's `kind: NAME` valid."""


def own_keys(spec: StageKind) -> tuple[str, ...]:
    """Returns the keys that a kind adds to those of a stage."""
    return tuple(spec.settings.model_fields)


def settings_of(stage: Any) -> Any:
    """Returns what a stage says of its kind."""
    spec = stage_kind(stage.kind)
    return spec.settings(**{key: getattr(stage, key) for key in own_keys(spec) if getattr(stage, key) is not None})


def made_of(stage: Any) -> tuple[str, ...]:
    """Returns the names of the earlier stages whose whole results a stage is made of; none where it trains."""
    spec = stage_kind(stage.kind)
    return spec.made_of(settings_of(stage))


def trains(stage: Any) -> bool:
    """Returns whether a stage has optimizer steps."""
    return stage_kind(stage.kind).trains


def does_not_train(name: Any) -> bool:
    """Returns whether a kind, by a name that may be none, is registered and does not train."""
    return isinstance(name, str) and name in _specs and not _specs[name].trains
