"""CSV with a header: which columns count under which names, and what is said where one is missing."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from stagetrain.config import schema
from stagetrain.data import csv_header, csv_lines, recognise
from stagetrain.data.annotation import BadItem, Example, Kind
from stagetrain.errors import DataError
from tests.data.listed_folder import add_image

HEADER = 'filename,width,height,class,xmin,ymin,xmax,ymax\n'
LINES = 'a.jpg,60,40,dog,1,2,30,20\nb.jpg,60,40,,,,,\na.jpg,60,40,cat,5,6,7,8.5\n'


def source(path: pathlib.Path, **options: Any) -> schema.DataSource:
    return schema.DataSource(format='csv_header', path=str(path), **options)


def read(folder: pathlib.Path, text: str, **options: Any) -> tuple[list[Example], list[BadItem]]:
    """Writes `labels.csv` beside images a.jpg and b.jpg."""
    for name in ('a.jpg', 'b.jpg'):
        add_image(folder, name)
    (folder / 'labels.csv').write_text(text)
    return csv_header.read(source(folder / 'labels.csv', **options), ('cat', 'dog'), 10**6)


def test_the_object_detection_apis_csv_is_read_and_recognised(tmp_path: pathlib.Path) -> None:
    (a, b), bad = read(tmp_path, HEADER + LINES)
    assert (a.image_id, a.classes.tolist(), b.image_id, len(b.classes), bad) == ('a', [2, 1], 'b', 0, [])
    np.testing.assert_array_equal(a.boxes_yxyx_px, np.float32([[2, 1, 20, 30], [6, 5, 8.5, 7]]))
    assert csv_header.class_names(source(tmp_path)) == ('cat', 'dog')
    found, reason = recognise.recognised(schema.DataSource(format='auto', path=str(tmp_path)))
    assert (found.format, reason) == ('csv_header', f'{tmp_path / "labels.csv"} is a CSV file whose header names its columns')


@pytest.mark.parametrize(
    ('header', 'line'),
    [
        ('image,x1,y1,x2,y2,label', 'a.jpg,1,2,30,20,cat'),
        ('Label,X_Max,Y_Max,X_Min,Y_Min,Image Path,note', 'cat,30,20,1,2,a.jpg,hello'),
        ('image_name,x,y,width,height,class', 'a.jpg,1,2,29,18,cat'),
        ('label_name,bbox_x,bbox_y,bbox_width,bbox_height,image_name,image_width,image_height', 'cat,1,2,29,18,a.jpg,60,40'),
        ('filename,class,xmin,ymin,xmax,ymax,difficult,iscrowd', 'a.jpg,cat,1,2,30,20,0,False'),
        ('\nfilename,class,left,top,right,bottom', 'a.jpg,cat,1,2,30,20'),
    ],
)
def test_columns_have_other_orders_and_names(tmp_path: pathlib.Path, header: str, line: str) -> None:
    (found,), bad = read(tmp_path, f'{header}\n{line}\n')
    assert (found.boxes_yxyx_px.tolist(), found.classes.tolist(), bad) == ([[2, 1, 20, 30]], [1], [])
    assert csv_header.recognise(source(tmp_path / 'labels.csv')) is not None


def test_flags_are_read(tmp_path: pathlib.Path) -> None:
    (found,), _ = read(
        tmp_path, 'file,label,xmin,ymin,xmax,ymax,difficult,iscrowd\na.jpg,cat,1,2,3,4,1,0\na.jpg,cat,1,2,3,4,,true\n'
    )
    assert (found.difficult.tolist(), found.is_crowd.tolist()) == ([True, False], [False, True])


@pytest.mark.parametrize(
    ('line', 'kind', 'reason'),
    [
        ('a.jpg,60,40,cat,1,2,3', Kind.FIELDS, 'expected 8 fields as in the header, found 7'),
        ('a.jpg,60,40,cat,1,2,wide,4', Kind.NOT_A_NUMBER, "expected a number, found 'wide'"),
        ('a.jpg,60,40,,1,2,3,4', Kind.FORM, 'the class is empty'),
        (',60,40,cat,1,2,3,4', Kind.FORM, 'the path is empty'),
        ('a.jpg,60,40,cow,1,2,3,4', Kind.CLASS, "class 'cow' is not in data.classes"),
        ('a.jpg,60,40,cat,9,2,3,4', Kind.INVERTED, 'the box is inverted'),
        ('../a.jpg,60,40,cat,1,2,3,4', Kind.PLACE, 'expected a name inside'),
    ],
)
def test_a_bad_line_is_named_and_the_others_stay(tmp_path: pathlib.Path, line: str, kind: str, reason: str) -> None:
    examples, (bad,) = read(tmp_path, f'{HEADER}{LINES}{line}\n')
    assert (len(examples), bad.element, bad.kind) == (2, 'line 5', kind)
    assert bad.reason.startswith(reason)


def test_a_stated_size_that_contradicts_the_image_is_bad(tmp_path: pathlib.Path) -> None:
    _, (bad,) = read(tmp_path, HEADER + 'a.jpg,61,40,cat,1,2,3,4\nb.jpg,60,40,cat,1,2,3,4\n')
    assert (bad.element, bad.reason) == ('line 2', 'says 61x40, the image a.jpg has 60x40 pixels')


def test_a_flag_that_is_none_is_bad(tmp_path: pathlib.Path) -> None:
    _, (bad,) = read(tmp_path, 'file,label,xmin,ymin,xmax,ymax,difficult\na.jpg,cat,1,2,3,4,maybe\n')
    assert bad.reason == "difficult: expected 0 or 1, found 'maybe'"


def test_a_header_without_a_column_says_which_and_how_it_may_be_called(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        DataError, match='the header has Bild, Klasse, .*, expected columns also for class: class, label, .*; path: filename'
    ):
        read(tmp_path, 'Bild,Klasse,xmin,ymin,xmax,ymax\na.jpg,cat,1,2,3,4\n')
    with pytest.raises(DataError, match='expected columns also for ymax: ymax, y2, bottom'):
        read(tmp_path, 'file,class,xmin,ymin,xmax\na.jpg,cat,1,2,3\n')


def test_images_are_found_in_the_usual_folders(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path / 'images' / 'train', 'a.jpg')
    (tmp_path / 'train.csv').write_text(HEADER + 'a.jpg,60,40,cat,1,2,3,4\n')
    (tmp_path / 'test.csv').write_text(HEADER)
    (found,), _ = csv_header.read(source(tmp_path, split='train'), ('cat',), 10**6)
    assert found.path == str(tmp_path / 'images' / 'train' / 'a.jpg')
    assert [part.split for part in recognise.parts(schema.DataSource(format='auto', path=str(tmp_path)))] == ['test', 'train']


def test_roboflows_folders_are_splits(tmp_path: pathlib.Path) -> None:
    for split in ('train', 'valid'):
        add_image(tmp_path / split, 'a.jpg')
        (tmp_path / split / '_annotations.csv').write_text(HEADER + 'a.jpg,60,40,cat,1,2,3,4\n')
    parts = recognise.parts(schema.DataSource(format='auto', path=str(tmp_path)))
    assert [(part.format, part.split) for part in parts] == [('csv_header', 'train'), ('csv_header', 'valid')]
    assert len(csv_header.read(parts[1], ('cat',), 10**6)[0]) == 1


def test_a_class_file_gives_the_order(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'classes.csv').write_text('dog,0\ncat,1\n')
    read(tmp_path, HEADER + LINES)
    assert csv_header.class_names(source(tmp_path)) == ('dog', 'cat')
    assert csv_lines.inputs(source(tmp_path)) == [str(tmp_path / 'labels.csv'), str(tmp_path / 'classes.csv')]
