"""RetinaNet in stages; on equal weights and images it gives the losses, gradients and boxes of the Model Garden's own task."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf
from official.vision.configs import retinanet as retinanet_config
from official.vision.modeling import retinanet_model
from official.vision.modeling.layers import detection_generator
from official.vision.ops import anchor
from official.vision.tasks import retinanet as retinanet_task

from stagetrain.config import specs
from stagetrain.detectors.retinanet import RetinaNet, model_garden_config
from stagetrain.training.checkpoint import TrainingState, save
from stagetrain.weights.names import named_variables
from tests import tiny
from tests.same_detections import assert_same_detections, of_model_garden

pytestmark = pytest.mark.numbers
ALL = ('backbone', 'decoder', 'head')
NUM_OBJECTS = 3


@pytest.fixture(scope='module')
def built():
    """A detector and its initial values."""
    options = {
        'type': 'retinanet',
        'input_size': [128, 128, 3],
        'min_level': 3,
        'max_level': 5,
        'backbone': tiny.MOBILENET_V2,
        'decoder': {'type': 'fpn', 'fpn': {'num_filters': 8}},
        'anchor': {'num_scales': 2, 'aspect_ratios': [0.5, 1.0]},
        'head': {'num_convs': 1, 'num_filters': 8},
        'detection_generator': {'pre_nms_score_threshold': 0.0, 'pre_nms_top_k': 300},
        'losses': {'l2_weight_decay': 4e-5},
        'norm_activation': {'use_sync_bn': False},
    }
    found = RetinaNet(specs.detector('retinanet').options.model_validate(options), num_classes=2, modules=ALL, seed=1)
    return found, {name: variable.numpy() for name, variable in named_variables(found.modules).items()}


@pytest.fixture
def detector(built):
    """The detector as it was built: losses move BatchNorm's statistics, and a test would depend on those that ran before."""
    found, values = built
    for name, variable in named_variables(found.modules).items():
        variable.assign(values[name])
    return found


@functools.cache
def objects():
    """Boxes float32 `[5, 4]` and classes int32 `[5]`, padded; the second has a neighbour that overlaps it by half."""
    boxes = np.full([5, 4], -1, np.float32)
    boxes[:NUM_OBJECTS] = [[8, 8, 40, 40], [30, 60, 90, 120], [70, 10, 120, 50]]
    return tf.constant(boxes), tf.constant([1, 2, 1, -1, -1])


@pytest.fixture(scope='module')
def batch(built):
    detector, _ = built
    boxes, classes = objects()
    known = {'gt_boxes': boxes, 'gt_classes': classes, 'num_objects': tf.constant(NUM_OBJECTS)}
    targets = detector.targets(known, detector.match(known, ('box', 'class')), {}, ('box', 'class'))
    return {
        'image': tf.constant(np.random.default_rng(0).normal(size=[2, 128, 128, 3]), tf.float32),
        'image_shape': tf.constant([[128.0, 128.0], [96.0, 120.0]]),
        'targets': {key: tf.stack([value, value]) for key, value in targets.items()},
    }


def model_garden(detector):
    """Returns the Model Garden's own model around the same modules, so around the same variables."""
    model = detector.model
    options = model.detection_generator.model_dump(exclude={'decode_boxes', 'tflite_post_processing'})
    return retinanet_model.RetinaNetModel(
        *(detector.modules[name] for name in ALL),
        detection_generator.MultilevelDetectionGenerator(**options),
        min_level=model.min_level,
        max_level=model.max_level,
        num_scales=model.anchor.num_scales,
        aspect_ratios=model.anchor.aspect_ratios,
        anchor_size=model.anchor.anchor_size,
    )


def model_garden_task(detector, **keys):
    config = model_garden_config(detector.model, detector.num_classes)
    return retinanet_task.RetinaNetTask(retinanet_config.RetinaNetTask(model=config, **keys))


