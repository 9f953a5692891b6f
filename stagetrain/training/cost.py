"""What the stages of a pipeline would cost: a few real steps of each on made-up images, before anything is trained.

The graph, the optimizer and the machine are the real ones; reading images, making stores and evaluating are not in it.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.config import losses, schema, stage_kinds
from stagetrain.config.stages import all_stages, own_terms, spec_of
from stagetrain.devices import setup
from stagetrain.images.geometry import geometry_of
from stagetrain.images.network_input import Batch, Known, Seeds
from stagetrain.images.views import Views
from stagetrain.stages.added import build_added
from stagetrain.stages.network import StageNetwork, stage_network
from stagetrain.stores.features import decide_for, front_of
from stagetrain.training import optimizers
from stagetrain.training.averages import Averages
from stagetrain.training.step import StepFunction, build_step, task_of

WARM_UP, MEASURED = 2, 6
NUM_OBJECTS = 4
SEED = (1, 2)


def probe(pipeline: Any, num_steps: dict[str, int]) -> list[dict[str, Any]]:
    """Returns one row per stage: `stage`, `ms_per_step` (median), `num_steps`, `seconds` of training in all.

    Args:
      pipeline: a checked pipeline.
      num_steps: stage id -> its number of steps.
    """
    trains_ours = any(spec_of(pipeline, stage).reads_images for _, stage, _ in all_stages(pipeline))
    strategy = setup.configure(pipeline.runtime, has_our_gradients=trains_ours)
    rows = []
    for stage_id, stage, _ in filter(lambda entry: stage_kinds.trains(entry.stage), all_stages(pipeline)):
        milliseconds = _milliseconds(pipeline, stage_id, stage, strategy)
        rows.append(
            {
                'stage': stage_id,
                'ms_per_step': round(milliseconds, 1),
                'num_steps': num_steps[stage_id],
                'seconds': round(milliseconds * num_steps[stage_id] / 1000),
            }
        )
    return rows


def stage_step(
    pipeline: Any, stage_id: str, stage: schema.Stage, strategy: tf.distribute.Strategy
) -> tuple[StageNetwork, StepFunction]:
    """Returns a stage's network at its initial values, and what its steps compute with it."""
    with strategy.scope():
        built = stage_network(pipeline, stage, stage_id)
        added = build_added(pipeline, stage, stage_id, built.network, None)
        averages = Averages(built.trained, stage.train.ema) if stage.train.ema is not None else None
        step = tf.Variable(0, dtype=tf.int64, trainable=False)
        task = task_of(built, stage, optimizers.build_optimizer(stage.train), step, averages, added)
    return built, build_step(task, strategy)


def _milliseconds(pipeline: Any, stage_id: str, stage: schema.Stage, strategy: tf.distribute.Strategy) -> float:
    built, step = stage_step(pipeline, stage_id, stage, strategy)
    batch = made_up_batch(pipeline, stage, built)
    if strategy.num_replicas_in_sync > 1:
        batch = next(iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch))))
    return seconds_of_step(step, batch) * 1000


def seconds_of_step(step: StepFunction, batch: Batch) -> float:
    """Returns the median of some steps on one batch."""
    seconds = []
    for _ in range(WARM_UP + MEASURED):
        started = time.perf_counter()
        float(step(batch)['total'])
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds[WARM_UP:]))


def made_up_proposals(count: int, size: tuple[int, int]) -> tf.Tensor:
    """Returns float32 `[count, 4]` yxyx in pixels: boxes of a fifth of an image of (height, width), anywhere in it."""
    top_left = np.random.default_rng(0).uniform(0, 0.7, size=[count, 2]) * size
    return tf.constant(np.concatenate([top_left, top_left + 0.2 * size[0]], axis=1), tf.float32)


def made_up_batch(pipeline: Any, stage: schema.Stage, built: StageNetwork) -> Batch:
    """Returns a batch of noise with a few objects, in the form that the stage's steps would read."""
    network, size, count = built.network, stage.train.batch_size, NUM_OBJECTS
    if not spec_of(pipeline, stage).reads_images:
        return network.noise(size)
    random = np.random.default_rng(0)
    geometry = geometry_of(network.model, training=True)
    height, width = geometry.padded
    corners = random.uniform(0, 0.6, size=[count, 2]) * (height, width)
    boxes = np.concatenate([corners, corners + 0.3 * np.array([height, width])], axis=1).astype(np.float32)
    known = Known(
        gt_boxes=tf.constant(boxes),
        gt_classes=tf.ones([count], tf.int32),
        num_objects=tf.constant(count),
        image_shape=tf.constant([height, width], tf.float32),
    )
    if stage.proposals is not None:
        known['proposals'] = made_up_proposals(stage.proposals.max_per_image, geometry.padded)
    terms, seed = own_terms(stage), tf.constant(SEED)
    sample = Batch(
        gt_boxes=known['gt_boxes'],
        gt_classes=known['gt_classes'],
        image_shape=known['image_shape'],
        seed=seed,
        targets=network.targets(known, network.match(known, terms), Seeds(anchors=seed, rois=seed), terms),
    )
    mask_size = network.mask_size(terms)
    if mask_size is not None:
        sample['gt_masks'] = tf.ones([count, mask_size, mask_size])
    views = Views(geometry, seed, stage.features.views)
    decision = decide_for(stage.features, network, list(built.roles.trained), geometry.padded, views.count)
    if decision.mode == 'off' or decision.cut is None or losses.teachers_of(stage):
        sample['image'] = tf.constant(random.normal(size=[height, width, 3]), tf.float32)
    if decision.mode != 'off' and decision.cut is not None:
        stored = front_of(network, decision.cut, geometry.padded, stage.features.dtype).layout.noise()
        sample['features'] = {decision.cut.key: stored}
    return tf.nest.map_structure(lambda value: tf.stack([value] * size), sample)
