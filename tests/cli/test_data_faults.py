"""`stagetrain data check` on what an exporter wrote wrongly throughout: the report comes, with the likely cause."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from stagetrain.cli import main
from stagetrain.config import schema
from stagetrain.data.index import load_dataset
from stagetrain.errors import DataError
from tests.data.listed_folder import add_image, coco_image, write_coco
from tests.data.test_tfrecord import example, jpeg, write

SIZE = (200, 100)
Box = tuple[int, int, int, int]
Line = Callable[[str, int, int, int, int], str]


def boxes(num_images: int = 5) -> Iterator[tuple[str, Box]]:
    """Yields image names and boxes (x, y, width, height), four an image."""
    numbers = np.random.default_rng(0)
    for image in range(num_images):
        for _ in range(4):
            width, height = numbers.integers(10, 80), numbers.integers(10, 50)
            x, y = numbers.integers(0, SIZE[0] - width), numbers.integers(0, SIZE[1] - height)
            yield f'{image}.jpg', (int(x), int(y), int(width), int(height))


def images(folder: pathlib.Path) -> pathlib.Path:
    for name in dict(boxes()):
        add_image(folder, name, SIZE)
    return folder


def csv_file(folder: pathlib.Path, line: Line, head: str = '') -> pathlib.Path:
    text = head + ''.join(line(name, *box) + '\n' for name, box in boxes())
    (images(folder) / 'annotations.csv').write_text(text)
    return folder / 'annotations.csv'


def coco_file(folder: pathlib.Path, bbox: Callable[..., Sequence[float]], **changes: Any) -> pathlib.Path:
    images(folder)
    objects = [
        {'id': number, 'image_id': int(name[0]), 'category_id': 3, 'bbox': bbox(*box)} | changes
        for number, (name, box) in enumerate(boxes())
    ]
    listed = [coco_image(number, f'{number}.jpg', height=SIZE[1], width=SIZE[0]) for number in range(5)]
    return write_coco(folder / 'a.json', listed, objects)


def checked(capsys: pytest.CaptureFixture[str], path: pathlib.Path, *options: str) -> str:
    assert main.main(['data', 'check', str(path), *options]) == 2
    printed = capsys.readouterr()
    assert printed.err == ''
    return printed.out


@pytest.mark.parametrize(
    ('line', 'kind', 'cause'),
    [
        (
            lambda name, x, y, w, h: f'{name};{x};{y};{x + w};{y + h};cat',
            '20 x line with another number of fields, in 1 file',
            'the fields are separated by semicolons, expected commas',
        ),
        (
            lambda name, x, y, w, h: f'{name}\t{x}\t{y}\t{x + w}\t{y + h}\tcat',
            '20 x line with another number of fields',
            'the fields are separated by tabs, expected commas',
        ),
        (
            lambda name, x, y, w, h: f'{name},{x},{y},{x + w},{y + h}',
            '20 x line with another number of fields',
            'every line lacks one field, likely the class',
        ),
        (
            lambda name, x, y, w, h: f'{name},cat,{x},{y},{x + w},{y + h}',
            '20 x text where a number is expected',
            'field 2 of every line is text, likely the class',
        ),
        (
            lambda name, x, y, w, h: f'{name},"{x},5","{y},5","{x + w},5","{y + h},5",cat',
            '20 x text where a number is expected',
            'numbers have decimal commas: write points',
        ),
        (
            lambda name, x, y, w, h: f'{name},{x},{y},{w},{h},cat',
            ' x inverted box',
            'and all fit as x, y, width, height: the numbers look like that',
        ),
        (
            lambda name, x, y, w, h: f'{name},{x + w / 2},{y + h / 2},{w},{h},cat',
            ' x inverted box',
            'and all fit as the centre x, y and width, height',
        ),
        (
            lambda name, x, y, w, h: f'{name},{y},{x},{y + h},{x + w},cat',
            ' x box outside its image',
            'do not fit as x1, y1, x2, y2, and all fit as y1, x1, y2, x2',
        ),
        (lambda name, x, y, w, h: f'{name},{x},{x + w},{y},{y + h},cat', ' x inverted box', 'all fit as x1, x2, y1, y2'),
        (lambda name, x, y, w, h: f'{name},{x + w},{y + h},{x},{y},cat', ' x inverted box', 'all fit as x2, y2, x1, y1'),
        (
            lambda name, x, y, w, h: f'{name},{2 * x},{2 * y},{2 * (x + w)},{2 * (y + h)},cat',
            ' x box outside its image',
            'edges reach 2 times its size: the boxes look like those of the same images before they were scaled down',
        ),
        (
            lambda name, x, y, w, h: f'{name},{x / 200},{y / 100},{(x + w) / 200},{(y + h) / 100},cat',
            '1 x data set in which nothing can be learned',
            'Are their coordinates from 0 to 1?',
        ),
        (
            lambda name, x, y, w, h: f'{name[0]}.png,{x},{y},{x + w},{y + h},cat',
            '5 x missing file',
            '5 of 5 are there under another suffix, as 0.jpg',
        ),
    ],
)
def test_every_line_of_a_csv_is_wrong(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], line: Line, kind: str, cause: str
) -> None:
    shown = checked(capsys, csv_file(tmp_path, line))
    assert kind in shown
    assert cause in shown


def test_a_header_is_one_fault_and_no_class(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = checked(
        capsys, csv_file(tmp_path, lambda name, x, y, w, h: f'{name},{x},{y},{x + w},{y + h},cat', 'Bild,a,b,c,d,Klasse\n')
    )
    assert 'likely cause: the first line is a header: set the format to csv_header, or remove the line' in shown
    assert 'classes       cat: 20 in 5 images' in shown


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le'])
def test_another_encoding_is_named(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], encoding: str) -> None:
    file = csv_file(tmp_path, lambda name, x, y, w, h: f'{name},{x},{y},{x + w},{y + h},cat')
    file.write_bytes(file.read_text().encode(encoding))
    shown = checked(capsys, file)
    assert 'data set that cannot be read' in shown and 'UTF-16: save it as UTF-8' in shown


@pytest.mark.parametrize(
    ('bbox', 'changes', 'kind', 'cause'),
    [
        (
            lambda x, y, w, h: (x, y, x + w, y + h),
            {},
            'box outside',
            'do not fit as x, y, width, height, and all fit as x1, y1, x2',
        ),
        (lambda x, y, w, h: (y, x, h, w), {}, 'box outside its image', 'all fit as y, x, height, width'),
        (lambda x, y, w, h: (x, y, w, h), {'category_id': 0}, '20 x unknown class id', 'ids count from 0 here, expected from 1'),
        (lambda x, y, w, h: (x, y, w, h), {'category_id': 9}, '20 x unknown class id', 'ids 9 have no name: the label map'),
        (lambda x, y, w, h: (x / 200, y / 100, w / 200, h / 100), {}, 'nothing can be learned', 'coordinates from 0 to 1?'),
        (lambda x, y, w, h: (x, y, w, h), {'iscrowd': 1}, 'nothing can be learned', '20 objects: 20 crowds. Training passes'),
        (
            lambda x, y, w, h: (x, y, w, h),
            {'image_id': 99},
            '20 x entry of another form',
            'found 99, expected the id of an image',
        ),
    ],
)
def test_every_object_of_a_coco_file_is_wrong(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    bbox: Callable[..., Sequence[float]],
    changes: dict[str, Any],
    kind: str,
    cause: str,
) -> None:
    shown = checked(capsys, coco_file(tmp_path, bbox, **changes))
    assert kind in shown
    assert cause in shown


def voc_set(root: pathlib.Path, objects: str, size: tuple[int, int] = SIZE) -> pathlib.Path:
    stated = f'<size><width>{size[0]}</width><height>{size[1]}</height></size>'
    for name in dict(boxes()):
        add_image(root / 'JPEGImages', name, SIZE)
        (root / 'Annotations').mkdir(exist_ok=True)
        text = f'<annotation><filename>{name}</filename>{stated}{objects}</annotation>'
        (root / 'Annotations' / f'{name[0]}.xml').write_text(text)
    return root


BOX = '<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>'


@pytest.mark.parametrize(
    ('objects', 'size', 'cause'),
    [
        (f'<object><name>cat</name>{BOX}{BOX}</object>', SIZE, '5 objects hold several <bndbox>: all boxes of a class stand in'),
        ('<object><name>cat</name><polygon/></object>', SIZE, '5 objects hold <polygon> in place of <bndbox>: export boxes'),
        (f'<object><name>cat</name>{BOX}</object>', (0, 0), 'every stated size is 0x0: the tool left it empty'),
        (f'<object><name>cat</name>{BOX}</object>', SIZE[::-1], 'width and height have changed places in all of them'),
        (f'<object><name>cat</name>{BOX.replace("2<", "2,5<")}</object>', SIZE, 'numbers have decimal commas: write points'),
    ],
)
def test_every_annotation_of_voc_is_wrong(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], objects: str, size: tuple[int, int], cause: str
) -> None:
    assert f'likely cause: {cause}' in checked(capsys, voc_set(tmp_path, objects, size))


@pytest.mark.parametrize(
    ('classes', 'cause'),
    [
        ('Cat', "names differ in upper and lower case, blanks or signs only: 'cat' for 'Cat'"),
        ('car,bus', 'not one class name fits: the data set has cat (5); these are the classes or label map of other data'),
    ],
)
def test_classes_that_do_not_fit(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], classes: str, cause: str) -> None:
    shown = checked(capsys, voc_set(tmp_path, f'<object><name>cat</name>{BOX}</object>'), '--classes', classes)
    assert f'likely cause: {cause}' in shown


def records(folder: pathlib.Path, **changes: Any) -> pathlib.Path:
    made = [example(source_id=[b'%d' % number], encoded=[jpeg()], **changes) for number in range(3)]
    return write(folder / 'a.tfrecord', *made)


@pytest.mark.parametrize(
    ('changes', 'options', 'cause'),
    [
        (
            {f'object/bbox/{edge}': [value] for edge, value in {'ymin': 10.0, 'xmin': 30.0, 'ymax': 20.0, 'xmax': 45.0}.items()},
            ('--classes', 'cat,dog'),
            'all of them lie inside their images when they are taken for pixels: divide by height and width',
        ),
        ({'object/class/label': [0]}, ('--classes', 'cat,dog'), 'ids count from 0 here, expected from 1'),
        ({}, (), 'the data set has ids only, up to 1: give the label map with --class_file or names with --classes'),
        (
            {'object/class/text': [b'tree']},
            ('--classes', 'cat,dog'),
            'not one class name fits: the data set has tree (3); these are the classes or label map of other data',
        ),
    ],
)
def test_every_record_is_wrong(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], options: tuple[str, ...], cause: str
) -> None:
    assert f'likely cause: {cause}' in checked(capsys, records(tmp_path, **changes), *options)


def test_records_that_are_compressed_say_what_to_write(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    import gzip

    file = records(tmp_path)
    file.write_bytes(gzip.compress(file.read_bytes()))
    assert f'write `gzip -dc {file} > plain.tfrecord`' in checked(capsys, file)


def test_the_report_is_written_whatever_is_wrong(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = csv_file(tmp_path, lambda name, x, y, w, h: f'{name};{x};{y};{x + w};{y + h};cat')
    checked(capsys, file, '--json', str(tmp_path / 'report.json'), '--all')
    (one,) = json.loads((tmp_path / 'report.json').read_text())['sets']
    assert (one['num_images'], len(one['faults'])) == (0, 20)
    assert one['kinds'][0]['cause'] == 'the fields are separated by semicolons, expected commas'
    assert (one['kinds'][0]['count'], len(one['kinds'][0]['examples'])) == (20, 3)


def test_all_faults_are_listed_on_request(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = csv_file(tmp_path, lambda name, x, y, w, h: f'{name};{x};{y};{x + w};{y + h};cat')
    few, every = checked(capsys, file), checked(capsys, file, '--all')
    assert (few.count('annotations.csv: line '), every.count('annotations.csv: line ')) == (3, 20)
    assert '20 faults of 1 kind; --all lists each:' in few and 'and 17 more' in few


def test_a_set_that_cannot_be_read_keeps_no_other_from_its_report(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = csv_file(tmp_path, lambda name, x, y, w, h: f'{name},{x},{y},{x + w},{y + h},cat')
    assert main.main(['data', 'check', str(tmp_path / 'gone.csv'), str(good), '--json', str(tmp_path / 'r.json')]) == 2
    shown = capsys.readouterr().out
    assert f'{tmp_path / "gone.csv"}: format auto knows' in shown and 'nothing is there' in shown
    assert [one['num_images'] for one in json.loads((tmp_path / 'r.json').read_text())['sets']] == [0, 5]


@pytest.mark.parametrize('on_bad', ['error', 'skip'])
def test_a_run_shows_the_same_counts_and_the_command_that_lists_all(tmp_path: pathlib.Path, on_bad: str) -> None:
    file = csv_file(tmp_path, lambda name, x, y, w, h: f'{name};{x};{y};{x + w};{y + h};cat')
    source = schema.DataSource(format='csv', path=str(file))
    data = schema.Data(classes=['cat'], train=source, validation=source, on_bad=on_bad)  # type: ignore[arg-type]
    with pytest.raises(DataError) as error:
        load_dataset(source, data, 'train', None)
    assert '20 x line with another number of fields, in 1 file\n    likely cause: the fields are separated by semicolons' in str(
        error.value
    )
    assert f'stagetrain data check {file} --format csv --classes cat --all lists all.' in str(error.value)


def test_single_slips_are_not_called_systematic(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    slips = iter(range(100))
    shown = checked(
        capsys,
        csv_file(tmp_path, lambda name, x, y, w, h: f'{name},{x},{y},{x + w},{y + h if next(slips) else y},cat'),
    )
    assert 'likely cause: 1 of 20 boxes: single slips, not the form of all' in shown


def test_a_folder_of_splits_is_checked_split_by_split(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ('train', 'valid'):
        file = coco_file(tmp_path / split, lambda x, y, w, h: (x, y, w, h))
        file.rename(file.with_name('_annotations.coco.json'))
    shown = checked(capsys, tmp_path)
    assert f'{tmp_path} train\n' in shown and f'{tmp_path} valid\n' in shown
    assert '0 faults, 1 pictures in two sets' in shown  # Images of names of equal length are equal.


def test_ignoring_every_class_leaves_nothing(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = csv_file(tmp_path, lambda name, x, y, w, h: f'{name},{x},{y},{x + w},{y + h},cat')
    assert "20 objects: 20 of the ignored class 'cat'" in checked(capsys, file, '--ignore_classes', 'cat')


def test_images_with_many_objects_are_counted_and_named(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_image(tmp_path, 'a.jpg', SIZE)
    add_image(tmp_path, 'bb.jpg', SIZE)
    lines = [
        f'{name},{n % 100},{n % 50},{n % 100 + 9.5},{n % 50 + 9 + n / 999},cat'
        for name, count in (('a.jpg', 101), ('bb.jpg', 150))
        for n in range(count)
    ]
    (tmp_path / 'annotations.csv').write_text('\n'.join(lines))
    assert main.main(['data', 'check', str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert '2 images have more than 100 objects, the largest 150: training needs model.parser.max_num_instances of at' in shown
    assert f'{tmp_path / "bb.jpg"}: 150 objects\n  {tmp_path / "a.jpg"}: 101 objects' in shown
