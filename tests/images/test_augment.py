"""Augmentation depends on its seed alone, its boxes go where the image goes, and its operations are the Model Garden's."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from official.vision.ops import augment as model_garden

from stagetrain.config import specs
from stagetrain.images import augment
from stagetrain.images.augment import Augmenter, ImageOperation
from stagetrain.images.geometry import View
from stagetrain.pipeline.jobs import StageJob
from tests import tiny

pytestmark = pytest.mark.numbers
SIZE = (48, 64)
BOX = [14.0, 20.0, 30.0, 44.0]
SEEDS = [tf.constant([7, number], tf.int32) for number in range(12)]


def picture() -> tf.Tensor:
    """Returns a gray image uint8 with a bright square where `BOX` is."""
    pixels = np.full((*SIZE, 3), 128, np.uint8)
    pixels[14:30, 20:44] = 255
    return tf.constant(pixels)


def of(**parser: Any) -> Augmenter:
    """Returns the augmentation of a Faster R-CNN's parser."""
    options = specs.detector('faster_rcnn').options.model_validate(tiny.model(parser=parser))
    found = augment.of_parser(options.parser)
    assert found is not None
    return found


RANDAUG = {'aug_type': {'type': 'randaug', 'randaug': {'num_layers': 1, 'magnitude': 6}}}
DETECTION = {'aug_type': {'type': 'autoaug', 'autoaug': {'augmentation_name': 'detection_v0'}}}


@pytest.mark.parametrize('parser', [RANDAUG, DETECTION, {'color_jitter': 0.4}], ids=['randaug', 'autoaug', 'color_jitter'])
def test_an_image_depends_on_the_seed_alone(parser: dict[str, Any]) -> None:
    augmentation = of(**parser)
    pixels = tf.cast(tf.random.stateless_uniform([*SIZE, 3], [1, 2], 0, 255), tf.uint8)
    first, again = (tf.function(augmentation.image, autograph=False) for _ in range(2))
    shown = [first(pixels, seed).numpy() for seed in SEEDS]
    for seed, image in zip(reversed(SEEDS), reversed(shown), strict=True):
        np.testing.assert_array_equal(again(pixels, seed), image)
    assert len({image.tobytes() for image in shown}) > len(SEEDS) // 3
    assert not stateful(first.get_concrete_function(pixels, SEEDS[0]))


