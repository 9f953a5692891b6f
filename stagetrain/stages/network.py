"""The network of a stage: built from its options, loaded from its origins, divided into what trains and what rests.

    built = stage_network(pipeline, stage, 'rpn_2', origins)
    built.network.losses(batch, built.loss_weights), built.roles.trained, built.lineage

Whoever needs a stage's network comes here: training, the check before the first step, estimates, artefacts, inference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from stagetrain.config import schema, scopes, specs, stage_kinds
from stagetrain.config.stages import live_losses, model_as_built, seed_of, stage_modules
from stagetrain.detectors.detector import Network
from stagetrain.devices.setup import readable_statistics
from stagetrain.images import randomness
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.pipeline.records import VariableOrigin
from stagetrain.stages.roles import freeze_layers, select_variables, step_multipliers
from stagetrain.weights import assign, names

NEW = 'new'
"""What a layer starts from that surgery put in, where the rest of its module comes from a published file."""
Origins = Mapping[str, ModuleOrigin]
"""Module -> where its weights are."""


@dataclasses.dataclass(frozen=True)
class StageNetwork:
    """A stage's network before its first step; layers that train nothing are in inference mode."""

    network: Any
    loss_weights: Mapping[str, float]
    """Live terms only."""
    roles: scopes.Roles
    multipliers: Mapping[str, float]
    """Trained variable -> what its steps are multiplied by, where that is not 1."""
    lineage: Mapping[str, VariableOrigin]
    """Canonical name -> where the variable came from."""
    variables: Mapping[str, tf.Variable]
    """By canonical name."""

    @property
    def trained(self) -> list[tf.Variable]:
        """What the optimizer moves."""
        return [self.variables[name] for name in self.roles.trained]

    @property
    def updated(self) -> list[tf.Variable]:
        """Statistics that the forward pass moves."""
        return [self.variables[name] for name in self.roles.updated]


def build_network(pipeline: schema.PipelineBase, stage: schema.Stage, modules: tuple[str, ...] | None = None) -> Any:
    """Builds a stage's network, mostly a `Detector`, with its initial values, in the scope of a strategy if there is one.

    Args:
      pipeline: the pipeline.
      stage: one of its stages; its network and its seed count.
      modules: those to build; by default those that the stage holds.
    """
    model = model_as_built(pipeline, stage)
    build = specs.load_implementation(specs.spec_of(model).implementation)
    seed = randomness.initial_values_seed(seed_of(pipeline, stage))
    with readable_statistics():
        return build(model, len(pipeline.data.classes), modules or stage_modules(pipeline, stage), seed)


def loaded_network(pipeline: schema.PipelineBase, stage: schema.Stage, origins: Origins) -> Any:
    """Builds the modules that `origins` name and loads them; raises `WeightsError` where that fails."""
    network = build_network(pipeline, stage, tuple(origins))
    assign.initialise(network.modules, origins)
    return network


def stage_network(
    pipeline: schema.PipelineBase, stage: schema.Stage, stage_id: str, origins: Origins | None = None
) -> StageNetwork:
    """Builds and loads a stage's network, and puts layers that train nothing into inference mode.

    Must run before the first trace: afterwards that changes nothing in functions that were traced.

    Args:
      pipeline: the pipeline.
      stage: one of its stages.
      stage_id: its id, for errors.
      origins: where weights are; None: nothing is read, and what has an origin in the pipeline file counts as loaded.

    Raises:
      ConfigError: see `roles_of`.
      WeightsError: a source cannot be read, lacks a variable, or has it in another shape.
    """
    network = build_network(pipeline, stage)
    lineage = assign.initialise(network.modules, origins or {})
    is_fresh = None if origins is None else lambda name: lineage[name]['kind'] == schema.FRESH
    roles, multipliers = roles_of(pipeline, stage, stage_id, network, is_fresh)
    freeze_layers(network.modules, roles)
    return StageNetwork(network, live_losses(stage), roles, multipliers, lineage, names.named_variables(network.modules))


def roles_of(
    pipeline: schema.PipelineBase,
    stage: schema.Stage,
    stage_id: str,
    network: Network,
    is_fresh: Callable[[str], bool] | None = None,
) -> tuple[scopes.Roles, dict[str, float]]:
    """Returns what a stage does to each variable, and what the steps of trained ones are multiplied by where that is not 1.

    Args:
      pipeline: the pipeline.
      stage: one of its stages.
      stage_id: its id, for errors.
      network: holds the stage's modules, and perhaps more.
      is_fresh: whether a variable, by canonical name, keeps its random initial value; by default as the pipeline file says.

    Raises:
      ConfigError: see `select_variables` and `step_multipliers`.
    """
    if not stage_kinds.trains(stage):
        held = {name: network.modules[name] for name in stage_modules(pipeline, stage)}
        return scopes.Roles((), (), tuple(names.named_variables(held))), {}
    place = f'stages.{stage_id}'
    known = is_fresh or (lambda name: origin_of(pipeline, stage, network, name) in (schema.FRESH, NEW))
    roles = select_variables(network, stage, stage_modules(pipeline, stage), place, known)
    return roles, step_multipliers(stage.train.learning_rate_multipliers, roles.trained, place)


def origin_of(pipeline: schema.PipelineBase, stage: schema.Stage, network: Network, name: str) -> str:
    """Returns what a variable starts from, as far as that is known before the source is read: its name, `fresh` or `new`."""
    module = name.split('/')[0]
    origin = stage.init[module].origin if module in stage.init else schema.FRESH
    source = pipeline.sources.get(origin)
    is_published = source is not None and source.kind != 'run'
    return NEW if is_published and assign.is_new(network.modules[module], name) else origin
