"""On equal weights, images, samples and proposals, stagetrain and the Model Garden give the same losses, gradients, boxes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.configs import maskrcnn as maskrcnn_config
from official.vision.modeling import maskrcnn_model
from official.vision.modeling.layers import detection_generator, mask_sampler, roi_aligner, roi_sampler
from official.vision.tasks import maskrcnn as maskrcnn_task

from stagetrain.detectors.faster_rcnn import model_garden_config
from stagetrain.detectors.roi_sampler import RoiSampler
from stagetrain.detectors.two_stage import HEAD_TERMS, RPN_TERMS
from stagetrain.weights.names import named_variables
from tests.same_detections import assert_same_detections, of_model_garden

TERMS = {
    'rpn_score': 'rpn_score_loss',
    'rpn_box': 'rpn_box_loss',
    'frcnn_class': 'frcnn_cls_loss',
    'frcnn_box': 'frcnn_box_loss',
    'mask': 'mask_loss',
}

CASCADE = {
    'roi_sampler': {'num_sampled_rois': 32, 'cascade_iou_thresholds': [0.6, 0.7]},
    'detection_head': {'num_convs': 0, 'fc_dims': 32, 'class_agnostic_bbox_pred': True, 'cascade_class_ensemble': True},
}
MASK = {'type': 'mask_rcnn', 'mask_head': {'num_convs': 1, 'num_filters': 16}, 'mask_sampler': {'num_sampled_masks': 8}}
pytestmark = [pytest.mark.numbers, pytest.mark.usefixtures('deterministic_ops')]
each = pytest.mark.parametrize('detector', [{}, CASCADE, MASK], ids=['plain', 'cascade', 'mask'], indirect=True)


class FixedSampler(tf_keras.layers.Layer):
    """Gives the Model Garden's model the sample that stagetrain draws, in the Model Garden's form."""

    def __init__(self, options, seeds):
        super().__init__()
        self._sampler, self._seeds = RoiSampler(options), seeds

    def call(self, rois, gt_boxes, gt_classes):
        sampled = self._sampler(rois, gt_boxes, gt_classes, self._seeds)
        overlap = tf.argmax(_iou(sampled.boxes, gt_boxes), axis=-1)
        boxes = tf.where(sampled.classes[..., tf.newaxis] > 0, tf.gather(gt_boxes, overlap, batch_dims=1), 0.0)
        return sampled.boxes, boxes, sampled.classes, tf.cast(overlap, tf.int32)


class FixedGenerator(tf_keras.layers.Layer):
    """Gives the Model Garden's model the proposals of the test: at random weights scores are ties, and order is chance."""

    def __init__(self, proposals):
        super().__init__()
        self._proposals = proposals

    def call(self, raw_boxes, raw_scores, anchor_boxes, image_shape, training=None):
        return self._proposals, tf.ones(self._proposals.shape[:2])


@pytest.fixture
def proposals():
    """float32 [2, 60, 4]: boxes all over a 128x128 image, some of them on the objects."""
    random = np.random.default_rng(2)
    top_left = random.uniform(0, 90, size=[2, 60, 2])
    boxes = np.concatenate([top_left, top_left + random.uniform(12, 38, size=[2, 60, 2])], axis=-1)
    boxes[:, :3] = [[10, 8, 40, 42], [30, 62, 92, 120], [72, 10, 120, 48]]
    return tf.constant(boxes, tf.float32)


def _iou(first, second):
    top = tf.maximum(first[:, :, tf.newaxis, :2], second[:, tf.newaxis, :, :2])
    bottom = tf.minimum(first[:, :, tf.newaxis, 2:], second[:, tf.newaxis, :, 2:])
    both = tf.reduce_prod(tf.maximum(bottom - top, 0.0), axis=-1)
    area = [tf.reduce_prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (first, second)]
    return both / (area[0][:, :, tf.newaxis] + area[1][:, tf.newaxis] - both)


def model_garden_model(detector, seeds, proposals):
    """Returns the Model Garden's own model around the same modules, so around the same variables."""
    model = detector.model
    later = [
        roi_sampler.ROISampler(
            mix_gt_boxes=False, foreground_iou_threshold=iou, background_iou_high_threshold=iou, skip_subsampling=True
        )
        for iou in model.roi_sampler.cascade_iou_thresholds or []
    ]
    return maskrcnn_model.MaskRCNNModel(
        backbone=detector.modules['backbone'],
        decoder=detector.modules['decoder'],
        rpn_head=detector.modules['rpn_head'],
        detection_head=detector.modules['detection_head'],
        roi_generator=FixedGenerator(proposals),
        roi_sampler=[FixedSampler(model.roi_sampler, seeds), *later],
        roi_aligner=roi_aligner.MultilevelROIAligner(**model.roi_aligner.model_dump()),
        detection_generator=detection_generator.DetectionGenerator(**model.detection_generator.model_dump()),
        class_agnostic_bbox_pred=detector.is_class_agnostic,
        cascade_class_ensemble=model.detection_head.cascade_class_ensemble,
        **mask_parts(detector),
    )


