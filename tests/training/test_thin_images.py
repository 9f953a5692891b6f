"""A scaled side is one pixel at least: 4000 x 3 pixels can be trained on, proposed for, stored, measured and detected in."""

from __future__ import annotations

import dataclasses
import pathlib
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from stagetrain.data import masks
from stagetrain.data.annotation import Dataset, Example
from stagetrain.evaluation.evaluate import Evaluator
from stagetrain.images.geometry import Geometry, View, plain_view
from stagetrain.images.loading import Images
from stagetrain.stores import proposals
from tests import tiny

pytestmark = pytest.mark.numbers
PLAIN = Geometry(64, 64, 16, 'imagenet_mean_std', False, False, 1.0, 1.0, 8)
JITTERED = dataclasses.replace(PLAIN, flip_vertical=True, scale_min=0.1, scale_max=2.0)
SHORTER_SIDE = dataclasses.replace(PLAIN, shorter_side=40)


def example(height: int, width: int, path: str = 'thin.png') -> Example:
    """Returns an image with one object of all its height and the middle half of its width (or the other way round)."""
    box = [0, width / 4, height, 3 * width / 4] if width > height else [height / 4, 0, 3 * height / 4, width]
    pixels = np.zeros([1, height, width], np.uint8)
    pixels[0, int(box[0]) : int(box[2]), int(box[1]) : int(box[3])] = 1
    no = np.zeros([1], bool)
    boxes, classes = np.array([box], np.float32), np.array([1], np.int32)
    return Example(path, path, None, None, height, width, boxes, classes, no, no, masks=masks.from_pixels(pixels))


def images_of(geometry: Geometry, *examples: Example) -> Images:
    return Images(Dataset('thin', ('circle',), examples, (), ''), geometry, include_difficult=False)


@pytest.mark.parametrize(
    ('geometry', 'scale', 'height', 'width', 'expected'),
    [
        (PLAIN, 1.0, 3, 4000, (1, 64)),  # 0.048 pixels.
        (PLAIN, 1.0, 4000, 3, (64, 1)),
        (PLAIN, 1.0, 32, 4096, (1, 64)),  # Half a pixel, which is rounded to the even 0.
        (PLAIN, 1.0, 33, 4096, (1, 64)),
        (PLAIN, 1.0, 96, 4096, (2, 64)),
        (PLAIN, 1.0, 1, 1, (64, 64)),
        (SHORTER_SIDE, 1.0, 3, 4000, (1, 64)),
        (JITTERED, 0.1, 100, 2000, (1, 6)),
        (JITTERED, 2.0, 3, 4000, (1, 64)),  # 128 wide, of which 64 are shown.
    ],
)
def test_a_scaled_side_has_one_pixel_at_least(
    geometry: Geometry, scale: float, height: int, width: int, expected: tuple[int, int]
) -> None:
    view = View(tf.constant(0), tf.constant(0), tf.constant(scale), tf.zeros([2]))
    images = images_of(geometry, example(height, width))
    shown = images.geometry.shown_size(view, tf.constant([height, width], tf.float32))
    assert tuple(shown.numpy()) == expected
    rendered = images.geometry.render(tf.ones([height, width, 3]), view, tf.constant([height, width], tf.float32))
    assert tuple(rendered.shape) == (64, 64, 3)
    assert tuple(np.argwhere(rendered.numpy().any(-1)).max(axis=0) + 1) == expected


@pytest.mark.parametrize(('height', 'width', 'box'), [(3, 4000, [0, 16, 1, 48]), (4000, 3, [16, 0, 48, 1])])
def test_boxes_and_masks_follow_the_scaled_sides(height: int, width: int, box: list[float]) -> None:
    images = images_of(PLAIN, example(height, width))
    boxes, classes = images.objects(tf.constant(0, tf.int64), plain_view())
    np.testing.assert_allclose(boxes, [box], atol=1e-4)
    assert classes.numpy().tolist() == [1]
    shown = images.masks(tf.constant(0, tf.int64), plain_view(), 4).numpy()
    assert shown.shape == (1, 4, 4) and shown.min() > 0.7  # Bilinear: the outer samples lie halfway outside of the object.


# ---- real stages ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def thin_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Four images of 4000 x 3 and 3 x 4000 pixels to train on, and the first two of them to validate on."""
    root = tmp_path_factory.mktemp('thin') / 'data'
    for folder in ('ImageSets/Main', 'Annotations', 'JPEGImages'):
        (root / folder).mkdir(parents=True)
    for number in range(4):
        one = example(*((3, 4000), (4000, 3))[number % 2])
        pixels = np.random.default_rng(number).integers(0, 255, [one.height, one.width, 3], np.uint8)
        Image.fromarray(pixels).save(root / f'JPEGImages/{number}.jpg')
        annotation = ET.Element('annotation')
        ET.SubElement(annotation, 'filename').text = f'{number}.jpg'
        size = ET.SubElement(annotation, 'size')
        for name, value in (('width', one.width), ('height', one.height)):
            ET.SubElement(size, name).text = str(value)
        box = ET.SubElement(annotation, 'object')
        ET.SubElement(box, 'name').text = 'circle'
        corners = ET.SubElement(box, 'bndbox')
        for name, value in zip(('ymin', 'xmin', 'ymax', 'xmax'), one.boxes_yxyx_px[0], strict=True):
            ET.SubElement(corners, name).text = str(int(value))
        ET.ElementTree(annotation).write(root / f'Annotations/{number}.xml')
    (root / 'ImageSets/Main/trainval.txt').write_text('0\n1\n2\n3\n')
    (root / 'ImageSets/Main/test.txt').write_text('0\n1\n')
    return root


@pytest.mark.slow
def test_thin_images_are_trained_on_proposed_for_stored_measured_and_detected_in(
    thin_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shared = ['backbone/.*', 'decoder/.*']
    stages = [
        tiny.stage('rpn', tiny.RPN, {'steps': 2}),
        tiny.stage(
            'head',
            tiny.HEAD,
            {'steps': 2},
            init={'backbone': 'rpn', 'decoder': 'rpn'},
            freeze_variables=shared,
            proposals={'from': 'rpn', 'max_per_image': 20},
            features='disk',
        ),
    ]
    document = tiny.pipeline(thin_data, stages)
    first = tiny.Trained(one := tiny.job(tmp_path, document, 'rpn'), *tiny.train(one))
    store = tmp_path / 'stores' / 'proposals' / 'made'
    store.parent.mkdir(parents=True)
    proposing = dict.fromkeys(('backbone', 'decoder', 'rpn_head'), first.origin)
    made = proposals.make_proposals(
        tiny.proposals_job(tmp_path, document, 'head', proposing, store),
        lambda event: None,
        lambda: False,
    )
    assert made['recall']['recall_0.5'] is not None
    origins = dict.fromkeys(('backbone', 'decoder'), first.origin)
    result, _ = tiny.train(tiny.job(tmp_path, document, 'head', origins=origins, artefacts={'proposals': str(store)}))
    assert result['metrics']['AP'] is not None and result['features']

    context = tiny.context(tiny.job(tmp_path, document, 'rpn'))
    detector = context.build_detector(('backbone', 'decoder', 'rpn_head', 'detection_head'))
    found = Evaluator(detector, context.validation_images(), batch_size=2, can_detect=True).detect()
    assert np.isfinite(found.boxes_yxyx_px).all()
    assert (found.boxes_yxyx_px[found.image_index == 0].max(axis=0) <= [3, 4000, 3, 4000]).all()
