"""The paper's own Faster R-CNN: anchors, what training ignores, losses, heads with ImageNet weights, and its size."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stagetrain.config import load, specs
from stagetrain.data.annotation import Dataset
from stagetrain.detectors import region_heads
from stagetrain.detectors.anchors import RpnTargets, single_scale_anchors
from stagetrain.detectors.faster_rcnn_single_scale import FasterRcnnSingleScale, box_loss
from stagetrain.errors import ConfigError
from stagetrain.images.geometry import geometry_of, plain_view
from stagetrain.images.loading import Images
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.weights import assign, names

pytestmark = pytest.mark.numbers
RECIPE = pathlib.Path(__file__).parents[2] / 'configs' / 'voc07' / 'four_step_vgg16.yaml'
ALL = ('backbone', 'rpn_head', 'roi_head', 'detection_head')


def options(**changes: Any) -> Any:
    """Returns options for 64x96 images and small anchors: VGG16 at a sixteenth of its width."""
    given = {
        'type': 'faster_rcnn_single_scale',
        'input_size': [64, 96, 3],
        'backbone': {'type': 'keras_vgg16', 'keras_vgg16': {'width': 0.0625}},
        'anchor': {'sizes': [16.0, 32.0], 'aspect_ratios': [0.25, 1.0]},
        'rpn_head': {'num_filters': 8},
        'roi_head': {'type': 'fc', 'fc': {'fc_dims': 8}},
        **changes,
    }
    return specs.detector('faster_rcnn_single_scale').options.model_validate(given)


def test_every_place_has_an_anchor_of_each_size_and_ratio() -> None:
    anchors = single_scale_anchors(options())
    assert {level: boxes.shape for level, boxes in anchors.items()} == {'4': (4, 6, 4 * 4)}
    first = tf.reshape(anchors['4'], [4, 6, 4, 4])[1, 2]
    # The cell's centre is (24, 40); ratio 0.25 is half as wide and twice as high as the square.
    np.testing.assert_allclose(first, [[8, 36, 40, 44], [16, 32, 32, 48], [-8, 32, 56, 48], [8, 24, 40, 56]])


def matched(allowed_border: float | None) -> np.ndarray:
    """Returns the indicators `[4, 6, 4]` of an object of 16x16 pixels at the border of an image of 60x90."""
    model = options()
    targets = RpnTargets(model.parser, single_scale_anchors(model), allowed_border)
    indicators, _ = targets.match(tf.constant([[30.0, 0.0, 46.0, 12.0]]), tf.constant([60.0, 90.0]))
    return indicators.numpy().reshape(4, 6, 4)


def test_anchors_beyond_the_image_are_ignored_and_a_box_takes_the_best_of_those_within() -> None:
    found = matched(0.0)
    square = found[:, :, 1]  # 16x16: those of the last row end at 64, of the last column at 96.
    assert (square[3] == -2).all() and (square[:, 5] == -2).all()
    assert square[2, 0] == 1 and (np.delete(square[:3, :5].ravel(), 10) == -1).all()
    # 32 high and 8 wide: two rows and five columns fit; one of these overlaps the object by 0.4 and is neither.
    assert (found[:, :, 0] == -2).sum() == 24 - 2 * 5 + 1


def test_anchors_beyond_the_image_count_where_the_option_says_so() -> None:
    assert (matched(None) != -2).sum() > (matched(0.0) != -2).sum()
    assert (matched(4.0)[3, :5, 1] == -1).all()


def test_the_box_loss_is_smooth_l1_over_what_was_sampled() -> None:
    found = tf.constant([[[0.5, 2.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0]]])
    positive = tf.constant([[True, False]])
    # 0.5 * 0.5 ** 2 + (2 - 0.5), of four that were sampled.
    np.testing.assert_allclose(box_loss(found, tf.zeros_like(found), positive, 1.0, 4), (0.125 + 1.5) / 4)
    # sigma 3: beyond 1 / 9 a line, 0.5 / 9 below the absolute value.
    np.testing.assert_allclose(box_loss(found, tf.zeros_like(found), positive, 1 / 9, 4), (2.5 - 1 / 9) / 4, rtol=1e-6)


@pytest.mark.parametrize(
    ('size', 'expected'),
    [
        ((375.0, 500.0), (600.0, 800.0)),
        ((500.0, 375.0), (800.0, 600.0)),
        ((200.0, 500.0), (403.0, 1008.0)),  # The longer side would be 1500: it fits the input instead.
    ],
)
def test_the_shorter_side_is_scaled_to_600(size: tuple[float, float], expected: tuple[float, float]) -> None:
    pipeline = load.load_pipeline(RECIPE, environ={'VOC07': 'voc', 'WEIGHTS': 'weights'}).pipeline
    geometry = geometry_of(pipeline.model, training=False)
    images = Images(Dataset('none', (), (), (), ''), geometry, include_difficult=False)
    np.testing.assert_array_equal(images.geometry.shown_size(plain_view(), tf.constant(size)), expected)


def test_dropout_depends_on_the_images_seed_alone() -> None:
    head = region_heads.FullyConnected(4, 64, 0.5, None)
    features = tf.random.stateless_uniform([2, 3, 1, 1, 4], [0, 0])
    seeds = tf.constant([[1, 2], [3, 4]])
    outputs = head(features, seeds, training=True)
    np.testing.assert_array_equal(outputs, head(features, seeds, training=True))
    alone = head(features[1:], seeds[1:], training=True)
    np.testing.assert_array_equal(outputs[1:] == 0, alone == 0)  # The same units are dropped in a batch of another size.
    np.testing.assert_allclose(outputs[1:], alone, rtol=1e-5, atol=1e-6)  # Its matrix products may be rounded otherwise.
    assert (outputs.numpy() != head(features, seeds + 1, training=True).numpy()).any()
    plain = head(features, None, training=False).numpy()
    assert ((outputs.numpy() == 0) & (plain != 0)).any()


def test_c5_behind_another_network_is_refused() -> None:
    with pytest.raises(ConfigError, match='resnet_c5 reads 1024 channels, but the backbone gives 32; use a ResNet-50'):
        FasterRcnnSingleScale(options(roi_head={'type': 'resnet_c5'}), 2, ALL, seed=0)


def test_pools_must_fill_the_crop() -> None:
    with pytest.raises(ValueError, match='pool_size: found 2; expected a divisor of crop_size, which is 7'):
        options(roi_aligner={'pool_size': 2})


@pytest.mark.slow
def test_the_full_network_has_the_papers_size_and_its_graph_is_built() -> None:
    pipeline = load.load_pipeline(RECIPE, environ={'VOC07': 'voc', 'WEIGHTS': 'weights'}).pipeline
    detector = FasterRcnnSingleScale(pipeline.model, len(pipeline.data.classes), ALL, seed=0)
    variables = names.named_variables(detector.modules)
    sizes = dict.fromkeys(ALL, 0)
    for name, variable in variables.items():
        sizes[name.split('/')[0]] += variable.shape.num_elements()
    assert sizes == {
        'backbone': 14_714_688,  # VGG16 without its top
        'rpn_head': 512 * 512 * 9 + 512 + (512 + 1) * 9 * (1 + 4),
        'roi_head': (7 * 7 * 512 + 1) * 4096 + (4096 + 1) * 4096,
        'detection_head': (4096 + 1) * 21 * (1 + 4),
    }
    assert sum(sizes.values()) == 137_073_622
    spec = tf.TensorSpec
    places = {'4': spec([1, 63, 63, 9], tf.int32)}
    batch = {
        'image': spec([1, 1008, 1008, 3], tf.float32),
        'image_shape': spec([1, 2], tf.float32),
        'seed': spec([1, 2], tf.int32),
        'targets': {
            'rpn_score_targets': places,
            'rpn_box_targets': {'4': spec([1, 63, 63, 36], tf.float32)},
            'rois': spec([1, 64, 4], tf.float32),
            'roi_classes': spec([1, 64], tf.int32),
            'roi_boxes': spec([1, 64, 4], tf.float32),
            'roi_matches': spec([1, 64], tf.int32),
        },
    }
    terms = ['rpn_score', 'rpn_box', 'frcnn_class', 'frcnn_box']
    graph = tf.function(lambda values: detector.losses(values, terms), autograph=False).get_concrete_function(batch)
    assert {name: value.shape for name, value in graph.structured_outputs.items()} == dict.fromkeys(terms, ())


@pytest.mark.slow
def test_c4_and_c5_of_a_resnet_are_those_of_keras(tmp_path: pathlib.Path) -> None:
    network = tf_keras.applications.ResNet50(input_shape=(224, 224, 3), include_top=False, weights=None, pooling='avg')
    network.save_weights(tmp_path / 'resnet50.h5')
    image = tf.random.stateless_uniform([1, 224, 224, 3], [1, 2], -120.0, 120.0)
    expected = network(image).numpy()
    model = options(
        input_size=[224, 224, 3],
        backbone={'type': 'keras_resnet50', 'keras_resnet50': {'endpoints': {'4': 'conv4_block6_out'}}},
        roi_head={'type': 'resnet_c5'},
        roi_aligner={'crop_size': 14},
    )
    detector = FasterRcnnSingleScale(model, 2, ALL, seed=3)
    origin = ModuleOrigin('keras_h5', str(tmp_path / 'resnet50.h5'))
    lineage = assign.initialise(detector.modules, {'backbone': origin, 'roi_head': origin})
    assert lineage['roi_head/conv5_block1_1_conv/kernel']['key'] == 'conv5_block1_1_conv/kernel'
    assert not [name for name in lineage if name.startswith('backbone/conv5')]
    features = detector.features({'image': image}, training=False)
    assert {level: value.shape for level, value in features.items()} == {'4': (1, 14, 14, 1024)}
    np.testing.assert_allclose(detector.modules['roi_head'](features['4']), expected, rtol=1e-5, atol=1e-5)
