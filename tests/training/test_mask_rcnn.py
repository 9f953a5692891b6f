"""Mask R-CNN through the stages of its shipped config: the mask head trains alone on a frozen detector, masks are measured."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from stagetrain import files
from stagetrain.data import masks, numbering
from stagetrain.evaluation.metrics import Detections
from stagetrain.images.geometry import View, plain_view
from stagetrain.images.loading import Images
from stagetrain.weights import assign, names
from tests import tiny

pytestmark = pytest.mark.slow
MODULES = ('backbone', 'decoder', 'rpn_head', 'detection_head', 'mask_head')


NARROW = (
    *tiny.FEW_ROIS,
    'model.mask_roi_aligner.crop_size=7',
    'model.parser={aug_rand_hflip: true, mask_crop_size: 28, aug_scale_min: 0.8, aug_scale_max: 1.25}',
)


@pytest.fixture(scope='module')
def stages(tmp_path_factory: pytest.TempPathFactory, places: dict[str, str]) -> dict[str, tiny.Trained]:
    """Both stages of the shipped config, one after the other."""
    return tiny.train_in_turn(tmp_path_factory.mktemp('masks'), tiny.shipped('demo/mask_rcnn.yaml', places, *NARROW))


def test_the_mask_head_trains_alone(stages: dict[str, tiny.Trained]) -> None:
    before, after = (assign.read_stage_checkpoint(stages[name].checkpoint) for name in ('boxes', 'masks'))
    assert 'mask_head' not in {name.split('/')[0] for name in before}
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    fresh = files.read_json(stages['masks'].folder / 'lineage.json')
    new = {name for name, origin in fresh.items() if origin['kind'] == 'fresh'}
    assert {name.split('/')[0] for name in new} == {'mask_head'}
    initial = names.named_variables(tiny.context(stages['masks'].job).build_detector(MODULES).modules)
    assert all((initial[name].numpy() != after[name]).any() for name in new if name.endswith('/kernel'))
    lines = [line for line in files.read_json_lines(stages['masks'].folder / 'metrics.jsonl') if 'losses' in line]
    assert [list(line['losses']) for line in lines] == [['mask']] * 4


def test_masks_are_detected_and_measured(stages: dict[str, tiny.Trained]) -> None:
    assert 'mask_AP' not in stages['boxes'].result['metrics']
    assert {'AP', 'mask_AP', 'mask_AP50', 'mask_AP/circle'} <= stages['masks'].result['metrics'].keys()
    dataset = tiny.context(stages['masks'].job).validation_images().dataset
    records = files.read_json(stages['masks'].folder / 'detections.json')
    skeleton = files.read_json(stages['masks'].folder / 'images.json')
    found = Detections.from_coco(records, dataset, skeleton)
    ids = numbering.of_dataset(tiny.context(stages['masks'].job).pipeline.data.validation, dataset)
    assert found.to_coco(dataset, ids) == records and found.masks is not None and len(found.masks) > 6
    pixels = found.mask_pixels(dataset, 0)
    for box, mask in zip(found.boxes_yxyx_px[found.image_index == 0], pixels, strict=True):
        rows, columns = np.nonzero(mask)
        assert not len(rows) or (rows.min() >= box[0] - 6 and columns.max() <= box[3] + 6)


def test_a_stopped_and_resumed_stage_ends_with_the_same_bits(stages: dict[str, tiny.Trained], tmp_path: pathlib.Path) -> None:
    assert tiny.tensors(tiny.resumed(stages['masks'], tmp_path)) == tiny.tensors(stages['masks'].checkpoint)


def shown_and_drawn(images: Images, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first image's masks in a view, and the same drawn: its masks shown as images, cut out at the view's boxes."""
    example, index = images.dataset.examples[0], tf.constant(0, tf.int64)
    boxes, _ = images.objects(index, view)
    pixels = masks.pixels(example.masks, example.height, example.width)
    size = tf.constant([example.height, example.width], tf.float32)
    canvas = tf.stack(
        [
            images.geometry.render(tf.tile(tf.constant(mask, tf.float32)[..., tf.newaxis], [1, 1, 3]), view, size)
            for mask in pixels
        ]
    )
    normalized = boxes / tf.tile(tf.constant(images.geometry.padded, tf.float32), [2])
    drawn = tf.image.crop_and_resize(canvas[..., :1], normalized, tf.range(len(boxes)), [28, 28])[..., 0]
    return images.masks(index, view, 28).numpy(), drawn.numpy()


@pytest.mark.parametrize('flip', [0, 1])
@pytest.mark.parametrize(('scale', 'crop'), [(1.0, [0.0, 0.0]), (0.8, [0.0, 0.0]), (1.25, [0.5, 0.2])])
def test_masks_follow_the_image_in_every_view(
    stages: dict[str, tiny.Trained], flip: int, scale: float, crop: list[float]
) -> None:
    images = tiny.context(stages['masks'].job).training_images()
    view = View(tf.constant(0), tf.constant(flip), tf.constant(scale), tf.constant(crop))
    shown, drawn = shown_and_drawn(images, view)
    assert shown.shape == drawn.shape and len(shown) >= 2
    assert ((shown > 0.5) != (drawn > 0.5)).mean() < 0.08
    if (flip, scale) == (1, 1.0):
        np.testing.assert_array_equal(shown, images.masks(tf.constant(0, tf.int64), plain_view(), 28).numpy()[:, :, ::-1])
