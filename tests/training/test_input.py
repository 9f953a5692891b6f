"""What a step sees depends on (seed, stage, step, image) alone, and is what the Model Garden's own parser makes of an image."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from official.vision.dataloaders import maskrcnn_input

from stagetrain.config import specs
from stagetrain.data.annotation import Dataset, Example
from stagetrain.detectors.anchors import RpnTargets, anchor_boxes
from stagetrain.errors import DataError
from stagetrain.images import randomness
from stagetrain.images.batches import evaluation_batches
from stagetrain.images.geometry import Geometry, View, plain_view
from stagetrain.images.loading import Images
from stagetrain.pipeline.jobs import StageJob
from tests import tiny

pytestmark = pytest.mark.numbers
ALL = [*tiny.RPN, *tiny.HEAD]


@pytest.fixture(scope='module')
def job(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> StageJob:
    parser = {'aug_rand_hflip': True, 'aug_scale_min': 0.8, 'aug_scale_max': 1.5, 'max_num_instances': 8}
    document = tiny.pipeline(tiny_data, [tiny.stage('joint', tiny.RPN | tiny.HEAD)], parser=parser)
    return tiny.job(tmp_path_factory.mktemp('input'), document, 'joint')


@pytest.fixture(scope='module')
def mirrored_job(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> StageJob:
    parser = {'aug_rand_hflip': True, 'aug_rand_vflip': True, 'max_num_instances': 8}
    document = tiny.pipeline(tiny_data, [tiny.stage('joint', tiny.RPN | tiny.HEAD)], parser=parser)
    return tiny.job(tmp_path_factory.mktemp('mirrored'), document, 'joint')


@pytest.fixture(scope='module')
def detector(job: Mapping[str, Any]) -> Any:
    return tiny.context(job).build_detector(('backbone', 'decoder', 'rpn_head', 'detection_head'))


def arrays(dataset: tf.data.Dataset) -> list[dict[str, np.ndarray]]:
    """Returns the batches as flat dicts of arrays."""
    return [{str(i): part.numpy() for i, part in enumerate(tf.nest.flatten(batch))} for batch in dataset]


def assert_equal(one: list[dict[str, np.ndarray]], other: list[dict[str, np.ndarray]]) -> None:
    assert len(one) == len(other) > 0
    for ours, theirs in zip(one, other, strict=True):
        assert sorted(ours) == sorted(theirs)
        for key, value in ours.items():
            np.testing.assert_array_equal(value, theirs[key])


def test_batches_do_not_depend_on_the_first_step(job: StageJob, detector: Any) -> None:
    whole = arrays(tiny.training_input(job, detector, ALL).batches(0, 14))
    assert_equal(whole[9:], arrays(tiny.training_input(job, detector, ALL).batches(9, 14)))


def test_batches_do_not_depend_on_threads_or_caches(mirrored_job: StageJob, detector: Any) -> None:
    plain = arrays(tiny.training_input(mirrored_job, detector, ALL, num_threads=1, cache_gib=0.0).batches(0, 24))
    cached = tiny.training_input(mirrored_job, detector, ALL, num_threads=4, cache_gib=1.0)
    assert_equal(plain, arrays(cached.batches(0, 24)))
    assert cached._resized is not None and cached._matched is not None


def test_another_seed_or_stage_sees_other_images(job: StageJob, detector: Any) -> None:
    def order(**changes: Any) -> list[int]:
        changed = dataclasses.replace(job, stage={**job.stage, **changes})
        batches = tiny.training_input(changed, detector, ALL).batches(0, 6)
        return [int(index) for batch in batches for index in batch['image_index']]

    assert sorted(order()) == list(range(12))
    assert len({tuple(order()), tuple(order(seed=6)), tuple(order(name='other'))}) == 3
    assert order() == order()


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    seed = randomness.stage_seed(0, 'rpn_1')
    epochs = [[int(randomness.image_at(tf.constant(e * 7 + i, tf.int64), 7, seed)) for i in range(7)] for e in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(7))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_image_and_boxes_are_mirrored_inside_the_padding() -> None:
    images = Images(one_example(height=20, width=40), geometry(), include_difficult=False)
    view = View(tf.constant(1), tf.constant(1), tf.constant(1.0), tf.zeros([2]))
    boxes, classes = images.objects(tf.constant(0, tf.int64), view)
    # 20 x 40 pixels become 32 x 64; a box from x = 8 to 24 becomes 12.8 to 38.4, mirrored 25.6 to 51.2.
    np.testing.assert_allclose(boxes, [[3.2, 25.6, 16.0, 51.2]], atol=1e-5)
    np.testing.assert_array_equal(classes, [2])
    rows = tf.tile(tf.reshape(tf.range(64.0), [1, 64, 1]), [64, 1, 3])
    shown = images.geometry.mirror(rows, tf.constant(1), tf.constant([32, 48]))
    np.testing.assert_array_equal(shown[0, :48, 0], np.arange(47, -1, -1))
    np.testing.assert_array_equal(shown[0, 48:, 0], np.arange(63, 47, -1))


def geometry(**changes: Any) -> Geometry:
    """Returns the geometry of a 64x64 input that is mirrored horizontally."""
    values = {
        'height': 64,
        'width': 64,
        'stride': 16,
        'preprocessing': 'imagenet_mean_std',
        'flip_horizontal': True,
        'flip_vertical': False,
        'scale_min': 1.0,
        'scale_max': 1.0,
        'max_num_instances': 4,
        **changes,
    }
    return Geometry(**values)


def one_example(height: int, width: int, num_boxes: int = 1, path: str = 'a.jpg') -> Dataset:
    """Returns a data set of one image with boxes from (2, 8) to (10, 24)."""
    no = np.zeros([num_boxes], bool)
    boxes = np.array([[2, 8, 10, 24]] * num_boxes, np.float32)
    example = Example('a', path, None, None, height, width, boxes, np.full([num_boxes], 2, np.int32), no, no)
    return Dataset('train', ('x', 'y'), (example,), (), '')


def test_more_objects_than_there_is_room_for_are_refused() -> None:
    with pytest.raises(DataError, match=r'a\.jpg: 5 objects, but model\.parser\.max_num_instances is 4.*at least 5'):
        Images(one_example(20, 40, num_boxes=5), geometry(), include_difficult=False)


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'broken.jpg'
    path.write_bytes(b'\xff\xd8\xff\xe0 no image')
    images = Images(one_example(20, 40, path=str(path)), geometry(), include_difficult=False)
    with pytest.raises(DataError, match=r'broken\.jpg: cannot be decoded'):
        images.decode(0)


def test_an_image_of_another_size_than_annotated_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'small.png'
    PIL.Image.new('RGB', (10, 12)).save(path)
    images = Images(one_example(20, 40, path=str(path)), geometry(), include_difficult=False)
    with pytest.raises(DataError, match=r'small\.png: 10 x 12 pixels, expected 40 x 20'):
        images.decode(0)


def test_an_image_that_breaks_in_training_is_named(tmp_path: pathlib.Path, job: StageJob, detector: Any) -> None:
    source = tiny.training_input(job, detector, ALL)
    examples = [dataclasses.replace(example, path=str(tmp_path / 'gone.jpg')) for example in source._images.dataset.examples]
    source._images.dataset = dataclasses.replace(source._images.dataset, examples=tuple(examples))
    with pytest.raises(tf.errors.OpError):
        list(source.batches(0, 1))
    assert isinstance(source._images.fault, DataError) and 'gone.jpg' in str(source._images.fault)


def test_evaluation_shows_every_image_once_and_fills_the_last_batch(mirrored_job: StageJob) -> None:
    images = tiny.context(mirrored_job).validation_images()
    batches = list(evaluation_batches(images, 4, {}))
    assert [batch['image_index'].numpy().tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 5, 5]]
    np.testing.assert_array_equal(batches[1]['image'][1], images.show(tf.constant(5), plain_view()))


def test_an_image_lost_before_evaluation_is_an_error_that_names_it(mirrored_job: StageJob, tmp_path: pathlib.Path) -> None:
    images = tiny.context(mirrored_job).validation_images()
    examples = [dataclasses.replace(example, path=str(tmp_path / 'gone.jpg')) for example in images.dataset.examples]
    images.dataset = dataclasses.replace(images.dataset, examples=tuple(examples))
    with pytest.raises(DataError, match=r'gone\.jpg: cannot read image'):
        list(evaluation_batches(images, 4, {}))


# ---- against the Model Garden's parser ------------------------------------------------------------------------------------


def model_garden_sample(data: Dataset, model: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns what the Model Garden's parser makes of the first image, without mirroring."""
    example = data.examples[0]
    parser = maskrcnn_input.Parser(
        output_size=[80, 96],
        min_level=model.min_level,
        max_level=model.max_level,
        num_scales=model.anchor.num_scales,
        aspect_ratios=model.anchor.aspect_ratios,
        anchor_size=model.anchor.anchor_size,
        rpn_batch_size_per_im=10**6,
        rpn_fg_fraction=1.0,
        max_num_instances=8,
    )
    decoded = {
        'image': tf.io.decode_image(example.read_bytes(), channels=3, expand_animations=False),
        'groundtruth_classes': tf.constant(example.classes),
        'groundtruth_boxes': tf.constant(example.boxes_yxyx_px / 64.0),
        'groundtruth_is_crowd': tf.constant(example.is_crowd),
    }
    image, labels = parser._parse_train_data(decoded)
    return image.numpy(), labels


