"""The rules of meaning, proved on a finished 4-step run of the command line: lineage, hand-over, freezing, the Model Garden."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.configs import maskrcnn as maskrcnn_config
from official.vision.tasks import maskrcnn as maskrcnn_task

from stagetrain import files
from stagetrain.detectors.faster_rcnn import FasterRcnn, model_garden_config
from stagetrain.evaluation import evaluate
from stagetrain.images.batches import evaluation_batches
from stagetrain.pipeline.jobs import ModuleOrigin, StageJob, read_job
from stagetrain.weights import assign
from tests import tiny

MODULES = ('backbone', 'decoder', 'rpn_head', 'detection_head')
STAGES = ('rpn_1', 'detector_1', 'rpn_2', 'detector_2')
pytestmark = pytest.mark.slow


def stage_file(run: Any, stage: str, name: str) -> Any:
    """Returns the content of a file of a stage's folder."""
    return files.read_json(run.run_dir / 'stages' / stage / name)


def variables(run: Any, stage: str) -> dict[str, str]:
    """Returns canonical name -> digest of a stage's last checkpoint."""
    described = files.read_json(tiny.last_checkpoint(run.run_dir, stage) / 'variables.json')
    return {name: entry['digest'] for name, entry in described.items()}


@pytest.mark.parametrize('stage', STAGES)
def test_every_variable_has_exactly_one_origin(tiny_run: Any, stage: str) -> None:
    lineage = stage_file(tiny_run, stage, 'lineage.json')
    assert sorted(lineage) == sorted(variables(tiny_run, stage))
    init = next(part.get('init', {}) for part in tiny.four_steps() if part['name'] == stage)
    for name, entry in lineage.items():
        origin = init.get(name.split('/')[0], 'fresh')
        assert entry['kind'] == ('fresh' if origin == 'fresh' else 'stage')
        if origin != 'fresh':
            assert (entry['stage'], entry['key']) == (origin, name)
            assert entry['path'].endswith(f'stages/{origin}/checkpoints/step-00000006')


def test_shared_modules_are_bit_equal_from_the_second_stage_on(tiny_run: Any) -> None:
    held = {stage: variables(tiny_run, stage) for stage in STAGES}
    shared = [name for name in held['detector_2'] if name.split('/')[0] in ('backbone', 'decoder')]
    assert len(shared) > 200
    for name in shared:
        assert held['detector_1'][name] == held['rpn_2'][name] == held['detector_2'][name]
    rpn = [name for name in held['rpn_2'] if name.startswith('rpn_head/')]
    assert all(held['rpn_2'][name] == held['detector_2'][name] for name in rpn)
    assert all(held['rpn_1'][name] != held['rpn_2'][name] for name in rpn if name.endswith('kernel'))
    kernels = [name for name in held['detector_1'] if name.startswith('detection_head/') and name.endswith('kernel')]
    assert kernels and all(held['detector_1'][name] != held['detector_2'][name] for name in kernels)


def test_frozen_variables_are_recorded(tiny_run: Any) -> None:
    assert stage_file(tiny_run, 'rpn_1', 'frozen.json').keys() <= {
        name for name in variables(tiny_run, 'rpn_1') if name.startswith('backbone/')
    }
    frozen = stage_file(tiny_run, 'detector_2', 'frozen.json')
    held = variables(tiny_run, 'detector_2')
    assert frozen == {name: digest for name, digest in held.items() if not name.startswith('detection_head/')}


def test_each_stage_counts_its_steps_from_the_beginning(tiny_run: Any) -> None:
    for stage in STAGES:
        reader = tf.train.load_checkpoint(str(tiny.last_checkpoint(tiny_run.run_dir, stage) / 'ckpt'))
        assert int(reader.get_tensor('step/.ATTRIBUTES/VARIABLE_VALUE')) == 6
        assert int(reader.get_tensor('optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE')) == 6


# ---- the Model Garden takes over -------------------------------------------------------------------------------------------


def finished(run: Any) -> tuple[FasterRcnn, Any]:
    """Returns the last stage's detector with its weights, and the validation set."""
    job = read_job(run.run_dir / 'stages/detector_2/job.json')
    assert isinstance(job, StageJob)
    context = tiny.context(job)
    detector = context.build_detector(MODULES)
    origin = ModuleOrigin('stage', str(tiny.last_checkpoint(run.run_dir, 'detector_2')))
    assign.initialise(detector.modules, dict.fromkeys(MODULES, origin))
    return detector, context.validation_images()


def model_garden_detections(options: Any, checkpoint: pathlib.Path, batch: Any, anchors: Any) -> Any:
    """Returns the detections of the Model Garden's own model, initialised by its own task."""
    config = maskrcnn_config.MaskRCNNTask(
        model=model_garden_config(options, 4), init_checkpoint=str(checkpoint / 'ckpt'), init_checkpoint_modules='all'
    )
    task = maskrcnn_task.MaskRCNNTask(config)
    model = task.build_model()
    task.initialize(model)
    num_images = batch['image'].shape[0]
    tiled = {level: tf.tile(boxes[tf.newaxis], [num_images, 1, 1, 1]) for level, boxes in anchors.items()}
    return model(batch['image'], image_shape=batch['image_shape'], anchor_boxes=tiled, training=False)


def test_the_model_gardens_task_initialises_from_the_last_checkpoint_and_detects_the_same(tiny_run: Any) -> None:
    detector, images = finished(tiny_run)
    batch = next(iter(evaluation_batches(images, len(images), {})))
    checkpoint = tiny.last_checkpoint(tiny_run.run_dir, 'detector_2')
    theirs = model_garden_detections(detector.model, checkpoint, batch, detector.anchor_boxes)
    ours = evaluate.Evaluator(detector, images, batch_size=len(images), can_detect=True).detect()
    counts = theirs['num_detections'].numpy()
    assert np.bincount(ours.image_index, minlength=len(images)).tolist() == counts.tolist()
    assert counts.sum() > 20
    for index, count in enumerate(counts):
        mine = ours.image_index == index
        found = np.column_stack([ours.boxes_yxyx_px[mine], ours.scores[mine] * 1000])
        expected = np.column_stack(
            [theirs['detection_boxes'][index, :count], theirs['detection_scores'][index, :count].numpy() * 1000]
        )
        # Detections of nearly equal scores may change places, so each is looked for among all of the image.
        distance = np.abs(found[:, np.newaxis] - expected[np.newaxis]).max(axis=-1)
        assert distance.min(axis=1).max() < 0.01 and distance.min(axis=0).max() < 0.01
