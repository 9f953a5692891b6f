"""The network of a stage: built from its options, loaded from its origins, divided into what trains and what rests.

    built = stage_network(pipeline, stage, 'rpn_2', origins)
    built.network.losses(batch, built.loss_weights), built.roles.trained, built.lineage

Whoever needs a stage's network comes here: training, the check before the first step, estimates, artefacts, inference.
"""

from __future__ import annotations

from typing import Any

from stagetrain.config import schema, specs
from stagetrain.config.stages import model_of, seed_of, stage_modules
from stagetrain.images import randomness


def build_network(pipeline: schema.PipelineBase, stage: schema.Stage, modules: tuple[str, ...] | None = None) -> Any:
    """Builds a stage's network, mostly a `Detector`, with its initial values.

    Args:
      pipeline: the pipeline.
      stage: one of its stages; its network and its seed count.
      modules: those to build; by default those that the stage holds.
    """
    model = model_of(pipeline, stage)
    build = specs.load_implementation(specs.spec_of(model).implementation)
    seed = randomness.initial_values_seed(seed_of(pipeline, stage))
    return build(model, len(pipeline.data.classes), modules or stage_modules(pipeline, stage), seed)
