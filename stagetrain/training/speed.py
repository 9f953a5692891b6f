"""Measures how fast stages are carried out here: some real steps of each on the pipeline's own images, then thrown away.

    measure(SpeedJob(...).to_json(), emit, should_stop)     # {'rpn_1': {'step': 0.14, 'start': 6.2, 'evaluation': 5.1, ...}}

Networks have their initial values, and proposals and stored features are made up: how long a step takes does not depend on them.
What takes time in proportion to the images (evaluation, making artefacts) is measured on a few of them.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from stagetrain.config import artefacts, load, losses, specs
from stagetrain.config.stages import all_stages, own_terms
from stagetrain.data.annotation import Dataset
from stagetrain.errors import Interrupted
from stagetrain.images import randomness
from stagetrain.images.batches import ReadView
from stagetrain.images.views import Views
from stagetrain.pipeline.answers import Emit, ShouldStop, progress
from stagetrain.pipeline.jobs import SpeedJob, WorkJob
from stagetrain.pipeline.speed import FEATURES, Speed
from stagetrain.stages.context import Context, prepare
from stagetrain.stages.network import StageNetwork
from stagetrain.stores import features
from stagetrain.stores.proposals import PROPOSALS
from stagetrain.training import cost
from stagetrain.training.input import TrainingInput
from stagetrain.training.validation import Validation

WARM_UP = 3
"""Steps that are not counted: the first one traces, and the next ones fill caches."""
LEAST_STEPS, MOST_STEPS, ENOUGH_SECONDS = 6, 200, 2.0
"""Steps are counted until there are so many, and so many seconds, but no more than the second number."""
MOST_IMAGES_IN_ADVANCE = 1000
"""A training set up to this size is prepared in advance, as in a real stage; of a larger one that would take minutes."""
EVALUATED = 16
"""Validation images that are evaluated."""


def measure(job: SpeedJob, emit: Emit, should_stop: ShouldStop) -> dict[str, Any]:
    """Carries out a `SpeedJob`.

    Raises:
      Interrupted: `should_stop` said so, between two stages.
      StagetrainError: a stage cannot be built, or the data cannot be used.
    """
    pipeline = load.load_resolved(job.pipeline).pipeline
    found: dict[str, Any] = {}
    for number, (stage_id, stage, variant) in enumerate(entry for entry in all_stages(pipeline) if entry.id in job.stages):
        if should_stop():
            raise Interrupted('stopped in measuring; the same command measures again')
        emit(progress(number, len(job.stages)))
        resolved = job.pipeline['stages'] if variant is None else job.pipeline['compare'][variant]['stages']
        given = next(value for value in resolved if value['name'] == stage.name)
        found[stage_id] = dataclasses.asdict(_speed(prepare(WorkJob(job.run_dir, job.pipeline, stage_id, given, '', {}, {}))))
    return found


def _speed(context: Context) -> Speed:
    """Returns what one stage takes."""
    built, step = cost.stage_step(context.pipeline, context.id, context.stage, context.strategy)
    if not specs.spec_of(context.model).reads_images:  # It reads files of its own, and is evaluated through its own task.
        return Speed(cost.seconds_of_step(step, cost.made_up_batch(context.pipeline, context.stage, built)), 0.0, 0.0)
    reading = _Reading(context, built)
    start, seconds = _steps(reading.batches(), step)
    first, evaluation = _evaluations(context, built)
    return Speed(seconds, start + first, evaluation, {**reading.seconds_of_features(), **_seconds_of_artefacts(context)})


def _steps(batches: Iterator[Any], step: Callable[[Any], Mapping[str, Any]]) -> tuple[float, float]:
    """Returns the seconds until the first step was done, less a usual one, and those of a usual one."""
    began = time.monotonic()
    float(step(next(batches))['total'])
    first = time.monotonic() - began
    for _ in range(WARM_UP - 1):
        float(step(next(batches))['total'])
    began, count = time.monotonic(), 0
    for batch in batches:
        float(step(batch)['total'])
        count += 1
        if count >= LEAST_STEPS and time.monotonic() - began >= ENOUGH_SECONDS:
            break
    seconds = (time.monotonic() - began) / count
    return max(0.0, first - seconds), seconds


class _Reading:
    """A stage's input, with made-up artefacts."""

    def __init__(self, context: Context, built: StageNetwork):
        self._context, self._built = context, built
        self._images = context.training_images()
        seed = randomness.stage_seed(context.seed, context.stage.name)
        self._views = Views(self._images.geometry, seed, context.stage.features.views)
        self._decision = features.decide(
            context.stage.features, built.network, list(built.roles.trained), self._images, self._views
        )
        self._seed = seed

    @property
    def _stored(self) -> bool:
        return self._decision.mode != 'off'

    def batches(self) -> Iterator[Any]:
        """Yields as many batches as are ever counted."""
        stage, network = self._context.stage, self._built.network
        known: dict[str, ReadView] = {}
        stored: dict[str, ReadView] = {}
        if stage.proposals is not None:
            boxes = cost.made_up_proposals(stage.proposals.max_per_image, self._images.geometry.padded)
            known[PROPOSALS] = lambda index, view: boxes
        if self._decision.cut is not None and self._stored:
            rows = self._store().layout.noise()
            stored[self._decision.cut.key] = lambda index, view: rows
        inputs = TrainingInput(
            self._images,
            network,
            seed=self._seed,
            batch_size=stage.train.batch_size,
            terms=own_terms(stage),
            needs_images=not self._stored or bool(losses.teachers_of(stage)),
            views=self._views,
            known=known,
            features=stored,
            cache_gib=self._context.pipeline.data.cache_gib,
        )
        batches = inputs.batches(0, max(WARM_UP + MOST_STEPS, self._steps_of_all_views()))
        return iter(self._context.strategy.experimental_distribute_dataset(batches))

    def _steps_of_all_views(self) -> int:
        """Returns the steps that show everything once, after which nothing is prepared any more; 0 where that is too much."""
        if len(self._images) > MOST_IMAGES_IN_ADVANCE:
            return 0
        return len(self._images) * (self._views.count or 1) // self._context.stage.train.batch_size + 1

    def _store(self) -> features.FeatureStore:
        stage = self._context.stage
        return features.FeatureStore(self._built.network, self._decision, self._images, self._views, stage.features.dtype)

    def seconds_of_features(self) -> dict[str, float]:
        """Returns about what storing features takes, by kind of artefact; empty where none are stored."""
        return {FEATURES: self._store().seconds_of_making()} if self._stored else {}


