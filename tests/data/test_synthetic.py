"""The synthetic data set: what it holds, that it is the same each time, and that it is made once."""

from __future__ import annotations

import hashlib
import pathlib

import numpy as np
import pytest
from PIL import Image

from stagetrain.config import schema
from stagetrain.data import index, masks, synthetic
from stagetrain.data.annotation import Dataset
from stagetrain.errors import DataError


def digests(folder: pathlib.Path) -> dict[str, str]:
    paths = [path for path in folder.rglob('*') if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def load(folder: pathlib.Path, split: str) -> Dataset:
    source = schema.DataSource(format='voc', path=str(folder), split=split)
    data = schema.Data(classes=list(synthetic.CLASSES), train=source, validation=source)
    return index.load_dataset(source, data, 'train', None)


def test_both_splits_are_read_without_a_fault(tmp_path: pathlib.Path) -> None:
    assert synthetic.make(tmp_path, 6, 3, 96, seed=1)
    train, test = load(tmp_path, 'trainval'), load(tmp_path, 'test')
    assert (len(train.examples), len(test.examples), train.bad) == (6, 3, ())
    assert {(example.height, example.width) for example in train.examples} == {(96, 96)}
    assert all(2 <= len(example.classes) <= 5 for example in train.examples)


def test_the_same_seed_gives_the_same_bytes(tmp_path: pathlib.Path) -> None:
    for folder, seed in (('a', 3), ('b', 3), ('c', 4)):
        synthetic.make(tmp_path / folder, 2, 1, 64, seed)
    assert digests(tmp_path / 'a') == digests(tmp_path / 'b')
    same = digests(tmp_path / 'a').items() & digests(tmp_path / 'c').items()
    assert sorted(name for name, _ in same) == ['ImageSets/Main/test.txt', 'ImageSets/Main/trainval.txt']


def test_outlines_are_those_of_the_boxes(tmp_path: pathlib.Path) -> None:
    synthetic.make(tmp_path, 3, 2, 64, seed=3)
    synthetic.make_masks(tmp_path)
    for split in ('trainval', 'test'):
        file, images = tmp_path / f'instances_{split}.json', tmp_path / 'JPEGImages'
        source = schema.DataSource(format='coco', path=str(file), images=str(images), masks=True)
        data = schema.Data(classes=list(synthetic.CLASSES), train=source, validation=source)
        outlined, boxes = index.load_dataset(source, data, 'train', None), load(tmp_path, split)
        assert outlined.bad == () and len(outlined.examples) == {'trainval': 3, 'test': 2}[split]
        for one, other in zip(outlined.examples, boxes.examples, strict=True):
            assert (one.image_id, one.classes.tolist()) == (other.image_id, other.classes.tolist())
            np.testing.assert_allclose(one.boxes_yxyx_px, other.boxes_yxyx_px, atol=0.01)
            assert one.masks is not None
            areas = masks.pixels(one.masks, 64, 64).sum(axis=(1, 2)) / box_areas(one.boxes_yxyx_px)
            assert areas.min() > 0.2 and areas.max() < 1.2


def box_areas(boxes_yxyx_px: np.ndarray) -> np.ndarray:
    return np.prod(boxes_yxyx_px[:, 2:] - boxes_yxyx_px[:, :2], axis=1)


def test_outlines_need_a_finished_data_set(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match='no synthetic.json, so no finished data set; make it first'):
        synthetic.make_masks(tmp_path)


def test_more_images_leave_the_first_ones_as_they_were(tmp_path: pathlib.Path) -> None:
    synthetic.make(tmp_path / 'a', 2, 1, 64, 0)
    synthetic.make(tmp_path / 'b', 3, 1, 64, 0)
    assert digests(tmp_path / 'a')['JPEGImages/000001.jpg'] == digests(tmp_path / 'b')['JPEGImages/000001.jpg']


def test_a_finished_folder_is_not_made_again(tmp_path: pathlib.Path) -> None:
    synthetic.make(tmp_path, 2, 1, 64, 0)
    (tmp_path / 'JPEGImages' / '000000.jpg').unlink()
    assert not synthetic.make(tmp_path, 2, 1, 64, 0)
    assert not (tmp_path / 'JPEGImages' / '000000.jpg').exists()


def test_an_interrupted_making_goes_on_to_the_same_end(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.make(tmp_path / 'whole', 3, 1, 64, 0)
    draw, drawn = synthetic.draw_scene, []

    def interrupted(image_size: int, random: np.random.Generator) -> object:
        drawn.append(1)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return draw(image_size, random)

    monkeypatch.setattr(synthetic, 'draw_scene', interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthetic.make(tmp_path / 'parts', 3, 1, 64, 0)
    assert not (tmp_path / 'parts' / synthetic.MARKER).exists()
    assert synthetic.make(tmp_path / 'parts', 3, 1, 64, 0)
    assert len(drawn) == 5
    assert digests(tmp_path / 'parts') == digests(tmp_path / 'whole')


def test_a_folder_made_otherwise_is_refused(tmp_path: pathlib.Path) -> None:
    synthetic.make(tmp_path, 2, 1, 64, 0)
    with pytest.raises(DataError, match=r"was made with .*'seed': 0.* asked for .*'seed': 1.*; remove it"):
        synthetic.make(tmp_path, 2, 1, 64, 1)


def test_a_folder_of_other_things_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'thesis.tex').write_text('')
    with pytest.raises(DataError, match='expected a new or empty folder, found thesis.tex'):
        synthetic.make(tmp_path, 2, 1, 64, 0)


def test_a_broken_marker_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / synthetic.MARKER).write_text('{')
    with pytest.raises(DataError, match='synthetic.json: not JSON'):
        synthetic.make(tmp_path, 2, 1, 64, 0)


@pytest.mark.parametrize(
    ('numbers', 'reason'),
    [
        ((0, 1, 64), 'num_train: found 0, expected at least 1'),
        ((1, 0, 64), 'num_validation: found 0'),
        ((1, 1, 63), 'image_size: found 63, expected at least 64'),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: pathlib.Path, numbers: tuple[int, int, int], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        synthetic.make(tmp_path, *numbers)


@pytest.mark.parametrize('corners', [((10.0, 20.0), (50.0, 20.0), (30.0, 44.0)), ((31.0, 8.0), (52.0, 29.0), (31.0, 50.0))])
def test_a_box_is_what_its_shape_covers(corners: tuple[tuple[float, float], ...]) -> None:
    shape = synthetic.Shape('triangle', corners, (255, 0, 0))
    drawn = synthetic.draw_shapes(np.zeros((64, 64, 3), np.uint8), [shape])[..., 0]
    ys, xs = np.nonzero(drawn > 60)
    np.testing.assert_allclose(shape.box_xyxy_px, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), atol=1)


def test_boxes_lie_inside_the_image() -> None:
    for seed in range(20):
        _, shapes = synthetic.draw_scene(96, np.random.default_rng(seed))
        boxes = np.asarray([shape.box_xyxy_px for shape in shapes])
        assert boxes.min() >= 0 and boxes.max() <= 96


def test_shapes_overlap_little() -> None:
    for seed in range(20):
        _, shapes = synthetic.draw_scene(96, np.random.default_rng(seed))
        boxes = [shape.box_xyxy_px for shape in shapes]
        assert max(synthetic._overlap(one, other) for one in boxes for other in boxes if one is not other) <= 0.25


def test_all_classes_occur_about_equally_often() -> None:
    names = [shape.name for seed in range(60) for shape in synthetic.draw_scene(64, np.random.default_rng(seed))[1]]
    assert min(names.count(name) / len(names) for name in synthetic.CLASSES) > 0.2


def test_images_are_jpeg_files(tmp_path: pathlib.Path) -> None:
    synthetic.make(tmp_path, 1, 1, 64, 0)
    with Image.open(tmp_path / 'JPEGImages' / '000000.jpg') as image:
        assert (image.format, image.mode, image.size) == ('JPEG', 'RGB', (64, 64))
