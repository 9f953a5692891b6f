"""The Model Garden's side of the benchmark: its own Mask R-CNN task, run the way its users run it.

Everything here is `official.vision`: model, losses, `train_step`, input pipeline, evaluator. What is ours is the loop around
them, a plain one under `tf.function`. `bench_stages.py` uses the parts in its own process and runs this file as one process for
each stage:

    python scripts/bench_model_garden.py JOB.json

A job: `{"config": FILE, "stage": NAME, "records": FILE, "num_images", "num_steps", "init": CHECKPOINT or null,
"checkpoint": PATH, "result": FILE}`; the result is the job's seconds by part.
"""

# ruff: noqa: E402 - TensorFlow reads the environment while it is imported.

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stagetrain.workers.environment import prepare_environment

prepare_environment()

import tensorflow as tf
from official.vision.configs import maskrcnn as maskrcnn_config
from official.vision.data import tf_example_builder
from official.vision.tasks import maskrcnn as maskrcnn_task

from stagetrain import files
from stagetrain.config import load
from stagetrain.config.stages import live_losses
from stagetrain.data.annotation import Example
from stagetrain.detectors.faster_rcnn import model_garden_config
from stagetrain.devices import setup
from stagetrain.training import optimizers

WEIGHTS = {
    'rpn_score': 'rpn_score_weight',
    'rpn_box': 'rpn_box_weight',
    'frcnn_class': 'frcnn_class_weight',
    'frcnn_box': 'frcnn_box_weight',
}
"""Loss term of stagetrain -> its weight in the Model Garden's `Losses`."""
MODULES = ('backbone', 'decoder', 'rpn_head', 'detection_head')
TrainStep = Callable[[Any], Mapping[str, tf.Tensor]]


def build_task(pipeline: Any, stage: Any) -> maskrcnn_task.MaskRCNNTask:
    """Returns the Model Garden's task with a stage's model options; losses that the stage does not have get weight 0."""
    options, live = pipeline.model, live_losses(stage)
    losses = maskrcnn_config.Losses(
        l2_weight_decay=options.losses.l2_weight_decay, **{name: live.get(term, 0.0) for term, name in WEIGHTS.items()}
    )
    num_classes = len(pipeline.data.classes) + 1
    return maskrcnn_task.MaskRCNNTask(
        maskrcnn_config.MaskRCNNTask(model=model_garden_config(options, num_classes), losses=losses)
    )


def frozen_modules(stage: Any) -> tuple[str, ...]:
    """Returns the modules that a stage freezes whole (`backbone/.*`), which is how the benchmark's stages freeze."""
    return tuple(module for module in MODULES if f'{module}/.*' in stage.freeze_variables)


def freeze(model: Any, modules: Sequence[str]) -> None:
    """Sets which modules train; it must run before the step is traced."""
    for module in MODULES:
        getattr(model, module).trainable = module not in modules


def build_step(task: maskrcnn_task.MaskRCNNTask, model: Any, optimizer: Any) -> TrainStep:
    """Returns the task's own `train_step` under `tf.function`."""

    @tf.function
    def step(inputs: Any) -> Mapping[str, tf.Tensor]:
        return task.train_step(inputs, model, optimizer)

    return step


def inputs_of(
    batch: Mapping[str, Any], anchors: Mapping[str, tf.Tensor], max_num_instances: int
) -> tuple[tf.Tensor, dict[str, Any]]:
    """Returns a batch of stagetrain as (images, labels) of `train_step`; the targets are the same tensors.

    Args:
      batch: with `image`, `image_shape`, `gt_boxes`, `gt_classes` and the RPN's targets.
      anchors: level -> float32 `[h, w, anchors * 4]`.
      max_num_instances: what the ground truth is padded to, as the Model Garden's parser does.
    """
    padding = max_num_instances - batch['gt_classes'].shape[1]
    shape = batch['image_shape']
    zeros, ones = tf.zeros_like(shape), tf.ones_like(shape)
    return batch['image'], {
        'image_info': tf.stack([shape, shape, ones, zeros], axis=1),
        'anchor_boxes': {level: tf.tile(boxes[tf.newaxis], [shape.shape[0], 1, 1, 1]) for level, boxes in anchors.items()},
        'gt_boxes': tf.pad(batch['gt_boxes'], [[0, 0], [0, padding], [0, 0]], constant_values=-1),
        'gt_classes': tf.pad(batch['gt_classes'], [[0, 0], [0, padding]], constant_values=-1),
        'rpn_score_targets': batch['targets']['rpn_score_targets'],
        'rpn_box_targets': batch['targets']['rpn_box_targets'],
    }