def stateful(function: Any) -> set[str]:
    """Returns the types of operations that draw from a generator with a state."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    return {node.op for node in nodes} & {'RandomUniform', 'RandomUniformInt', 'RandomStandardNormal', 'RandomShuffle'}


@pytest.mark.parametrize('name', ['Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY'])
@pytest.mark.parametrize('seed', [SEEDS[0], SEEDS[3]], ids=['one', 'another'])
def test_boxes_go_where_the_image_goes(name: str, seed: tf.Tensor) -> None:
    augmentation = Augmenter(num_rounds=1, policies=((ImageOperation(name, 1.0, 5.0),),), translate_const=16.0)
    image = augmentation.image(picture(), seed).numpy()
    (box,) = augmentation.boxes(tf.constant([BOX]), tf.constant(SIZE, tf.float32), seed).numpy()
    rows, columns = np.nonzero(image[..., 0] > 190)
    seen = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    assert np.abs(box - BOX).max() > 1
    np.testing.assert_allclose(box, seen, atol=1.5)


@pytest.mark.parametrize('name', ['Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY'])
def test_images_and_boxes_are_those_of_the_model_garden(name: str) -> None:
    operation = ImageOperation(name, 1.0, 5.0)
    augmentation = Augmenter(num_rounds=1, policies=((operation,),), translate_const=16.0)
    draw = tf.constant([0.0, 0.9, 0.0, 0.0])  # In the positive direction.
    extent = augmentation._extent(operation, draw)
    normalised = tf.constant([BOX]) / [*SIZE, *SIZE]
    image, boxes = model_garden.NAME_TO_FUNC[f'{name}_BBox'](picture(), normalised, extent, [128] * 3)
    np.testing.assert_array_equal(augmentation._change_image(operation, draw, picture()), image)
    ours = augmentation._move_boxes(tf.constant(SIZE, tf.float32), operation, draw, tf.constant([BOX]))
    np.testing.assert_allclose(ours, boxes * [*SIZE, *SIZE], atol=2.0)  # It rounds to pixels, three times.


@pytest.mark.parametrize('factor', [0.0, 0.4, 1.0, 1.6])
def test_colors_are_jittered_as_in_the_model_garden(factor: float) -> None:
    pixels = tf.cast(tf.random.stateless_uniform([*SIZE, 3], [1, 2], 0, 255), tf.uint8)
    brighter = augment._blend(tf.zeros_like(pixels), pixels, tf.constant(factor))
    np.testing.assert_array_equal(brighter, model_garden.brightness(pixels, factor))
    stronger = augment._blend(model_garden.grayscale(pixels), pixels, tf.constant(factor))
    np.testing.assert_array_equal(stronger, model_garden.color(pixels, factor))


def test_a_box_that_left_the_image_has_no_area_and_others_are_clipped() -> None:
    augmentation = Augmenter(num_rounds=1, policies=((ImageOperation('TranslateX', 1.0, 10.0),),), translate_const=40.0)
    boxes = tf.constant([[5.0, 2.0, 20.0, 30.0], [5.0, 20.0, 20.0, 44.0]])
    by_direction = {}
    for seed in SEEDS:
        moved = augmentation.boxes(boxes, tf.constant(SIZE, tf.float32), seed).numpy()
        by_direction[bool(moved[1, 1] < 20)] = moved
    np.testing.assert_array_equal(by_direction[True], [[5, 0, 20, 0], [5, 0, 20, 4]])
    np.testing.assert_array_equal(by_direction[False], [[5, 42, 20, 64], [5, 60, 20, 64]])


def test_a_policy_is_applied_as_often_as_its_chance_says() -> None:
    augmentation = Augmenter(num_rounds=1, policies=((ImageOperation('Invert', 0.25, 0.0),),))
    change = tf.function(augmentation.image, autograph=False)
    changed = sum(int(change(picture(), tf.constant([1, number]))[0, 0, 0]) != 128 for number in range(400))
    assert 70 < changed < 130


def test_a_cutout_paints_a_gray_square() -> None:
    augmentation = Augmenter(num_rounds=1, policies=((ImageOperation('Cutout', 1.0, 5.0),),), cutout_const=12.0)
    white = tf.fill([*SIZE, 3], tf.constant(255, tf.uint8))
    sizes = {int((augmentation.image(white, seed).numpy()[..., 0] == 128).sum()) for seed in SEEDS}
    assert max(sizes) <= 11 * 11 and len(sizes) > 1  # Half a side of 6; less at the border.


def test_detection_v0_leaves_out_what_moves_single_boxes() -> None:
    policies = of(**DETECTION).policies
    assert [[operation.name for operation in policy] for policy in policies] == [
        ['TranslateX', 'Equalize'],
        ['Cutout'],
        ['Sharpness', 'ShearX'],
        ['ShearY'],
        ['Rotate', 'Color'],
    ]


def test_randaug_draws_from_the_model_gardens_operations_less_those_excluded() -> None:
    excluded = {'aug_type': {'type': 'randaug', 'randaug': {'exclude_ops': ['Invert', 'Solarize'], 'prob_to_apply': 0.5}}}
    policies = of(**excluded).policies
    names = model_garden.RandAugment(exclude_ops=['Invert', 'Solarize']).available_ops
    assert policies == (*((ImageOperation(name, 0.5, 10.0),) for name in names), ())


# ---- in a stage -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def job(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> StageJob:
    parser = {'aug_rand_hflip': True, 'max_num_instances': 8, 'color_jitter': 0.3, **RANDAUG}
    document = tiny.pipeline(tiny_data, [tiny.stage('rpn', tiny.RPN)], parser=parser)
    return tiny.job(tmp_path_factory.mktemp('augmented'), document, 'rpn')


def test_batches_of_a_resumed_stage_are_those_of_an_uninterrupted_one(job: StageJob) -> None:
    detector = tiny.context(job).build_detector(('backbone', 'decoder', 'rpn_head'))
    whole = list(tiny.training_input(job, detector, [*tiny.RPN], num_threads=1).batches(0, 6))
    resumed = list(tiny.training_input(job, detector, [*tiny.RPN], cache_gib=1.0).batches(4, 6))
    for batch, again in zip(whole[4:], resumed, strict=True):
        for one, other in zip(tf.nest.flatten(batch), tf.nest.flatten(again), strict=True):
            np.testing.assert_array_equal(one, other)


def test_fixed_views_include_the_augmentation(job: StageJob) -> None:
    fixed = tiny.views(job, num_fixed=3)
    images = tiny.context(job).training_images()
    index = tf.constant(1, tf.int64)
    shown = [images.show(index, fixed.numbered(index, tf.constant(number))).numpy() for number in (0, 1, 2, 0)]
    assert fixed.count == 3
    np.testing.assert_array_equal(shown[0], shown[3])
    assert len({image.tobytes() for image in shown}) == 3
    plain = View(tf.constant(0), tf.constant(0), tf.constant(1.0), tf.zeros([2]))
    assert not np.array_equal(images.show(index, plain), shown[0])


def test_evaluation_is_not_augmented(job: StageJob) -> None:
    context = tiny.context(job)
    assert context.geometry(training=True).augmentation is not None
    assert context.geometry(training=False).augmentation is None
    assert dataclasses.asdict(context.geometry(training=True))['augmentation']['num_rounds'] == 1
