"""Boxes that can be used, and reading an image's bytes."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from stagetrain.data.annotation import BadItem, Dataset, Example, Unusable, class_id, usable_box
from stagetrain.errors import DataError


def example(path: pathlib.Path, offset: int | None = None, length: int | None = None) -> Example:
    nothing = np.zeros(0, np.bool_)
    return Example('a', str(path), offset, length, 40, 60, np.zeros((0, 4), np.float32), np.zeros(0, np.int32), nothing, nothing)


def test_a_box_inside_the_image_is_unchanged() -> None:
    assert usable_box((1.5, 2.0, 40.0, 60.0), 40, 60, 'box') == (1.5, 2.0, 40.0, 60.0)


def test_a_box_within_the_tolerance_is_clipped() -> None:
    assert usable_box((-1.0, -0.5, 41.0, 61.0), 40, 60, 'box') == (0.0, 0.0, 40.0, 60.0)


@pytest.mark.parametrize(
    ('box', 'reason'),
    [
        ((0.0, 0.0, float('nan'), 5.0), 'must be finite, found ymin=0 xmin=0 ymax=nan xmax=5'),
        ((0.0, 0.0, 5.0, float('inf')), 'must be finite'),
        ((5.0, 0.0, 2.0, 5.0), 'inverted'),
        ((0.0, 5.0, 5.0, 2.0), 'inverted'),
        ((5.0, 0.0, 5.0, 5.0), 'no area'),
        ((0.0, 5.0, 5.0, 5.0), 'no area'),
        ((0.0, 60.0, 5.0, 61.0), 'no area'),
        ((0.0, 1.0, 5.0, 1.0 + 1e-9), 'no area'),
        ((-1.5, 0.0, 5.0, 5.0), 'leaves the image of 60x40 pixels'),
        ((0.0, -1.5, 5.0, 5.0), 'leaves the image'),
        ((0.0, 0.0, 41.5, 5.0), 'leaves the image'),
        ((0.0, 0.0, 5.0, 61.5), 'leaves the image'),
    ],
)
def test_a_box_that_cannot_be_used_is_refused(box: tuple[float, float, float, float], reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        usable_box(box, 40, 60, 'box')


def test_class_ids_start_at_one() -> None:
    assert class_id('dog', ('cat', 'dog'), 'name') == 2


def test_an_unknown_class_names_the_known_ones() -> None:
    with pytest.raises(Unusable, match=r"name: class 'cow' is not in data.classes \(cat, dog\)"):
        class_id('cow', ('cat', 'dog'), 'name')


def test_bytes_are_the_whole_file_or_a_part(tmp_path: pathlib.Path) -> None:
    file = tmp_path / 'file'
    file.write_bytes(b'0123456789')
    assert example(file).read_bytes() == b'0123456789'
    assert example(file, 3, 4).read_bytes() == b'3456'


def test_a_missing_file_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match="gone: cannot read image 'a': No such file"):
        example(tmp_path / 'gone').read_bytes()


def test_a_shortened_file_is_named(tmp_path: pathlib.Path) -> None:
    file = tmp_path / 'file'
    file.write_bytes(b'01234')
    with pytest.raises(DataError, match='should have 4 bytes at 3, found 2: the file has changed'):
        example(file, 3, 4).read_bytes()


def test_a_bad_item_prints_what_it_knows() -> None:
    assert str(BadItem('a.xml', 'object[3]/bndbox', 'no area')) == 'a.xml: object[3]/bndbox: no area'
    assert str(BadItem('a.jpg', '', 'the file is empty')) == 'a.jpg: the file is empty'


def test_a_dataset_counts_its_boxes(tmp_path: pathlib.Path) -> None:
    assert Dataset('train', ('cat',), (example(tmp_path),), (), '').num_boxes == 0
