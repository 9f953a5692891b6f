"""YOLO's labels: layouts of tools, boxes and polygons, and what is said about every kind of fault."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stagetrain.cli import main
from stagetrain.config import schema
from stagetrain.data import index, masks, recognise, yolo
from stagetrain.data.annotation import BadItem, Example, Kind
from stagetrain.errors import DataError
from tests.data.listed_folder import add_image

LABELS = {'a': '1 0.5 0.5 0.25 0.5\n0 0.1 0.2 0.1 0.1\n', 'b': '', 'c': '0 0.5 0.5 1 1\n'}
"""Of images of 60x40: boxes of 15x20 around (30, 20), of 6x4 around (6, 8), and all of the image."""
NAMES = 'names: [cat, dog]\n'


def write(root: pathlib.Path, files: Mapping[str, str]) -> pathlib.Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def ultralytics(root: pathlib.Path) -> None:
    for name, text in LABELS.items():
        split = 'val' if name == 'c' else 'train'
        add_image(root / 'images' / split, f'{name}.jpg')
        write(root, {f'labels/{split}/{name}.txt': text})
    write(root, {'data.yaml': f'path: /content/set\ntrain: images/train\nval: images/val\n{NAMES}'})


def roboflow(root: pathlib.Path) -> None:
    for name, text in LABELS.items():
        split = 'valid' if name == 'c' else 'train'
        add_image(root / split / 'images', f'{name}.jpg')
        write(root, {f'{split}/labels/{name}.txt': text})
    description = 'train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames:\n  0: cat\n  1: dog\n'
    write(root, {'data.yaml': description, 'README.dataset.txt': 'from Roboflow', 'README.roboflow.txt': ''})


def cvat(root: pathlib.Path) -> None:
    for name, text in LABELS.items():
        folder = f'obj_{"val" if name == "c" else "train"}_data'
        add_image(root / folder, f'{name}.jpg')
        write(root, {f'{folder}/{name}.txt': text})
    lists = {'train.txt': 'data/obj_train_data/a.jpg\ndata/obj_train_data/b.jpg\n', 'val.txt': 'data/obj_val_data/c.jpg\n'}
    write(root, {**lists, 'obj.names': 'cat\ndog\n', 'obj.data': 'classes = 2\nnames = data/obj.names\n'})


def load(root: pathlib.Path, split: str | None, name: str = 'yolo') -> Any:
    source = schema.DataSource(format=name, path=str(root), split=split)
    data = schema.Data(classes=['cat', 'dog'], train=source, validation=source)
    return index.load_dataset(source, data, 'train', None)


@pytest.mark.parametrize('make', [ultralytics, roboflow, cvat])
def test_every_layout_gives_the_same_data_and_names_its_splits(tmp_path: pathlib.Path, make: Any) -> None:
    make(tmp_path)
    train = load(tmp_path, 'train', 'auto')
    assert [example.image_id for example in train.examples] == ['a', 'b']
    np.testing.assert_array_almost_equal(train.examples[0].boxes_yxyx_px, [[10, 22.5, 30, 37.5], [6, 3, 10, 9]], 5)
    assert (train.examples[0].classes.tolist(), len(train.examples[1].classes)) == ([2, 1], 0)
    (val,) = load(tmp_path, 'val').examples
    assert (val.image_id, val.boxes_yxyx_px.tolist()) == ('c', [[0, 0, 40, 60]])
    assert load(tmp_path, 'valid').digest == load(tmp_path, 'val').digest
    auto = schema.DataSource(format='auto', path=str(tmp_path))
    assert [(part.format, part.split) for part in recognise.parts(auto)] == [('yolo', 'train'), ('yolo', 'val')]
    assert recognise.class_names(auto.model_copy(update={'split': 'val'})) == ('cat', 'dog')
    with pytest.raises(DataError, match='none of them without a split; set split to one of train, val'):
        recognise.recognised(auto)
    with pytest.raises(DataError, match='its folders are splits: set split to one of train, val'):
        load(tmp_path, None)
    with pytest.raises(DataError, match=r"no split 'trian'. Known here: train, val. Did you mean 'train'\?"):
        load(tmp_path, 'trian')


@pytest.mark.parametrize(
    ('images', 'labels', 'names'),
    [('images', 'labels', 'classes.txt'), ('', '', 'classes.txt'), ('obj_train_data', 'obj_train_data', 'obj.names')],
)
def test_a_set_without_splits_is_read_as_a_whole(tmp_path: pathlib.Path, images: str, labels: str, names: str) -> None:
    for name, text in LABELS.items():
        add_image(tmp_path / images, f'{name}.jpg')
        write(tmp_path, {f'{labels}/{name}.txt'.lstrip('/'): text})
    write(tmp_path, {names: 'cat\ndog\n'})
    found = load(tmp_path, None, 'auto')
    assert ([example.image_id for example in found.examples], found.bad) == (['a', 'b', 'c'], ())


def test_the_yaml_file_may_be_named_itself(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    ultralytics(tmp_path)
    assert len(load(tmp_path / 'data.yaml', 'train', 'auto').examples) == 2
    assert main.main(['data', 'check', str(tmp_path / 'data.yaml'), '--split', 'train']) == 0
    assert 'names the classes and folders of a YOLO data set' in ' '.join(capsys.readouterr().out.split())


def read(root: pathlib.Path, text: str, with_masks: bool = False, **files: str) -> tuple[list[Example], list[BadItem]]:
    """Writes `a.jpg` of 60x40 with labels, beside a class file."""
    add_image(root / 'images', 'a.jpg')
    write(root, {'labels/a.txt': text, 'classes.txt': 'cat\ndog\n', **files})
    return yolo.read(schema.DataSource(format='yolo', path=str(root), masks=with_masks), ('cat', 'dog'), 10**6)


@pytest.mark.parametrize(
    ('line', 'kind', 'reason'),
    [
        ('0 0.5 0.5 0.1', Kind.FIELDS, 'expected 5 fields (class x y width height) or a polygon'),
        ('0 0.5 0.5 0.1 0.1 0.9', Kind.FIELDS, 'expected 5 fields (class x y width height) or a polygon'),
        ('0 0.5 0.5 0.1 wide', Kind.NOT_A_NUMBER, "expected a number, found 'wide'"),
        ('2 0.5 0.5 0.1 0.1', Kind.LABEL, 'found class 2, expected one of 0 (cat), 1 (dog)'),
        ('-1 0.5 0.5 0.1 0.1', Kind.LABEL, 'found class -1, expected'),
        ('0.5 0.5 0.5 0.1 0.1', Kind.LABEL, 'found class 0.5, expected'),
        ('0 30 20 10 10', Kind.IN_PIXELS, 'expected edges from 0 to 1 of height and width, found ymin=15'),
        ('0 0.5 0.5 0 0.1', Kind.NO_AREA, 'the box has no area'),
        ('0 0.9 0.5 0.5 0.1', Kind.OUTSIDE, 'the box leaves the image of 60x40'),
        ('0 nan 0.5 0.5 0.1', Kind.NOT_FINITE, 'coordinates must be finite'),
    ],
)
def test_a_bad_line_is_named_and_the_others_stay(tmp_path: pathlib.Path, line: str, kind: str, reason: str) -> None:
    (found,), (bad,) = read(tmp_path, f'0 0.5 0.5 0.1 0.1\n\n{line}\n')
    assert len(found.classes) == 1
    assert (bad.file, bad.element, bad.kind) == (str(tmp_path / 'labels' / 'a.txt'), 'line 3', kind)
    assert bad.reason.startswith(reason)


def test_a_polygon_is_its_box_and_where_asked_its_mask(tmp_path: pathlib.Path) -> None:
    line = '1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n'
    (found,), bad = read(tmp_path, line)
    np.testing.assert_array_almost_equal(found.boxes_yxyx_px, [[4, 6, 20, 30]], 5)
    assert (found.masks, bad) == (None, [])
    (found,), (bad_line,) = read(tmp_path, line + '0 0.5 0.5 0.1 0.1\n', with_masks=True)
    assert found.masks is not None
    pixels = masks.pixels(found.masks, 40, 60)[0]
    assert (pixels.sum(), pixels[4:20, 6:30].all()) == (16 * 24, True)
    assert bad_line.reason.endswith('found a box: it has no mask')


def test_labels_without_an_image_are_named(tmp_path: pathlib.Path) -> None:
    _, (bad,) = read(tmp_path, '0 0.5 0.5 0.1 0.1\n', **{'labels/gone.txt': '0 0.5 0.5 0.1 0.1\n'})
    assert (bad.file, bad.kind) == (str(tmp_path / 'labels' / 'gone.txt'), Kind.MISSING)


def test_a_list_names_nothing_outside(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'secret.jpg')
    add_image(tmp_path / 'set' / 'd', 'a.jpg')
    write(
        tmp_path / 'set', {'train.txt': 'd/a.jpg\n../secret.jpg\n', 'obj.names': 'cat\ndog\n', 'd/a.txt': '0 0.5 0.5 0.1 0.1\n'}
    )
    examples, (bad,) = yolo.read(
        schema.DataSource(format='yolo', path=str(tmp_path / 'set'), split='train'), ('cat', 'dog'), 10**6
    )
    assert ([found.image_id for found in examples], bad.kind) == (['d/a'], Kind.PLACE)


def test_without_names_ids_count_in_the_order_of_the_classes(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path / 'images', 'a.jpg')
    write(tmp_path, {'labels/a.txt': '1 0.5 0.5 0.1 0.1\n'})
    source = schema.DataSource(format='auto', path=str(tmp_path))
    assert recognise.read(source, ('cat', 'dog'), 10**6)[0][0].classes.tolist() == [2]


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        ('names: {0: cat, 2: dog}', r'names: found the ids 0, 2, expected 0 to 1'),
        ('names: 3', 'names: found 3, expected a list of class names, or names by id'),
        ('names: [cat, cat]', "the class name 'cat' is given twice"),
        ('names: [', 'cannot be read as the data.yaml of a YOLO data set'),
    ],
)
def test_a_broken_description_is_refused(tmp_path: pathlib.Path, names: str, message: str) -> None:
    add_image(tmp_path / 'images', 'a.jpg')
    write(tmp_path, {'data.yaml': names})
    with pytest.raises(DataError, match=message):
        yolo.read(schema.DataSource(format='yolo', path=str(tmp_path)), ('cat',), 10**6)


@pytest.mark.parametrize(
    ('line', 'cause'),
    [
        ('{x1} {y1} {x2} {y2}', 'all fit as x1, y1, x2, y2 from 0 to 1'),
        ('{x1} {y1} {w} {h}', 'all fit as x, y, width, height from 0 to 1'),
    ],
)
def test_the_cause_of_boxes_in_another_form_is_found(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], line: str, cause: str
) -> None:
    numbers = np.random.default_rng(0)
    add_image(tmp_path / 'images', 'a.jpg')
    lines = []
    for _ in range(30):
        w, h = numbers.uniform(0.2, 0.6, 2)
        x1, y1 = numbers.uniform(0, 1 - w), numbers.uniform(0, 1 - h)
        lines.append('0 ' + line.format(x1=x1, y1=y1, x2=x1 + w, y2=y1 + h, w=w, h=h))
    write(tmp_path, {'labels/a.txt': '\n'.join(lines), 'classes.txt': 'cat\n'})
    assert main.main(['data', 'check', str(tmp_path)]) == 2
    assert cause in capsys.readouterr().out


def test_ids_from_1_are_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, '1 0.5 0.5 0.1 0.1\n2 0.5 0.5 0.2 0.2\n')
    assert main.main(['data', 'check', str(tmp_path)]) == 2
    assert 'likely cause: ids count from 1 here, expected from 0' in capsys.readouterr().out