def model_garden_losses(detector, batch):
    """Returns total, class and box loss, and the gradients of the total, as `RetinaNetTask.train_step` computes them."""
    model, task = model_garden(detector), model_garden_task(detector)
    boxes, classes = (values[:NUM_OBJECTS] for values in objects())
    labels = anchor.AnchorLabeler().label_anchors(detector.anchor_boxes, boxes, classes[:, tf.newaxis])
    class_targets, box_targets, _, class_weights, box_weights = tf.nest.map_structure(lambda t: tf.stack([t, t]), labels)
    described = {
        'cls_targets': class_targets,
        'box_targets': box_targets,
        'cls_weights': class_weights,
        'box_weights': box_weights,
    }
    with tf.GradientTape() as tape:
        outputs = model(batch['image'], training=True)
        total, class_loss, box_loss, _ = task.build_losses(outputs, described, aux_losses=model.losses)
    variables = [v for v in named_variables(detector.modules).values() if v.trainable]
    return (total, class_loss, box_loss), tape.gradient(total, variables)


@pytest.mark.slow
def test_losses_and_gradients_equal_the_model_gardens(detector, batch):
    (their_total, their_class, their_box), their_gradients = model_garden_losses(detector, batch)
    variables = [v for v in named_variables(detector.modules).values() if v.trainable]
    with tf.GradientTape() as tape:
        losses = detector.losses(batch, ['box', 'class'])
        total = losses['class'] + 50.0 * losses['box'] + detector.regularization(variables)
    np.testing.assert_allclose(losses['class'], their_class, rtol=1e-5)
    np.testing.assert_allclose(losses['box'], their_box, rtol=1e-5)
    np.testing.assert_allclose(total, their_total, rtol=1e-5)
    gradients = tape.gradient(total, variables)
    assert sum(gradient is not None for gradient in gradients) > 100
    for ours, theirs in zip(gradients, their_gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max() + 1e-6)


@pytest.mark.slow
def test_detections_equal_the_model_gardens(detector, batch):
    # New heads give every anchor nearly the same score, and equal ones have no order; weights of this size tell them apart.
    for name, variable in named_variables({'head': detector.modules['head']}).items():
        if name in ('head/classifier/kernel', 'head/cls_convs/0/kernel'):
            variable.assign(tf.random.stateless_normal(variable.shape, [1, variable.shape[-1]], stddev=3.0))
    theirs = model_garden(detector)(batch['image'], image_shape=batch['image_shape'], training=False)
    ours = detector.detect(batch)
    assert ours.num_valid.numpy().min() > 20 and np.diff(ours.scores).max() <= 0
    assert_same_detections(ours, of_model_garden(theirs))


def test_anchors_without_objects_are_negative(detector):
    boxes, classes = objects()
    known = {'gt_boxes': boxes, 'gt_classes': classes, 'num_objects': tf.constant(0)}
    matched = detector.match(known, ('box', 'class'))
    assert set(matched['class_targets'].numpy().tolist()) == {-1}
    assert not matched['box_targets'].numpy().any()


def test_a_loss_reaches_its_own_tower_only(detector):
    assert sorted({name.split('/')[1] for name in detector.reached(['class']) if name.startswith('head/')}) == [
        'classifier',
        'cls_convs',
        'cls_norms',
    ]
    assert {name for name, v in named_variables(detector.modules).items() if v.trainable and name.startswith('head/')} == {
        name for name in detector.reached(['box', 'class']) if name.startswith('head/')
    }


@pytest.mark.slow
def test_the_model_gardens_task_initialises_from_a_checkpoint(detector, tmp_path):
    folder = save(tmp_path, TrainingState(detector.modules, tf.Variable(0.0), tf.Variable(0, dtype=tf.int64)), max_to_keep=1)
    task = model_garden_task(detector, init_checkpoint=str(folder / 'ckpt'), init_checkpoint_modules='all')
    model = task.build_model()
    task.initialize(model)
    theirs = named_variables({'backbone': model.backbone, 'decoder': model.decoder, 'head': model.head})
    for name, variable in named_variables(detector.modules).items():
        np.testing.assert_array_equal(variable, theirs[name], err_msg=name)