def test_image_boxes_and_matches_are_those_of_the_model_gardens_parser(mirrored_job: StageJob) -> None:
    options = tiny.model(input_size=[80, 96, 3], parser={'max_num_instances': 8})
    model = specs.detector('faster_rcnn').options.model_validate(options)
    data = tiny.context(mirrored_job).training_images().dataset
    images = Images(data, geometry(height=80, width=96, max_num_instances=8), include_difficult=True)
    image, labels = model_garden_sample(data, model)
    np.testing.assert_allclose(images.show(tf.constant(0), plain_view()), image, atol=1e-5)
    boxes, classes = images.objects(tf.constant(0, tf.int64), plain_view())
    np.testing.assert_allclose(boxes, labels['gt_boxes'][: len(boxes)], atol=1e-4)
    np.testing.assert_array_equal(classes, labels['gt_classes'][: len(boxes)])
    assert len(boxes) >= 2 and float(labels['gt_boxes'][len(boxes)][0]) == -1.0
    targets = RpnTargets(model.parser, anchor_boxes(model))
    indicators, encoded = targets.match(boxes, tf.constant([80.0, 96.0]))
    # With room for all anchors the parser's sample is its match: 1 positive, 0 negative, -1 neither.
    expected = np.concatenate([tf.reshape(part, [-1]) for part in labels['rpn_score_targets'].values()])
    np.testing.assert_array_equal(indicators.numpy() == 1, expected == 1)
    np.testing.assert_array_equal(indicators.numpy() == -2, expected == -1)
    assert (expected == 1).sum() >= len(boxes) and (expected == 0).sum() > 50
    expected_boxes = np.concatenate([tf.reshape(part, [-1, 4]) for part in labels['rpn_box_targets'].values()])
    np.testing.assert_allclose(encoded.numpy()[expected == 1], expected_boxes[expected == 1], atol=1e-4)
