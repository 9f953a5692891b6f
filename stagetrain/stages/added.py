"""The losses that a stage adds to its network's own, with the earlier networks that they compare with.

    added = build_added(pipeline, stage, network, job.teachers)
    added.losses['imitation'](batch, teacher_batch(batch))

A teacher is built beside the stage's network, loaded from its stage's checkpoint and put into inference mode before anything is
traced; nothing of it trains, is averaged or is saved.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from stagetrain.config import losses, specs
from stagetrain.config.stages import earlier_stages, spec_of
from stagetrain.detectors.detector import Network
from stagetrain.images.network_input import Batch
from stagetrain.pipeline.records import VariableOrigin
from stagetrain.stages.network import Origins, build_network
from stagetrain.weights import assign, names

AddedLoss = Callable[[Batch, Batch], tf.Tensor]
"""(the stage's batch, which holds the features that its heads read; the teacher's batch) -> float32 scalar."""


@dataclasses.dataclass(frozen=True)
class Added:
    """What a stage adds to its network."""

    losses: Mapping[str, AddedLoss]
    variables: Mapping[str, tf.Variable]
    """`<term>.teacher/<canonical name>` -> variable of a teacher: frozen, and so proved to be."""
    lineage: Mapping[str, VariableOrigin]
    """The same names -> where each value came from."""


NOTHING = Added({}, {}, {})


def build_added(pipeline: Any, stage: Any, stage_id: str, network: Network, teachers: Mapping[str, Origins] | None) -> Added:
    """Builds the losses that a stage adds.

    Args:
      pipeline: the whole pipeline.
      stage: the stage.
      stage_id: its id.
      network: the stage's own, built before: a teacher must not change its initial values.
      teachers: term -> origins of the teacher's modules; None: they keep their initial values, to look at names and costs.

    Raises:
      WeightsError: a teacher cannot be loaded.
    """
    found: dict[str, AddedLoss] = {}
    variables: dict[str, tf.Variable] = {}
    lineage: dict[str, VariableOrigin] = {}
    for term, settings in losses.added_by(stage).items():
        teacher = None
        if losses.loss(term).has_teacher:
            maker = earlier_stages(pipeline, stage_id)[settings.origin].stage
            teacher = build_network(pipeline, maker, losses.loss(term).teacher_modules(spec_of(pipeline, maker)))
            loaded = assign.initialise(teacher.modules, (teachers or {}).get(term, {}))
            for leaf in names.leaves(teacher.modules):
                leaf.layer.trainable = False
            variables |= {f'{term}.teacher/{name}': value for name, value in names.named_variables(teacher.modules).items()}
            lineage |= {f'{term}.teacher/{name}': origin for name, origin in loaded.items()}
        found[term] = specs.load_implementation(losses.loss(term).implementation)(network, teacher, settings)
    return Added(found, variables, lineage)


def teacher_batch(batch: Batch) -> Batch:
    """Returns a batch without what is stored or computed of the stage's own network: a teacher computes its own."""
    other = batch.copy()
    other.pop('features', None)
    return other
