"""What the stages of an experiment read and how they are measured: object crops, or the task's own input.

    for batch in ExperimentInput(context, network).batches(first_step=200, last_step=600): ...
    ExperimentEvaluator(context, network).run().metrics         # the task's own, on validation data

B images, H x W pixels of a crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.config.builtin import experiment as options
from stagetrain.detectors.experiment import Experiment
from stagetrain.errors import DataError, Interrupted
from stagetrain.evaluation.evaluate import STOPPED, Outcome
from stagetrain.images import randomness
from stagetrain.images.loading import Images
from stagetrain.images.network_input import Batch
from stagetrain.images.randomness import Purpose, at, image_at
from stagetrain.pipeline.answers import ShouldStop
from stagetrain.stages.context import Context


class ExperimentInput:
    """The batches of an experiment's stage: a `StageInput`."""

    def __init__(self, context: Context, network: Experiment):
        """Stores what decides the batches; no file is read."""
        self._context, self._network = context, network
        self._seed = randomness.stage_seed(context.seed, context.stage.name)

    def batches(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """Returns the batches of steps `first_step` (from 0) to `last_step` - 1; a resumed stage reads over what it has seen."""
        size = self._context.stage.train.batch_size
        if self._network.model.input == 'task':
            seed = int(self._seed[1])
            return _of_task(self._network, 'train_data', size, is_training=True, seed=seed).take(last_step).skip(first_step)
        crops = ObjectCrops(self._context.training_images(), self._network.model)
        positions = tf.data.Dataset.range(first_step * size, last_step * size)
        dataset = positions.map(lambda position: crops.drawn(position, size, self._seed), num_parallel_calls=2)
        return dataset.batch(size, drop_remainder=True).prefetch(3).with_options(_in_order())


class ExperimentEvaluator:
    """Measures an experiment's stage as its task does: a `StageEvaluator`."""

    def __init__(self, context: Context, network: Experiment):
        """Stores what is measured; no file is read."""
        self._context, self._network = context, network

    def run(self, should_stop: ShouldStop = lambda: False) -> Outcome:
        """Measures the present weights on validation data; raises `Interrupted` when asked to stop."""
        task, network = self._network.task, self._network.network
        measures = task.build_metrics(training=False)
        for measure in measures:
            measure.reset_state()

        @tf.function(autograph=False)
        def step(inputs: Any) -> Mapping[str, Any]:
            return task.validation_step(inputs, network, measures)

        losses, state = [], None
        for batch in self._validation_batches():
            if should_stop():
                raise Interrupted(STOPPED)
            logs = step(batch['inputs'])
            losses.append(float(logs[task.loss]))
            state = task.aggregate_logs(state, logs)
        values = {'validation_loss': float(np.mean(losses))}
        values |= {measure.name: float(measure.result()) for measure in measures}
        reduced = task.reduce_aggregated_logs(state) if state is not None else {}
        values |= {name: float(value) for name, value in (reduced or {}).items() if np.ndim(value) == 0}
        return Outcome(dict(sorted(values.items())), None)

    def _validation_batches(self) -> tf.data.Dataset:
        size = self._context.pipeline.evaluation.batch_size
        if self._network.model.input == 'task':
            seed = int(randomness.stage_seed(self._context.seed, self._context.stage.name)[1])
            return _of_task(self._network, 'validation_data', size, is_training=False, seed=seed)
        crops = ObjectCrops(self._context.validation_images(), self._network.model)
        dataset = tf.data.Dataset.range(len(crops)).map(crops.plain, num_parallel_calls=2)
        return dataset.batch(size).prefetch(2).with_options(_in_order())


class ObjectCrops:
    """Objects cut out of images, by index, with the class of each, from 0."""

    def __init__(self, images: Images, model: options.Experiment):
        """Lists the objects that training sees.

        Args:
          images: a data set.
          model: the `experiment` options.

        Raises:
          DataError: there is none.
        """
        self._images, self._options, self._size = images, model.crops, tuple(model.crop_size[:2])
        self._owner = np.repeat(np.arange(len(images)), images.num_boxes)
        self._column = np.concatenate([np.arange(count) for count in images.num_boxes])
        if not len(self):
            raise DataError(f'{images.dataset.name}: no object to cut out; expected images with boxes')

    def __len__(self) -> int:
        return len(self._owner)

    @tf.autograph.experimental.do_not_convert
    def drawn(self, position: tf.Tensor, batch_size: int, seed: tf.Tensor) -> Batch:
        """Returns the crop at a position of the stage: `image_index` and `inputs`, float32 `[H, W, 3]` and int32 class."""
        index = image_at(position, len(self), seed)
        flips = tf.random.stateless_uniform([], at(seed, position // batch_size, index, Purpose.VIEW)) < 0.5
        crop = self.plain(index)
        if not self._options.flip_horizontal:
            return crop
        image, label = crop['inputs']
        return {**crop, 'inputs': (tf.where(flips, tf.reverse(image, [1]), image), label)}

    @tf.autograph.experimental.do_not_convert
    def plain(self, index: tf.Tensor) -> Batch:
        """Returns a crop as it is; what of it lies outside of its image is grey."""
        owner, column = tf.gather(self._owner, index), tf.gather(self._column, index)
        box = tf.gather(tf.gather(self._images.boxes, owner), column)
        margin = self._options.margin * tf.tile(box[2:] - box[:2], [2]) * tf.constant([-1.0, -1.0, 1.0, 1.0])
        last = tf.tile(tf.gather(self._images.sizes, owner) - 1.0, [2])
        image = self._images.decoded(owner)
        crop = tf.image.crop_and_resize(image[tf.newaxis], ((box + margin) / last)[tf.newaxis], [0], self._size)[0]
        label = tf.gather(tf.gather(self._images.classes, owner), column) - 1
        return {'image_index': tf.cast(owner, tf.int32), 'inputs': (tf.ensure_shape(crop, [*self._size, 3]), label)}


def _of_task(network: Experiment, part: str, batch_size: int, *, is_training: bool, seed: int) -> tf.data.Dataset:
    """Returns the task's own input from its beginning, as batches."""
    dataset = network.own_input(part, batch_size, is_training=is_training, seed=seed)
    return dataset.map(lambda *inputs: Batch(inputs=inputs))


def _in_order() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return options
