"""Artefacts: what one stage makes for another, by registered kinds, described without importing TensorFlow.

    register_artefact(ArtefactSpec('pseudo_labels', PseudoLabels, implementation='my_package.pseudo_labels:make', ...))

A kind is a key of a stage (`pseudo_labels: {from: teacher}`), a table of `pipeline.lock` and a folder below `stores/`. The plan,
the runner, `verify` and `clean` know kinds only through their specs. An artefact is made by a job of its own before the first
stage that reads it, or, where a spec has no `implementation`, by the stage that reads it.
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


class ArtefactSettings(Strict):
    """What a stage says of an artefact that it reads; a kind adds settings of its own."""

    model_config = pydantic.ConfigDict(populate_by_name=False)

    origin: str = pydantic.Field(alias='from')
    """The stage whose result makes it."""


@dataclasses.dataclass(frozen=True)
class ArtefactSpec:
    """A kind of artefact."""

    name: str
    settings: type[Strict]
    """The type of the stage's key; an `ArtefactSettings` where a job makes the artefact."""
    implementation: str = ''
    """Place of `make(job, emit, should_stop) -> result` (see `pipeline/jobs.py`), which commits the folder that the job names.
    Empty: the stage that reads it makes it."""
    reader: str = ''
    """Place of a `stagetrain.stores.reader.ArtefactReader`: what a training stage gets of a committed folder."""
    modules: Callable[[DetectorSpec], tuple[str, ...]] = lambda spec: ()
    """Given the spec of the network that makes it: the modules whose weights decide the content."""
    any_network: bool = False
    """Whether the stage that makes it may train another network of the pipeline than the stage that reads it."""
    reads_data: tuple[str, ...] = ('train', 'validation')
    """The data sets of the pipeline that decide the content."""
    inputs: Callable[[Any], tuple[str, ...]] = lambda settings: ()
    """Given the settings: further files that decide the content, as paths or patterns."""
    paths: tuple[str, ...] = ()
    """Settings that are paths; relative ones start from the folder of the pipeline file."""
    rules: str = ''
    """Place of `problems(pipeline, entry, settings) -> Iterator[(path, text)]`: rules of this kind. That `from` names
    an earlier stage that holds `modules` is checked for all kinds."""
    describe: str = ''
    """Place of `describe(pipeline, stage, num_images) -> str | None`: the plan's line, where no job makes the artefact."""
    seconds: str = ''
    """Place of `seconds(context) -> float`: about what making it for the whole data set takes, measured on a part of it;
    `context` is that of the reading stage. Empty: budgets of time leave it out."""

    @property
    def has_job(self) -> bool:
        """Whether a job of its own makes the artefact."""
        return bool(self.implementation)


_specs: Registry[ArtefactSpec] = Registry()
register_artefact, artefact, kinds = _specs.register, _specs.named, _specs.kinds
"""The first makes a stage's key `NAME` valid."""


def read_by(stage: Any) -> Mapping[str, Any]:
    """Returns kind -> settings of the artefacts that jobs make for a stage."""
    found = {spec.name: getattr(stage, spec.name, None) for spec in kinds() if spec.has_job}
    return {name: settings for name, settings in found.items() if settings is not None}
