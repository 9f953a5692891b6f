"""VOC's annotations in the folders that tools leave, and what names of files may look like."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

import pytest

from stagetrain.config import schema
from stagetrain.data import convert, recognise, voc, writers
from stagetrain.data.annotation import BadItem, Kind
from stagetrain.errors import DataError
from tests.data.conftest import age
from tests.data.test_index import load

if TYPE_CHECKING:
    from tests.data.conftest import VocFolder

CLASSES = ('cat', 'dog')


def ids_and_faults(root: pathlib.Path, split: str | None = None) -> tuple[list[str], list[BadItem]]:
    source = schema.DataSource(format='voc', path=str(root), split=split)
    examples, bad = voc.read(source, CLASSES, 10**6)
    return [example.image_id for example in examples], bad


@pytest.fixture
def three(voc_folder: VocFolder) -> VocFolder:
    return voc_folder.add('a', voc_folder.box(1, 2, 3, 4)).add('b').add('c', voc_folder.box(5, 6, 7, 8, 'dog'))


def as_labelimg(folder: VocFolder) -> None:
    for part in ('Annotations', 'JPEGImages'):
        for file in (folder.root / part).iterdir():
            file.rename(folder.root / file.name)
        (folder.root / part).rmdir()


def renamed(annotations: str, images: str, folder: VocFolder) -> None:
    (folder.root / 'Annotations').rename(folder.root / annotations)
    (folder.root / 'JPEGImages').rename(folder.root / images)


@pytest.mark.parametrize(
    'names', [None, ('annotations', 'images'), ('annots', 'images'), ('Annotations', 'Images'), ('xml', 'img')]
)
def test_every_layout_gives_the_same_data_and_is_recognised(three: VocFolder, names: tuple[str, str] | None) -> None:
    before = load(three)
    if names:
        renamed(*names, three)
    else:
        as_labelimg(three)
    assert recognise.recognised(schema.DataSource(format='auto', path=str(three.root)))[0] == three.source()
    after = load(three)
    assert (after.digest, after.bad) == (before.digest, ())


def test_splits_that_are_folders_are_read_one_by_one(three: VocFolder) -> None:
    as_labelimg(three)
    for split, names in {'train': ('a', 'b'), 'valid': ('c',)}.items():
        (three.root / split).mkdir()
        for name in names:
            for suffix in ('xml', 'jpg'):
                (three.root / f'{name}.{suffix}').rename(three.root / split / f'{name}.{suffix}')
    assert ids_and_faults(three.root, 'train') == (['a', 'b'], [])
    source = schema.DataSource(format='auto', path=str(three.root))
    assert [(part.format, part.split) for part in recognise.parts(source)] == [('voc', 'train'), ('voc', 'valid')]
    assert recognise.recognised(source.model_copy(update={'split': 'valid'}))[0].format == 'voc'
    with pytest.raises(DataError, match='none of them without a split; set split to one of train, valid'):
        recognise.recognised(source)
    with pytest.raises(DataError, match='Its folders are splits: set split to one of train, valid'):
        voc.read(three.source(), CLASSES, 10**6)


def test_nested_folders_are_read_without_a_split(voc_folder: VocFolder) -> None:
    for part in ('Annotations', 'JPEGImages'):
        (voc_folder.root / part / 'cam1' / 'x').mkdir(parents=True)
    voc_folder.add('1').add('cam1/2').add('cam1/x/3')
    assert ids_and_faults(voc_folder.root) == (['1', 'cam1/2', 'cam1/x/3'], [])


def test_a_nested_annotation_names_its_image_without_the_folder(voc_folder: VocFolder) -> None:
    for part in ('Annotations', 'JPEGImages'):
        (voc_folder.root / part / 'cam1').mkdir()
    voc_folder.add('1').image('cam1/1', (30, 20)).annotation('cam1/1', size=(30, 20), filename='1.jpg')
    examples, bad = voc.read(voc_folder.source(), CLASSES, 10**6)
    assert ([(found.image_id, found.width) for found in examples], bad) == ([('1', 60), ('cam1/1', 30)], [])


def test_what_convert_writes_of_nested_names_is_read_without_a_split(voc_folder: VocFolder, tmp_path: pathlib.Path) -> None:
    for part in ('Annotations', 'JPEGImages'):
        (voc_folder.root / part / 'cam1').mkdir()
    dataset = load(voc_folder.add('cam1/1', voc_folder.box(1, 2, 3, 4)).add('2'))
    convert.convert(convert.plan(dataset, 'voc', 'all'), tmp_path / 'out')
    assert ids_and_faults(tmp_path / 'out') == (['2', 'cam1/1'], [])
    assert writers.WRITERS['voc'].source(tmp_path / 'out', 'all').split == 'all'


def test_a_nested_folder_that_gets_a_file_makes_the_cache_stale(voc_folder: VocFolder, tmp_path: pathlib.Path) -> None:
    for part in ('Annotations', 'JPEGImages'):
        (voc_folder.root / part / 'cam1').mkdir()
    age(voc_folder.add('cam1/1', voc_folder.box(1, 2, 3, 4)).root)
    load(voc_folder, tmp_path / 'cache')
    assert len(load(voc_folder.add('cam1/2'), tmp_path / 'cache').examples) == 2


@pytest.mark.parametrize(
    'lines',
    [
        ['a  1', 'b -1', 'c  0'],
        ['a.jpg', 'b.jpg', 'c.jpg'],
        ['a.xml', 'JPEGImages/b.jpg', 'JPEGImages\\c.JPG'],
        ['a', '', '.DS_Store', 'Thumbs.db', 'b', '._b.jpg', 'c'],
    ],
)
def test_a_split_may_have_flags_suffixes_folders_and_clutter(three: VocFolder, lines: list[str]) -> None:
    assert ids_and_faults(three.split(lines, 'cat_train').root, 'cat_train') == (['a', 'b', 'c'], [])


def test_a_name_that_looks_flagged_is_taken_as_it_stands(three: VocFolder) -> None:
    three.add('a 1').split(['a 1', 'b.jpg'])
    assert ids_and_faults(three.add('b.jpg').root, 'trainval')[0] == ['a 1', 'b.jpg']


def test_an_id_that_is_not_there_is_named_without_its_flag(three: VocFolder) -> None:
    _, (bad,) = ids_and_faults(three.split(['a 1', 'zz -1']).root, 'trainval')
    assert bad.reason == "no such file: 'Annotations/zz.xml'"


def test_the_same_image_twice_shows_behind_flags(three: VocFolder) -> None:
    _, (bad,) = ids_and_faults(three.split(['a 1', 'a -1']).root, 'trainval')
    assert (bad.element, bad.reason, bad.kind) == ('line 2', "'a' stands in line 1 already", Kind.REPEATED)


def test_hidden_files_are_no_faults(three: VocFolder) -> None:
    for name in ('._a.xml', '.DS_Store', 'Thumbs.db', 'desktop.ini'):
        (three.root / 'Annotations' / name).write_bytes(b'\0\x05\x16\x07')
    (three.root / 'Annotations' / '__MACOSX').mkdir()
    (three.root / 'Annotations' / '__MACOSX' / 'a.xml').write_bytes(b'\0')
    (three.root / 'ImageSets' / 'Main' / '._train.txt').write_bytes(b'\0')
    assert ids_and_faults(three.root) == (['a', 'b', 'c'], [])
    with pytest.raises(DataError, match=r'no split .trian.\. Known here: \(none\)'):
        ids_and_faults(three.root, 'trian')


@pytest.mark.parametrize('filename', ['a.JPG', 'A.jpg', 'a.jpeg', 'a.png', 'a', 'pictures/a.jpg', 'pictures\\a.bmp', ''])
def test_a_filename_that_lies_about_suffix_or_folder_finds_its_image(voc_folder: VocFolder, filename: str) -> None:
    voc_folder.image('a').annotation('a', voc_folder.box(1, 2, 3, 4), filename=filename)
    (found,), notes = voc.read(voc_folder.source(), CLASSES, 10**6)
    assert found.path == str(voc_folder.root / 'JPEGImages' / 'a.jpg')
    assert [(note.kind, note.element) for note in notes] == [(Kind.NOTE, 'filename')] * (
        os.path.basename(filename.replace('\\', '/')) not in ('a.jpg', '')
    )


def test_another_image_than_the_annotations_own_is_not_guessed(voc_folder: VocFolder) -> None:
    _, (bad,) = ids_and_faults(voc_folder.image('a').annotation('a', filename='gone.jpg').root)
    assert bad.reason == "no such file: 'JPEGImages/gone.jpg'; the annotation's own name is that of a.jpg"


def test_two_images_of_the_annotations_name_are_not_guessed_from(voc_folder: VocFolder) -> None:
    voc_folder.image('a').image('b').annotation('a', filename='a.bmp')
    (voc_folder.root / 'JPEGImages' / 'b.jpg').rename(voc_folder.root / 'JPEGImages' / 'a.png')
    _, (bad,) = ids_and_faults(voc_folder.root)
    assert bad.reason == "no such file: 'JPEGImages/a.bmp'; the annotation's own name is that of a.jpg, a.png"


def test_an_annotation_names_one_of_two_images_of_its_name(voc_folder: VocFolder) -> None:
    voc_folder.image('a').image('b', (30, 20)).annotation('a', filename='a.png', size=(30, 20))
    (voc_folder.root / 'JPEGImages' / 'b.jpg').rename(voc_folder.root / 'JPEGImages' / 'a.png')
    (found,), bad = voc.read(voc_folder.source(), CLASSES, 10**6)
    assert (found.path, bad) == (str(voc_folder.root / 'JPEGImages' / 'a.png'), [])


def test_a_folder_of_cocos_annotations_is_no_voc(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations' / 'instances_train.json').write_text('{}')
    (tmp_path / 'images').mkdir()
    assert voc.recognise(schema.DataSource(format='auto', path=str(tmp_path))) is None


def test_other_xml_files_are_no_voc(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'pom.xml').write_text('<project/>')
    assert voc.recognise(schema.DataSource(format='auto', path=str(tmp_path))) is None
