"""The CSV reader: what it gives, and what it says about every kind of fault."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from stagetrain.config import schema
from stagetrain.data import csv_boxes
from stagetrain.data.annotation import BadItem, Example, Kind
from stagetrain.errors import DataError
from tests.data.listed_folder import add_image

CLASSES = ('cat', 'dog')
GOOD = 'a.jpg,10,20,30,40,cat\n'


def source(path: pathlib.Path, **options: Any) -> schema.DataSource:
    return schema.DataSource(format='csv', path=str(path), **options)


def read(folder: pathlib.Path, text: str, **options: Any) -> tuple[list[Example], list[BadItem]]:
    """Writes `annotations.csv` beside images a.jpg and b.jpg."""
    for name in ('a.jpg', 'b.jpg'):
        add_image(folder, name)
    (folder / 'annotations.csv').write_text(text)
    return csv_boxes.read(source(folder / 'annotations.csv', **options), CLASSES, 10**6)


def test_lines_of_an_image_are_gathered_in_order(tmp_path: pathlib.Path) -> None:
    text = 'b.jpg,0,0,60,40,dog\n' + GOOD + '\nb.jpg,1.5,2,3,4,cat\n'
    examples, bad = read(tmp_path, text)
    assert ([found.image_id for found in examples], bad) == (['b', 'a'], [])
    np.testing.assert_array_equal(examples[0].boxes_yxyx_px, np.float32([[0, 0, 40, 60], [2, 1.5, 4, 3]]))
    assert (examples[0].classes.tolist(), examples[0].is_crowd.tolist()) == ([2, 1], [False, False])


def test_a_line_without_a_box_is_an_image_without_objects(tmp_path: pathlib.Path) -> None:
    examples, bad = read(tmp_path, 'a.jpg,,,,,\nb.jpg,1,2,3,4,cat\nb.jpg,,,,,\n')
    assert ([len(found.classes) for found in examples], bad) == ([0, 1], [])


def test_names_may_hold_commas_and_brackets(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a,b[1].jpg')
    examples, bad = read(tmp_path, '"a,b[1].jpg",10,20,30,40,cat\n')
    assert ([found.image_id for found in examples], bad) == (['a,b[1]'], [])


@pytest.mark.parametrize(
    ('line', 'reason'),
    [
        ('a.jpg,1,2,1,4,cat', 'the box has no area'),
        ('a.jpg,3,2,1,4,cat', 'the box is inverted'),
        ('a.jpg,nan,2,3,4,cat', 'coordinates must be finite'),
        ('a.jpg,1,2,inf,4,cat', 'coordinates must be finite'),
        ('a.jpg,1,2,300,4,cat', 'the box leaves the image of 60x40'),
        ('a.jpg,1,2,wide,4,cat', "expected a number, found 'wide'"),
        ('a.jpg,1,2,,4,cat', "expected a number, found ''"),
        ('a.jpg,1,2,3,4,', 'the class is empty'),
        ('a.jpg,1,2,3,4,cow', "class 'cow' is not in data.classes (cat, dog)"),
        ('a.jpg,1,2,3,4', 'expected 6 fields (path,x1,y1,x2,y2,class), found 5'),
        (',1,2,3,4,cat', 'the path is empty'),
    ],
)
def test_a_bad_line_is_dropped_and_the_others_stay(tmp_path: pathlib.Path, line: str, reason: str) -> None:
    (found,), (bad,) = read(tmp_path, f'{GOOD}{line}\n{GOOD}')
    assert len(found.classes) == 2
    assert (bad.file, bad.element) == (str(tmp_path / 'annotations.csv'), 'line 2')
    assert bad.reason.startswith(reason)


def test_a_header_is_no_line_of_this_format(tmp_path: pathlib.Path) -> None:
    _, (bad,) = read(tmp_path, 'path,x1,y1,x2,y2,class\n' + GOOD)
    assert (bad.element, bad.reason) == ('line 1', "expected a number, found 'x1'")


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('gone.jpg', "no such file: 'gone.jpg'"),
        ('../a.jpg', 'expected a name inside'),
        ('/etc/passwd', 'expected a name inside'),
    ],
)
def test_an_image_that_is_not_there_is_bad(tmp_path: pathlib.Path, name: str, reason: str) -> None:
    examples, bad = read(tmp_path, f'b.jpg,,,,,\n{name},1,2,3,4,cat\n')
    assert (len(examples), bad[0].element) == (1, 'line 2')
    assert bad[0].reason.startswith(reason)


def test_names_of_one_file_are_one_image(tmp_path: pathlib.Path) -> None:
    (found,), bad = read(tmp_path, GOOD + './a.jpg,1,2,3,4,cat\nx/../a.jpg,1,2,3,4,dog\n')
    assert (found.image_id, found.classes.tolist(), bad) == ('a', [1, 1, 2], [])


def test_absolute_paths_lie_in_the_image_folder(tmp_path: pathlib.Path) -> None:
    file = add_image(tmp_path / 'pictures', 'x/c.jpg')
    examples, bad = read(tmp_path, f'{file},1,2,3,4,cat\n', images=str(tmp_path / 'pictures'))
    assert ([found.image_id for found in examples], bad) == (['x/c'], [])


def test_images_that_differ_in_their_suffix_keep_it_in_their_ids(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.png')
    examples, bad = read(tmp_path, GOOD + 'a.png,1,2,3,4,cat\nb.jpg,1,2,3,4,cat\n')
    assert ([found.image_id for found in examples], bad) == (['a.jpg', 'a.png', 'b'], [])


def test_the_class_file_says_which_classes_there_are(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'classes.csv').write_text('dog,1\ncat,0\n')
    _, (bad,) = read(tmp_path, GOOD + 'a.jpg,1,2,3,4,cow\n')
    assert (bad.element, bad.reason) == ('line 2', "class 'cow' is not in the class file (cat, dog)")
    assert csv_boxes.class_names(source(tmp_path)) == ('cat', 'dog')


def test_without_a_class_file_the_lines_tell_the_classes(tmp_path: pathlib.Path) -> None:
    read(tmp_path, GOOD + 'b.jpg,,,,,\na.jpg,1,2,3,4,ant\n')
    assert csv_boxes.class_names(source(tmp_path)) == ('ant', 'cat')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'the class file is empty'),
        ('cat\n', "line 1: expected 'name,id' with an id from 0, found 'cat'"),
        ('cat,-1\n', "line 1: expected 'name,id'"),
        ('cat,0\ncat,1\n', "line 2: name 'cat' or id 1 is given twice"),
        ('cat,0\ndog,0\n', "line 2: name 'dog' or id 0 is given twice"),
    ],
)
def test_a_broken_class_file_is_refused(tmp_path: pathlib.Path, text: str, message: str) -> None:
    (tmp_path / 'names.csv').write_text(text)
    with pytest.raises(DataError, match=message):
        read(tmp_path, GOOD, class_file=str(tmp_path / 'names.csv'))


def test_a_missing_class_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match='names.csv: cannot be read: No such file or directory'):
        read(tmp_path, GOOD, class_file=str(tmp_path / 'names.csv'))


@pytest.mark.parametrize(
    ('content', 'message'), [(b'a.jpg,"1,2\n', 'not CSV'), (b'caf\xe9.jpg,,,,,\n', 'expected UTF-8 text: .* at byte 3')]
)
def test_a_file_that_is_no_csv_is_refused(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    (tmp_path / 'annotations.csv').write_bytes(content)
    with pytest.raises(DataError, match=message):
        csv_boxes.read(source(tmp_path / 'annotations.csv'), CLASSES, 10**6)


def test_an_empty_file_holds_nothing(tmp_path: pathlib.Path) -> None:
    assert read(tmp_path, '') == ([], [])


def test_backslashes_and_another_case_in_names_find_the_image(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'sub/c.JPG')
    examples, bad = read(tmp_path, 'sub\\c.jpg,10,20,30,40,cat\nA.jpg,10,20,30,40,cat\n')
    assert [(found.image_id, found.path) for found in examples] == [
        ('sub/c', str(tmp_path / 'sub/c.JPG')),
        ('A', str(tmp_path / 'a.jpg')),
    ]
    assert [(item.kind, item.reason) for item in bad] == [
        (Kind.NOTE, "'sub/c.jpg' is called 'c.JPG'"),
        (Kind.NOTE, "'A.jpg' is called 'a.jpg'"),
    ]


@pytest.mark.parametrize('name', ['C:\\data\\a.jpg', '..\\a.jpg', '\\\\server\\a.jpg'])
def test_names_of_windows_that_lead_elsewhere_are_bad(tmp_path: pathlib.Path, name: str) -> None:
    _, (bad,) = read(tmp_path, GOOD + f'{name},1,2,3,4,cat\n')
    assert (bad.kind, bad.reason.startswith('expected a name inside')) == (Kind.PLACE, True)


def test_absolute_names_are_found_through_a_linked_folder(tmp_path: pathlib.Path) -> None:
    file = add_image(tmp_path / 'real', 'a.jpg')
    (tmp_path / 'real' / 'annotations.csv').write_text(f'{file},1,2,3,4,cat\n')
    (tmp_path / 'link').symlink_to(tmp_path / 'real')
    (found,), bad = csv_boxes.read(source(tmp_path / 'link'), CLASSES, 10**6)
    assert (found.path, bad) == (str(tmp_path / 'link' / 'a.jpg'), [])


def test_a_folder_holds_one_file_for_each_split(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    (tmp_path / 'train.csv').write_text(GOOD)
    assert len(csv_boxes.read(source(tmp_path, split='train'), CLASSES, 10**6)[0]) == 1
    with pytest.raises(DataError, match=r'test.csv: no such file; CSV files beside it: train.csv'):
        csv_boxes.read(source(tmp_path, split='test'), CLASSES, 10**6)