def mask_parts(detector):
    """Returns what the Model Garden's Mask R-CNN has beside its Faster R-CNN."""
    model = detector.model
    if model.type != 'mask_rcnn':
        return {}
    return {
        'mask_head': detector.modules['mask_head'],
        'mask_sampler': mask_sampler.MaskSampler(28, model.mask_sampler.num_sampled_masks),
        'mask_roi_aligner': roi_aligner.MultilevelROIAligner(**model.mask_roi_aligner.model_dump()),
    }


def model_garden_losses(detector, batch, proposals):
    config = maskrcnn_config.MaskRCNNTask(model=model_garden_config(detector.model, detector.num_classes))
    task = maskrcnn_task.MaskRCNNTask(config)
    model = model_garden_model(detector, batch['seed'], proposals)
    with tf.GradientTape() as tape:
        anchors = {level: tf.tile(boxes[tf.newaxis], [2, 1, 1, 1]) for level, boxes in detector.anchor_boxes.items()}
        outputs = model(
            batch['image'],
            image_shape=batch['image_shape'],
            anchor_boxes=anchors,
            gt_boxes=batch['gt_boxes'],
            gt_classes=batch['gt_classes'],
            gt_masks=batch['gt_masks'],
            training=True,
        )
        losses = task.build_losses(outputs, batch['targets'], aux_losses=model.losses)
    variables = [v for v in named_variables(detector.modules).values() if v.trainable]
    return losses, tape.gradient(losses['total_loss'], variables)


def our_losses(detector, batch):
    variables = [v for v in named_variables(detector.modules).values() if v.trainable]
    with tf.GradientTape() as tape:
        losses = detector.losses(batch, [*RPN_TERMS, *HEAD_TERMS, *(['mask'] if 'mask_head' in detector.modules else [])])
        total = tf.add_n(list(losses.values())) + detector.regularization(variables)
    return losses, total, tape.gradient(total, variables)


@each
@pytest.mark.slow
def test_losses_and_gradients_equal_the_model_gardens(detector, batch, proposals):
    theirs, their_gradients = model_garden_losses(detector, batch, proposals)
    ours, total, our_gradients = our_losses(detector, {**batch, 'proposals': proposals})
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[TERMS[name]], rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(total, theirs['total_loss'], rtol=1e-5)
    assert sum(gradient is not None for gradient in our_gradients) > 100
    for ours_, theirs_ in zip(our_gradients, their_gradients, strict=True):
        assert (ours_ is None) == (theirs_ is None)  # The backbone's classification layer feeds no level.
        if ours_ is None:
            continue
        scale = np.abs(theirs_).max()
        # The gradient of a bias in front of BatchNorm is zero but for rounding, which 1e-6 covers.
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-4, atol=1e-4 * scale + 1e-6)


@each
@pytest.mark.slow
def test_detections_equal_the_model_gardens(detector, batch, proposals):
    theirs = model_garden_model(detector, batch['seed'], proposals)(
        batch['image'],
        image_shape=batch['image_shape'],
        anchor_boxes={level: tf.tile(boxes[tf.newaxis], [2, 1, 1, 1]) for level, boxes in detector.anchor_boxes.items()},
        training=False,
    )
    ours = detector.detect({'image': batch['image'], 'image_shape': batch['image_shape'], 'proposals': proposals})
    assert int(tf.reduce_sum(ours.num_valid)) > 20
    assert_same_detections(ours, of_model_garden(theirs))


@each
def test_padding_behind_proposals_changes_no_detection(detector, batch, proposals, monkeypatch):
    """The head is not asked about columns that are padding in every image."""
    classify, classified = type(detector).classify, []

    def spy(self, features, rois, image_shape):
        classified.append(rois)
        return classify(self, features, rois, image_shape)

    monkeypatch.setattr(type(detector), 'classify', spy)
    known = {'image': batch['image'], 'image_shape': batch['image_shape']}
    fewer = tf.concat([proposals[:1], tf.pad(proposals[1:, :9], [[0, 0], [0, int(proposals.shape[1]) - 9], [0, 0]])], axis=0)
    without = detector.detect({**known, 'proposals': fewer})
    padded = detector.detect({**known, 'proposals': tf.pad(fewer, [[0, 0], [0, 30], [0, 0]])})
    assert [int(rois.shape[1]) for rois in classified] == [int(proposals.shape[1])] * 2
    assert int(tf.reduce_sum(without.num_valid)) > 20 and int(without.num_valid[1]) > 0
    assert_same_detections(padded, without)


@pytest.mark.parametrize('detector', [MASK], ids=['mask'], indirect=True)
@pytest.mark.slow
def test_masks_of_detections_equal_the_model_gardens(detector, batch, proposals):
    found = detector.detect({'image': batch['image'], 'image_shape': batch['image_shape'], 'proposals': proposals})
    features = detector.features(batch, training=False)
    model = model_garden_model(detector, batch['seed'], proposals)
    _, expected = model._features_to_mask_outputs(features, found.boxes_yxyx_px, found.classes)
    assert found.masks.shape == (2, 100, 28, 28) and np.ptp(found.masks) > 0.005
    np.testing.assert_allclose(found.masks, expected, atol=1e-6)