class _Brief(Context):
    """A context with few validation images."""

    def _dataset(self, name: str) -> Dataset:
        dataset = super()._dataset(name)
        return dataclasses.replace(dataset, examples=dataset.examples[:EVALUATED]) if name == 'validation' else dataset


class _MadeUpProposals:
    """Stands for stored proposals in an evaluation."""

    def __init__(self, boxes: np.ndarray):
        self._boxes = boxes

    def validation(self, images: Any) -> Mapping[str, Callable[[int], np.ndarray]]:
        """Returns the same proposals for every image."""
        return {PROPOSALS: lambda index: self._boxes}


def _evaluations(context: Context, built: StageNetwork) -> tuple[float, float]:
    """Returns the seconds that the first evaluation of a stage takes longer than another, and those of another."""
    readers = {}
    if context.stage.proposals is not None:
        padded, count = context.geometry(training=False).padded, built.network.proposing.num_proposals
        readers[PROPOSALS] = _MadeUpProposals(cost.made_up_proposals(count, padded).numpy())
    few = _Brief(**{field.name: getattr(context, field.name) for field in dataclasses.fields(context)})
    validation = Validation(few, built.network, readers)  # type: ignore[arg-type]
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        validation.run(lambda: False)
        seconds.append(time.monotonic() - began)
    share = len(context.validation_images()) / len(validation.images)
    return max(0.0, seconds[0] - seconds[1]), seconds[1] * share


def _seconds_of_artefacts(context: Context) -> dict[str, float]:
    """Returns kind -> about what making it takes, of the artefacts that jobs make for a stage and that can be measured."""
    kinds = [artefacts.artefact(kind) for kind in artefacts.read_by(context.stage)]
    return {kind.name: specs.load_implementation(kind.seconds)(context) for kind in kinds if kind.seconds}
