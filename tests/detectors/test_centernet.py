"""CenterNet: targets by hand, losses against numpy and the Model Garden's own task, peaks back to boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.projects.centernet.configs import centernet as model_garden_config
from official.projects.centernet.tasks import centernet as model_garden_task

from stagetrain.config import specs
from stagetrain.detectors.centernet import OUTPUTS, CenterNet
from stagetrain.images.network_input import Batch
from tests import tiny

pytestmark = pytest.mark.numbers
TERMS = tuple(OUTPUTS)
SIZE = (64, 96)
PLACES = (16, 24)
# A box of 40x40 pixels around (row 30, column 22) and one of 8x12; the third image row is padding.
BOXES = [[10.0, 2.0, 50.0, 42.0], [4.0, 60.0, 12.0, 72.0], [-1.0, -1.0, -1.0, -1.0]]
CLASSES = [2, 1, -1]


def build(**changes: Any) -> CenterNet:
    options = {**tiny.CENTERNET, 'input_size': [*SIZE, 3], **changes}
    model = specs.detector('centernet').options.model_validate(options)
    return CenterNet(model, num_classes=2, modules=('backbone', 'decoder', 'head'), seed=1)


@pytest.fixture(scope='module')
def detector() -> CenterNet:
    return build()


def known() -> dict[str, tf.Tensor]:
    return {'gt_boxes': tf.constant(BOXES), 'gt_classes': tf.constant(CLASSES), 'num_objects': tf.constant(2)}


def random_outputs(num_images: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {'heatmap': 2, 'size': 2, 'offset': 2}
    return {term: random.normal(size=(num_images, *PLACES, depth)).astype(np.float32) for term, depth in shapes.items()}


def batch_of(detector: CenterNet, image_shapes: list[tuple[float, float]]) -> dict[str, Any]:
    targets = {key: tf.stack([value] * len(image_shapes)) for key, value in detector.match(known(), TERMS).items()}
    classes = tf.constant([CLASSES] * len(image_shapes))
    return {'image_shape': tf.constant(image_shapes), 'gt_classes': classes, 'targets': targets}


def test_a_gaussian_has_the_radius_at_which_a_box_keeps_its_iou(detector: CenterNet) -> None:
    heatmap = detector.match(known(), TERMS)['heatmap_targets'].numpy()
    assert heatmap.shape == (*PLACES, 2)
    # 10x10 places, IoU 0.7: 2.8 d^2 + 28 d = 30 gives d = 2.7 (halved as in the paper's code), so radius 2 and sigma 5/6.
    row = heatmap[7, :, 1]
    np.testing.assert_allclose(row[3:8], np.exp(-np.array([4, 1, 0, 1, 4]) / (2 * (5 / 6) ** 2)), rtol=1e-5)
    assert row[5] == 1.0 and heatmap[2, 16, 0] == 1.0
    assert (heatmap == 1.0).sum() == 2


def test_targets_are_place_offset_and_size_in_places(detector: CenterNet) -> None:
    matched = detector.match(known(), TERMS)
    np.testing.assert_array_equal(matched['centres'], [[7, 5], [2, 16], [0, 0]])
    np.testing.assert_allclose(matched['offset_targets'], [[0.5, 0.5], [0.0, 0.5], [0.0, 0.0]])
    np.testing.assert_allclose(matched['size_targets'], [[10.0, 10.0], [2.0, 3.0], [0.0, 0.0]])


def test_only_targets_of_live_terms_are_made(detector: CenterNet) -> None:
    assert sorted(detector.match(known(), ['size'])) == ['centres', 'size_targets']
    assert sorted(detector.match(known(), ['heatmap'])) == ['heatmap_targets']


def test_an_image_without_objects_has_an_empty_heatmap(detector: CenterNet) -> None:
    nothing = {'gt_boxes': tf.constant([[-1.0] * 4]), 'gt_classes': tf.constant([-1]), 'num_objects': tf.constant(0)}
    assert float(tf.reduce_max(detector.match(nothing, TERMS)['heatmap_targets'])) == 0.0


def test_the_focal_loss_is_the_papers_equation_1_inside_the_image(detector: CenterNet) -> None:
    outputs, batch = random_outputs(2), batch_of(detector, [(64.0, 96.0), (48.0, 70.0)])
    target = batch['targets']['heatmap_targets'].numpy().astype(np.float64)
    probability = 1 / (1 + np.exp(-outputs['heatmap'].astype(np.float64)))
    at_centre = (1 - probability) ** 2 * np.log(probability)
    elsewhere = (1 - target) ** 4 * probability**2 * np.log(1 - probability)
    values = -np.where(target == 1, at_centre, elsewhere)
    values[1, 12:], values[1, :, 18:] = 0, 0  # 48 pixels are 12 places, 70 begin the 18th.
    assert float(detector.losses_on(outputs, batch)['heatmap']) == pytest.approx(values.sum() / 4, rel=1e-4)


def test_size_and_offset_are_l1_at_the_centres(detector: CenterNet) -> None:
    outputs, batch = random_outputs(1), batch_of(detector, [(64.0, 96.0)])
    found = detector.losses_on(outputs, batch)
    at = [(7, 5), (2, 16)]
    for term, wanted in (('size', [[10, 10], [2, 3]]), ('offset', [[0.5, 0.5], [0, 0.5]])):
        errors = [np.abs(outputs[term][0, row, column] - target).sum() for (row, column), target in zip(at, wanted, strict=True)]
        assert float(found[term]) == pytest.approx(sum(errors) / 2, rel=1e-5)


def test_losses_are_those_of_the_model_gardens_task(detector: CenterNet) -> None:
    config = model_garden_config.CenterNetTask(
        model=model_garden_config.CenterNetModel(num_classes=2, max_num_instances=3, input_size=[*SIZE, 3])
    )
    task = model_garden_task.CenterNetTask(config)
    task._net_down_scale = 4  # Known to it only after it has built its hourglass.
    outputs, image_shapes = random_outputs(2), [(64.0, 96.0), (48.0, 72.0)]
    theirs = task.build_losses(
        {OUTPUTS[term]: [tf.constant(values)] for term, values in outputs.items()},
        {
            'boxes': tf.maximum(tf.constant([BOXES] * 2), 0.0),  # It reads out of bounds for a box of -1.
            'classes': tf.constant([CLASSES] * 2),
            'groundtruths': {'num_detections': tf.constant([2, 2])},
            'unpad_image_shapes': tf.constant(image_shapes),
        },
    )
    ours = detector.losses_on(outputs, batch_of(detector, image_shapes))
    for term, name in (('heatmap', 'ct_loss'), ('size', 'scale_loss'), ('offset', 'ct_offset_loss')):
        assert float(ours[term]) == pytest.approx(float(theirs[name]), rel=1e-6)


def test_perfect_outputs_are_decoded_into_the_boxes(detector: CenterNet) -> None:
    matched = {key: value.numpy() for key, value in detector.match(known(), TERMS).items()}
    outputs = {term: np.zeros((1, *PLACES, 2), np.float32) for term in TERMS}
    probability = np.clip(matched['heatmap_targets'], 1e-3, 0.9)
    outputs['heatmap'][0] = np.log(probability / (1 - probability))
    outputs['heatmap'][0, 15, 23] = 9.0  # In the padding: nothing can be there.
    for (row, column), size, offset in zip(matched['centres'], matched['size_targets'], matched['offset_targets'], strict=True):
        outputs['size'][0, row, column], outputs['offset'][0, row, column] = size, offset
    found = detector.decode(outputs, tf.constant([[60.0, 90.0]]))
    is_certain = found.scores[0].numpy() > 0.5
    assert is_certain.sum() == 2 and int(found.num_valid[0]) >= 2
    order = np.argsort(-found.classes[0].numpy()[is_certain])
    np.testing.assert_array_equal(found.classes[0].numpy()[is_certain][order], [2, 1])
    np.testing.assert_allclose(found.boxes_yxyx_px[0].numpy()[is_certain][order], BOXES[:2], atol=1e-4)


def features(detector: CenterNet, seed: int, training: bool) -> np.ndarray:
    batch: Batch = {
        'features': {'backbone': {'5': tf.ones([2, 2, 3, 256])}},
        'seed': tf.constant([[seed, 2], [3, 4]]),
    }
    return detector.features(batch, training)['2'].numpy()


def test_dropout_depends_on_the_seed_of_the_step_alone(detector: CenterNet) -> None:
    np.testing.assert_array_equal(features(detector, 1, training=True), features(detector, 1, training=True))
    assert np.abs(features(detector, 1, training=True) - features(detector, 5, training=True)).max() > 0
    np.testing.assert_array_equal(features(detector, 1, training=False), features(detector, 5, training=False))


def test_frozen_up_convolutions_drop_nothing() -> None:
    frozen = build()
    for layer in frozen.modules['decoder'].layers:
        layer.trainable = False
    np.testing.assert_array_equal(features(frozen, 1, training=True), features(frozen, 5, training=False))


def test_a_masked_loss_leaves_its_head_idle(detector: CenterNet) -> None:
    reached = detector.reached(['heatmap', 'size'])
    assert {name.split('/')[1] for name in reached if name.startswith('head/')} == {'ct_heatmaps2', 'ct_size2'}
    assert any(name.startswith('backbone/') for name in reached) and 'decoder/up_1/kernel' in reached


def test_up_convolutions_lead_from_c5_to_stride_4(detector: CenterNet) -> None:
    kernels = {name: tuple(v.shape) for name, v in ((v.name.split(':')[0], v) for v in detector.modules['decoder'].variables)}
    assert kernels['up_1/kernel'] == (4, 4, 8, 256) and kernels['up_3/kernel'] == (4, 4, 8, 8)
    assert detector.modules['head'].get_layer('ct_heatmaps2').conv2.bias.numpy().tolist() == pytest.approx([-2.19, -2.19])
