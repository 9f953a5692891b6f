"""What the stages of an experiment read and how they are measured: object crops, or the task's own input.

    feed = ExperimentInput(context, detector)
    for batch in feed.batches(first_step=200, last_step=600): ...
    feed.run().metrics                               # the task's own, on validation data

B images, H x W pixels of a crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.config.builtin import experiment as options
from stagetrain.detectors.experiment import INPUTS, Experiment
from stagetrain.errors import DataError, Interrupted
from stagetrain.evaluation.evaluate import STOPPED, Outcome
from stagetrain.images import randomness
from stagetrain.images.loading import Images
from stagetrain.images.randomness import Purpose, at, image_at
from stagetrain.pipeline.answers import ShouldStop
from stagetrain.stages.context import Context


class ExperimentInput:
    """The batches of an experiment's stage, and its evaluation."""

    def __init__(self, context: Context, detector: Experiment):
        """Stores what decides the batches; no file is read.

        Args:
          context: the job's surroundings.
          detector: gives the task.
        """
        self._context, self._detector = context, detector
        self._seed = randomness.stage_seed(context.seed, context.stage.name)

    def batches(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """Returns the batches of steps `first_step` (from 0) to `last_step` - 1."""
        size = self._context.stage.train.batch_size
        if self._detector.model.input == 'task':
            return self._of_task('train_data', size, is_training=True).take(last_step).skip(first_step)
        crops = Crops(self._context.training_images(), self._detector.model)
        positions = tf.data.Dataset.range(first_step * size, last_step * size)
        dataset = positions.map(lambda position: crops.drawn(position, size, self._seed), num_parallel_calls=2)
        return dataset.batch(size, drop_remainder=True).prefetch(3).with_options(_in_order())

    def run(self, should_stop: ShouldStop = lambda: False) -> Outcome:
        """Measures the present weights on validation data, as the task does; raises `Interrupted` when asked to stop."""
        task, network = self._detector.task, self._detector.network
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
            logs = step(batch[INPUTS])
            losses.append(float(logs[task.loss]))
            state = task.aggregate_logs(state, logs)
        values = {'validation_loss': float(np.mean(losses))}
        values |= {measure.name: float(measure.result()) for measure in measures}
        reduced = task.reduce_aggregated_logs(state) if state is not None else {}
        values |= {name: float(value) for name, value in (reduced or {}).items() if np.ndim(value) == 0}
        return Outcome(dict(sorted(values.items())), None)

    def _validation_batches(self) -> tf.data.Dataset:
        size = self._context.pipeline.evaluation.batch_size
        if self._detector.model.input == 'task':
            return self._of_task('validation_data', size, is_training=False)
        crops = Crops(self._context.validation_images(), self._detector.model)
        dataset = tf.data.Dataset.range(len(crops)).map(crops.plain, num_parallel_calls=2)
        return dataset.batch(size).prefetch(2).with_options(_in_order())

    def _of_task(self, part: str, batch_size: int, is_training: bool) -> tf.data.Dataset:
        """Returns the task's own input from its beginning; a resumed stage reads over what it has seen."""
        dataset = self._detector.own_input(part, batch_size, is_training=is_training, seed=int(self._seed[1]))
        return dataset.map(lambda *inputs: {INPUTS: inputs})


class Crops:
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
    def drawn(self, position: tf.Tensor, batch_size: int, seed: tf.Tensor) -> dict[str, Any]:
        """Returns the crop at a position of the stage: `image_index` and `inputs`, float32 `[H, W, 3]` and int32 class."""
        index = image_at(position, len(self), seed)
        flips = tf.random.stateless_uniform([], at(seed, position // batch_size, index, Purpose.VIEW)) < 0.5
        crop = self.plain(index)
        if not self._options.flip_horizontal:
            return crop
        image, label = crop[INPUTS]
        return {**crop, INPUTS: (tf.where(flips, tf.reverse(image, [1]), image), label)}

    @tf.autograph.experimental.do_not_convert
    def plain(self, index: tf.Tensor) -> dict[str, Any]:
        """Returns a crop as it is; what of it lies outside of its image is grey."""
        owner, column = tf.gather(self._owner, index), tf.gather(self._column, index)
        box = tf.gather(tf.gather(self._images.boxes, owner), column)
        margin = self._options.margin * tf.tile(box[2:] - box[:2], [2]) * tf.constant([-1.0, -1.0, 1.0, 1.0])
        last = tf.tile(tf.gather(self._images.sizes, owner) - 1.0, [2])
        image = self._images.decoded(owner)
        crop = tf.image.crop_and_resize(image[tf.newaxis], ((box + margin) / last)[tf.newaxis], [0], self._size)[0]
        label = tf.gather(tf.gather(self._images.classes, owner), column) - 1
        return {'image_index': tf.cast(owner, tf.int32), INPUTS: (tf.ensure_shape(crop, [*self._size, 3]), label)}


def _in_order() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return options
