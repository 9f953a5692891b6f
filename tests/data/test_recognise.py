"""`format: auto`, and what each format is recognised by."""

from __future__ import annotations

import gzip
import pathlib
from typing import TYPE_CHECKING

import pytest

from stagetrain.config import schema
from stagetrain.data import coco, recognise
from stagetrain.errors import DataError
from tests.data.listed_folder import add_image, coco_image, coco_object, write_coco
from tests.data.test_tfrecord import example, write

if TYPE_CHECKING:
    from tests.data.conftest import VocFolder


def auto(path: pathlib.Path | str, split: str | None = None) -> schema.DataSource:
    return schema.DataSource(format='auto', path=str(path), split=split)


def test_voc_is_a_folder_with_two_folders(voc_folder: VocFolder) -> None:
    source, reason = recognise.recognised(auto(voc_folder.root, 'trainval'))
    assert (source.format, source.split, reason) == ('voc', 'trainval', f'{voc_folder.root} holds Annotations and JPEGImages')


def test_coco_is_a_json_file(tmp_path: pathlib.Path) -> None:
    file = write_coco(tmp_path / 'a.json', [], [])
    assert recognise.recognised(auto(file)) == (
        schema.DataSource(format='coco', path=str(file)),
        f'{file} is a JSON file',
    )
    assert recognise.recognised(auto(tmp_path))[0].format == 'coco'


def test_csv_is_a_csv_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'annotations.csv').write_text('')
    assert recognise.recognised(auto(tmp_path))[0].format == 'csv'
    assert recognise.recognised(auto(tmp_path / 'annotations.csv'))[1] == f'{tmp_path / "annotations.csv"} is a CSV file'


def test_tfrecord_is_a_file_that_begins_with_a_record(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path / 'train-0.tfrecord', example())
    (tmp_path / 'label_map.pbtxt').write_text("item { id: 1 name: 'cat' }")
    for path in (file, tmp_path / 'train-*', tmp_path):
        source, reason = recognise.recognised(auto(path))
        assert (source.format, reason) == ('tfrecord', f'{file} begins with a record')
    assert source.class_file == str(tmp_path / 'label_map.pbtxt')
    assert source.path == str(tmp_path / '*.tfrecord*')


def test_a_split_of_a_folder_of_records_is_found(tmp_path: pathlib.Path) -> None:
    write(tmp_path / 'train-0.record', example())
    assert recognise.recognised(auto(tmp_path, 'train'))[0].path == str(tmp_path / 'train-*.record*')
    with pytest.raises(
        DataError,
        match=r'\(split test\): format auto knows coco, csv, csv_header, labelme, tfrecord, voc, yolo, but it is none of them',
    ):
        recognise.recognised(auto(tmp_path, 'test'))


def test_a_format_that_is_given_counts(tmp_path: pathlib.Path) -> None:
    source = schema.DataSource(format='voc', path=str(tmp_path))
    assert recognise.recognised(source) == (source, 'the format was given')


@pytest.mark.parametrize('name', ['a.tfrecord', 'a-00000-of-00001.tfrecord.gz', 'a.record'])
def test_compressed_records_are_recognised_so_that_the_reader_can_say_what_to_write(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b'x'))
    for path in (tmp_path / name, tmp_path):
        assert recognise.recognised(auto(path))[1] == f'{tmp_path / name} is compressed with GZIP'


def test_what_is_there_is_named_where_nothing_fits(tmp_path: pathlib.Path) -> None:
    for name in ('a.txt', 'b.txt', 'c.gif', '.hidden'):
        (tmp_path / name).write_text('')
    (tmp_path / 'pictures').mkdir()
    with pytest.raises(DataError, match=r'none of them: a folder with the folders pictures and the files 2 \.txt, 1 \.gif; give'):
        recognise.recognised(auto(tmp_path))
    with pytest.raises(DataError, match='none of them: an empty file'):
        recognise.recognised(auto(tmp_path / 'a.txt'))
    with pytest.raises(DataError, match='none of them: an empty folder'):
        recognise.recognised(auto(tmp_path / 'pictures'))
    (tmp_path / 'link').symlink_to('/gone')
    with pytest.raises(DataError, match='it is a link to /gone, which is not there; restore'):
        recognise.recognised(auto(tmp_path / 'link'))


def test_splits_of_a_folder_are_named_where_it_is_nothing_without_one(tmp_path: pathlib.Path) -> None:
    for split in ('train', 'valid'):
        write_coco(tmp_path / split / '_annotations.coco.json', [], [])
    with pytest.raises(DataError, match='it is none of them without a split; set split to one of train, valid'):
        recognise.recognised(auto(tmp_path))
    with pytest.raises(DataError, match='JSON files here: .*; set split to one of train, valid'):
        coco.annotation_file(schema.DataSource(format='coco', path=str(tmp_path)))
    assert [part.split for part in recognise.parts(auto(tmp_path))] == ['train', 'valid']
    assert recognise.parts(auto(tmp_path, 'train')) == [auto(tmp_path, 'train')]


@pytest.mark.parametrize(
    ('names', 'splits'),
    [
        (['annotations/instances_a.json', 'annotations/instances_b.json'], ['a', 'b']),
        (['annotations/instances_a.json'], [None]),
        (['train.csv', 'test.csv', 'classes.csv'], ['test', 'train']),
        (['train.csv', 'annotations.csv'], [None]),
    ],
)
def test_files_of_a_folder_are_its_splits(tmp_path: pathlib.Path, names: list[str], splits: list[str | None]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"images": []}' if name.endswith('json') else '')
    assert [part.split for part in recognise.parts(auto(tmp_path))] == splits


@pytest.mark.parametrize('name', ['a.txt', 'a.json', 'a.tfrecord'])
def test_what_only_has_the_name_is_not_recognised(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / name).write_text('some text that is long enough')
    with pytest.raises(
        DataError, match='format auto knows coco, csv, csv_header, labelme, tfrecord, voc, yolo, but it is none of them'
    ):
        recognise.recognised(auto(tmp_path / name))


def test_a_path_that_is_not_there_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match='gone: format auto knows .*, but nothing is there; give the format, or another path'):
        recognise.recognised(auto(tmp_path / 'gone'))


def test_two_formats_in_one_folder_are_told(tmp_path: pathlib.Path) -> None:
    write_coco(tmp_path / 'annotations.json', [], [])
    (tmp_path / 'annotations.csv').write_text('')
    with pytest.raises(DataError, match=r'finds more than one: coco \(.*JSON file\); csv \(.*CSV file\). Set format'):
        recognise.recognised(auto(tmp_path))


def test_auto_reads_by_the_reader_of_what_it_recognised(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    file = write_coco(tmp_path / 'a.json', [coco_image(1, 'a.jpg')], [coco_object(1, 1)])
    examples, bad = recognise.read(auto(file), ('cat', 'dog'), 10**6)
    assert ([found.classes.tolist() for found in examples], bad) == ([[1]], [])
    assert recognise.inputs(auto(file)) == [str(file), str(file)]
    assert recognise.class_names(auto(file)) == ('cat', 'dog')


def test_a_data_set_without_class_names_is_told(voc_folder: VocFolder) -> None:
    with pytest.raises(DataError, match='no class names are found in it; give them'):
        recognise.class_names(auto(voc_folder.add('a').root))
