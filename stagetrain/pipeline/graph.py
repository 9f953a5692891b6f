"""The stages of a pipeline file as a graph: who starts from whom.

sources  imagenet ------+--------------------+
                        v                    v
stages                rpn_1 --proposals--> detector_1 --init--> rpn_2 --init--> detector_2

graph = build_graph(pipeline)
graph.ancestors('detector_1')        # ('rpn_1',)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

from stagetrain.config import artefacts, losses, schema, stage_kinds
from stagetrain.config.stages import all_stages, stage_modules
from stagetrain.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a module of a stage starts from: `stage` (by id), a source's kind (by the source's name), or `fresh`."""

    kind: str
    name: str
    skip_mismatch: bool = False
    by_class_name: bool = False
    """Whether the numbers of each class are taken by its name."""


@dataclasses.dataclass(frozen=True)
class StageNode:
    """One stage: its id, its modules with their origins, and what it reads of other stages."""

    id: str
    stage: schema.Stage
    variant: str | None
    modules: tuple[str, ...]
    origins: Mapping[str, Origin]
    reads: Mapping[str, str]
    """Kind of artefact -> id of the stage that it is made of."""
    teachers: Mapping[str, str]
    """Loss term -> id of the stage whose network it compares with."""
    made_of: tuple[str, ...] = ()
    """Ids of the stages whose whole results it is made of; then `origins` is empty."""

    @property
    def parents(self) -> tuple[str, ...]:
        """The ids of the stages that this one needs, each once."""
        ids = [origin.name for origin in self.origins.values() if origin.kind == 'stage']
        return tuple(dict.fromkeys([*ids, *self.reads.values(), *self.teachers.values(), *self.made_of]))


@dataclasses.dataclass(frozen=True)
class Graph:
    """All stages of a pipeline by id, in an order in which each stands behind those it needs."""

    pipeline: schema.PipelineBase
    nodes: Mapping[str, StageNode]

    def modules(self) -> tuple[str, ...]:
        """Returns the modules of all stages, each once."""
        return tuple(dict.fromkeys(module for node in self.nodes.values() for module in node.modules))

    def ancestors(self, stage_id: str) -> tuple[str, ...]:
        """Returns every stage that `stage_id` builds on, directly or not, in order."""
        needed = set(self.nodes[stage_id].parents)
        for candidate in reversed(list(self.nodes)):
            if candidate in needed:
                needed.update(self.nodes[candidate].parents)
        return tuple(candidate for candidate in self.nodes if candidate in needed)


def build_graph(pipeline: schema.PipelineBase) -> Graph:
    """Returns the graph of a checked pipeline: its own stages first, then those of its variants.

    A name in a variant means that variant's own earlier stage before it means a stage of the pipeline.
    """
    nodes: dict[str, StageNode] = {}
    for stage_id, stage, variant in all_stages(pipeline):
        nodes[stage_id] = _node(pipeline, stage_id, stage, variant, nodes)
    return Graph(pipeline, nodes)


def num_steps(train: schema.Train, num_images: int) -> int:
    """Returns the optimizer steps of a stage over `num_images` training images; a started batch counts as one.

    Raises:
      ConfigError: more epochs than steps can be counted.
    """
    if train.steps is not None:
        return train.steps
    assert train.epochs is not None
    steps = max(1, math.ceil(train.epochs * num_images / train.batch_size))
    if steps > schema.MAX_STEPS:
        raise ConfigError(f'train.epochs: {train.epochs} are {steps} steps; expected epochs of at most {schema.MAX_STEPS} steps')
    return steps


def _node(
    pipeline: schema.PipelineBase, stage_id: str, stage: schema.Stage, variant: str | None, earlier: Iterable[str]
) -> StageNode:
    modules = tuple(stage_modules(pipeline, stage))
    known = set(earlier)
    made_of = tuple(_stage_id(name, variant, known) for name in stage_kinds.made_of(stage))
    origins = {} if made_of else {module: _origin(pipeline, stage.init.get(module), variant, known) for module in modules}
    reads = {kind: _stage_id(settings.origin, variant, known) for kind, settings in artefacts.read_by(stage).items()}
    teachers = {term: _stage_id(name, variant, known) for term, name in losses.teachers_of(stage).items()}
    return StageNode(stage_id, stage, variant, modules, origins, reads, teachers, made_of)


def _origin(pipeline: schema.PipelineBase, init: schema.Init | None, variant: str | None, known: set[str]) -> Origin:
    if init is None or init.origin == schema.FRESH:
        return Origin('fresh', schema.FRESH)
    stage_id = _stage_id(init.origin, variant, known)
    if stage_id in known:
        return Origin('stage', stage_id, init.skip_mismatch)
    return Origin(pipeline.sources[init.origin].kind, init.origin, init.skip_mismatch, init.classes == 'by_name')


def _stage_id(name: str, variant: str | None, known: set[str]) -> str:
    own = f'{variant}.{name}'
    return own if variant is not None and own in known else name
