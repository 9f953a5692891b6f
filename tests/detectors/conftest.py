"""A small Faster R-CNN on Model Garden parts, and a batch for it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.config import specs
from stagetrain.detectors.faster_rcnn import FasterRcnn

ALL = ('backbone', 'decoder', 'rpn_head', 'detection_head', 'mask_head')


def small_model(**changes):
    """Returns `faster_rcnn` options for 128x128 images: MobileNetV2 at a quarter of its width, FPN, two classes."""
    options = {
        'type': 'faster_rcnn',
        'input_size': [128, 128, 3],
        'min_level': 3,
        'max_level': 5,
        'backbone': {'type': 'mobilenet', 'mobilenet': {'model_id': 'MobileNetV2', 'filter_size_scale': 0.25}},
        'decoder': {'type': 'fpn', 'fpn': {'num_filters': 16}},
        'anchor': {'anchor_size': 4.0},
        'rpn_head': {'num_filters': 16},
        'detection_head': {'num_convs': 0, 'fc_dims': 32},
        'roi_sampler': {'num_sampled_rois': 32},
        'roi_generator': {'num_proposals': 100, 'test_num_proposals': 100},
        'losses': {'l2_weight_decay': 4e-5},
        'norm_activation': {'use_sync_bn': False},
    }
    chosen = {**options, **changes}
    return specs.detector(chosen['type']).options.model_validate(chosen)


@pytest.fixture
def deterministic_ops():
    """As in every stage: without them the gradient of `crop_and_resize` loses what several threads add at once."""
    tf.config.experimental.enable_op_determinism()


@pytest.fixture
def detector(request):
    """Options can be changed by indirect parameters."""
    return FasterRcnn(small_model(**getattr(request, 'param', {})), num_classes=2, modules=ALL, seed=1)


@pytest.fixture
def batch(detector):
    """Two images of noise with three boxes each, and their targets."""
    random = np.random.default_rng(0)
    boxes = np.full([2, 5, 4], -1, np.float32)
    boxes[:, :3] = [[8, 8, 40, 40], [30, 60, 90, 120], [70, 10, 120, 50]]
    classes = np.array([[1, 2, 1, -1, -1]] * 2, np.int32)
    seeds = tf.constant([[1, 2], [3, 4]], tf.int32)
    terms = ('rpn_score', 'rpn_box')
    known = {
        'gt_boxes': tf.constant(boxes[0]),
        'gt_classes': tf.constant(classes[0]),
        'num_objects': tf.constant(3),
        'image_shape': tf.constant([128.0, 128.0]),
    }
    matched = detector.match(known, terms)
    targets = [detector.targets(known, matched, {'anchors': seed, 'rois': seed}, terms) for seed in seeds]
    return {
        'image': tf.constant(random.normal(size=[2, 128, 128, 3]), tf.float32),
        'image_shape': tf.constant([[128.0, 128.0]] * 2),
        'image_index': tf.constant([0, 1]),
        'seed': seeds,
        'gt_boxes': tf.constant(boxes),
        'gt_classes': tf.constant(classes),
        'gt_masks': tf.constant(random.uniform(size=[2, 5, 112, 112]) < 0.5, tf.float32),
        'targets': tf.nest.map_structure(lambda *parts: tf.stack(parts), *targets),
    }