def write_records(examples: Sequence[Example], path: pathlib.Path) -> None:
    """Writes a data set as one TFRecord file, with the Model Garden's own builder."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, example in enumerate(examples):
            builder = tf_example_builder.TfExampleBuilder()
            builder.add_encoded_image_feature(
                example.read_bytes(), 'JPEG', example.height, example.width, 3, image_source_id=str(number)
            )
            low, high = example.boxes_yxyx_px[:, :2], example.boxes_yxyx_px[:, 2:]
            size = [example.height, example.width]
            builder.add_boxes_feature(
                xmins=(low[:, 1] / size[1]).tolist(),
                xmaxs=(high[:, 1] / size[1]).tolist(),
                ymins=(low[:, 0] / size[0]).tolist(),
                ymaxs=(high[:, 0] / size[0]).tolist(),
                labels=example.classes.tolist(),
            )
            writer.write(builder.serialized_example)


def read_records(
    task: maskrcnn_task.MaskRCNNTask, pipeline: Any, records: pathlib.Path, num_images: int, batch_size: int, is_training: bool
) -> Iterator[tuple[tf.Tensor, Mapping[str, Any]]]:
    """Returns the task's own input pipeline over a TFRecord file: endless in training, once through in evaluation.

    The shuffle buffer holds the data set once; the default of 10,000 would read it many times over before the first step.
    """
    config = maskrcnn_config.DataConfig(
        input_path=str(records),
        is_training=is_training,
        global_batch_size=batch_size,
        shuffle_buffer_size=num_images,
        drop_remainder=is_training,
        dtype='float32',
        parser=maskrcnn_config.Parser(
            aug_rand_hflip=pipeline.model.parser.aug_rand_hflip, max_num_instances=pipeline.model.parser.max_num_instances
        ),
    )
    return iter(task.build_inputs(config))


class Evaluation:
    """The Model Garden's evaluation of a checkpoint: `validation_step` on its own input pipeline, and its COCO evaluator."""

    def __init__(self, pipeline: Any, stage: Any, checkpoint: str, records: pathlib.Path, num_images: int):
        """Builds the model and loads the checkpoint (a TensorFlow checkpoint's prefix) by the task's own `initialize`."""
        self._pipeline, self._records, self._num_images = pipeline, records, num_images
        self._task = build_task(pipeline, stage)
        self._task.task_config.init_checkpoint = checkpoint
        model = self._task.build_model()
        self._task.initialize(model)
        self._task.build_metrics(training=False)

        @tf.function
        def step(inputs: Any) -> Mapping[str, Any]:
            return self._task.validation_step(inputs, model)

        self._step = step

    def run(self) -> Mapping[str, Any]:
        """Evaluates all images once and returns the COCO metrics."""
        state = None
        batch_size = self._pipeline.evaluation.batch_size
        for inputs in read_records(self._task, self._pipeline, self._records, self._num_images, batch_size, False):
            state = self._task.aggregate_logs(state, self._step(inputs))
        return self._task.reduce_aggregated_logs({})


def carry_out(job: Mapping[str, Any]) -> dict[str, float]:
    """Trains one stage from TFRecords, with a checkpoint carried by hand; returns the seconds of its parts."""
    started = time.monotonic()
    pipeline = load.load_pipeline(job['config']).pipeline
    stage = next(stage for stage in pipeline.stages if stage.name == job['stage'])
    setup.configure(pipeline.runtime)
    tf.keras.utils.set_random_seed(pipeline.seed)
    task = build_task(pipeline, stage)
    model = task.build_model()
    if job['init']:
        tf.train.Checkpoint(model=model).read(job['init']).assert_existing_objects_matched()
    freeze(model, frozen_modules(stage))
    step = build_step(task, model, optimizers.build_optimizer(stage.train))
    batches = read_records(task, pipeline, pathlib.Path(job['records']), job['num_images'], stage.train.batch_size, True)
    step(next(batches))
    built = time.monotonic()
    for _ in range(job['num_steps'] - 1):
        step(next(batches))
    trained = time.monotonic()
    tf.train.Checkpoint(model=model).write(job['checkpoint'])
    return {'building': built - started, 'training': trained - built, 'saving': time.monotonic() - trained}


if __name__ == '__main__':
    asked = files.read_json(pathlib.Path(sys.argv[1]))
    files.write_json(pathlib.Path(asked['result']), carry_out(asked))
