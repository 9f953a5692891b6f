"""A stage on a frozen front, with and without stored features: what the tests of features share."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from stagetrain.images import randomness
from stagetrain.images.views import Views
from stagetrain.stages.network import StageNetwork
from stagetrain.stores import features
from stagetrain.training import cost
from stagetrain.training.input import TrainingInput
from tests import tiny

SHARED = ['backbone/.*', 'decoder/.*']
FLIPS = {'aug_rand_hflip': True, 'aug_rand_vflip': True, 'max_num_instances': 8}
JITTER = {**FLIPS, 'aug_scale_min': 0.8, 'aug_scale_max': 1.5}
NUM_STEPS = 20
ROUNDING = 1e-5
"""Relative difference of losses; the front was computed in batches of another size, for which kernels may round otherwise."""
Losses = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage on a frozen front, at its initial values, with all that its input needs."""

    context: Any
    built: StageNetwork
    step: Any
    images: Any
    views: Views
    decision: features.StoreDecision

    def store(self) -> features.FeatureStore:
        """Returns the stage's features; nothing is made yet."""
        dtype = self.context.stage.features.dtype
        return features.FeatureStore(self.built.network, self.decision, self.images, self.views, dtype)

    def batches(self, num_steps: int, read: Any = None) -> tf.data.Dataset:
        """Returns the stage's batches, with images or with what `read` gives in their place."""
        stored = {} if read is None else {self.decision.cut.key: read}
        terms = sorted(self.built.loss_weights)
        settings = {'seed': self.views.seed, 'batch_size': 2, 'terms': terms, 'views': self.views, 'features': stored}
        return TrainingInput(self.images, self.built.network, needs_images=read is None, **settings).batches(0, num_steps)

    def losses_both_ways(self, read: Any) -> list[tuple[Losses, Losses]]:
        """Trains the first steps on stored features; returns each step's losses with the front computed, and with it read.

        Both are taken at the same weights: a difference of rounding, however small, grows from step to step.
        """
        pairs = []
        for images, stored in zip(self.batches(NUM_STEPS), self.batches(NUM_STEPS, read), strict=True):
            pairs.append((_plain(self.step.try_out(images)), _plain(self.step(stored))))
        return pairs


def stage(folder: pathlib.Path, data: pathlib.Path, parser: Mapping[str, Any] = FLIPS, **keys: Any) -> Stage:
    """Returns an RPN stage on a frozen front; `keys` change the stage."""
    keys = {'freeze_variables': SHARED, 'allow_frozen_fresh': SHARED, **keys}
    document = tiny.pipeline(data, [tiny.stage('rpn', tiny.RPN, **keys)], parser=dict(parser))
    context = tiny.context(tiny.job(folder, document, 'rpn'))
    built, step = cost.stage_step(context.pipeline, 'rpn', context.stage, context.strategy)
    images = context.training_images()
    views = Views(images.geometry, randomness.stage_seed(context.seed, 'rpn'), context.stage.features.views)
    decision = features.decide(context.stage.features, built.network, list(built.roles.trained), images, views)
    return Stage(context, built, step, images, views, decision)


def _plain(result: Mapping[str, Any]) -> Losses:
    return {name: float(value) for name, value in sorted(result.items())}


def nothing(done: int, total: int) -> None:
    """Takes progress."""
