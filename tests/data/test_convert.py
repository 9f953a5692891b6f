"""Conversion: there and back is equal, what was interrupted goes on, and what would lose something is refused."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import filelock
import numpy as np
import psutil
import pytest

from stagetrain.config import schema
from stagetrain.data import convert, recognise, writers
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import dataset_digest, load_dataset
from stagetrain.data.writers import WRITERS
from stagetrain.errors import BadInput, DataError
from tests.conftest import ROOT
from tests.data.listed_folder import add_image, coco_image, coco_object, write_coco

if TYPE_CHECKING:
    from tests.data.conftest import VocFolder

FORMATS = sorted(WRITERS)
BCCD_CLASSES = ('RBC', 'WBC', 'Platelets')


def load(source: schema.DataSource, classes: tuple[str, ...] = ('cat', 'dog'), on_bad: str = 'error') -> Dataset:
    data = schema.Data.model_validate({'classes': list(classes), 'train': source, 'validation': source, 'on_bad': on_bad})
    return load_dataset(source, data, 'train', None)


@pytest.fixture
def dataset(voc_folder: VocFolder) -> Dataset:
    """Four images: edges that no short decimal and no fraction of the size is, flags, and none at all."""
    voc_folder.add('a', voc_folder.box(10, 20, 30.1, 39.999) + voc_folder.box(1 / 3, 2 / 3, 59.3, 39.7, 'dog'))
    voc_folder.add('b, [c]', voc_folder.box(0, 0, 60, 40, 'dog')).add('d').add('e.f', voc_folder.box(1, 2, 3, 4))
    return load(voc_folder.source())


def with_flags(dataset: Dataset) -> Dataset:
    """Marks the first object as difficult and the second as a crowd."""
    first = dataclasses.replace(dataset.examples[0], difficult=np.array([True, False]), is_crowd=np.array([False, True]))
    examples = (first, *dataset.examples[1:])
    return dataclasses.replace(dataset, examples=examples, digest=dataset_digest(dataset.classes, examples))


@pytest.mark.parametrize('to', FORMATS)
def test_a_converted_data_set_is_recognised_and_equal(dataset: Dataset, tmp_path: pathlib.Path, to: str) -> None:
    out = tmp_path / 'out'
    assert convert.convert(convert.plan(dataset, to, 'train'), out)
    source, _ = recognise.recognised(schema.DataSource(format='auto', path=str(out)))
    assert source.format == to
    assert recognise.class_names(source) == ('cat', 'dog')
    assert load(source).digest == load(WRITERS[to].source(out, 'train')).digest == dataset.digest


@pytest.mark.parametrize('to', [name for name in FORMATS if WRITERS[name].keeps_flags])
def test_flags_survive(dataset: Dataset, tmp_path: pathlib.Path, to: str) -> None:
    flagged = with_flags(dataset)
    convert.convert(convert.plan(flagged, to, 'train'), tmp_path / 'out')
    found = load(WRITERS[to].source(tmp_path / 'out', 'train')).examples[0]
    assert (found.difficult.tolist(), found.is_crowd.tolist()) == ([True, False], [False, True])


def test_csv_has_no_place_for_flags(dataset: Dataset) -> None:
    flagged = with_flags(dataset)
    with pytest.raises(BadInput, match='csv has no place for the flags of 2 difficult or crowd objects; .*--drop_ignored'):
        convert.plan(flagged, 'csv', 'train')
    examples, num_dropped = convert.without_ignored(flagged)
    assert (num_dropped, [len(example.classes) for example in examples]) == (2, [0, 1, 0, 1])


def test_masks_are_not_carried_over(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    square = coco_object(1, 5, [30, 10, 15, 10], segmentation=[[30, 10, 45, 10, 45, 20, 30, 20]])
    file = write_coco(tmp_path / 'a.json', [coco_image(5, 'a.jpg')], [square])
    given = load(schema.DataSource(format='coco', path=str(file), masks=True))
    assert given.examples[0].masks is not None
    convert.convert(convert.plan(load(schema.DataSource(format='coco', path=str(file))), 'coco', 'train'), tmp_path / 'out')
    written = (tmp_path / 'out' / 'annotations.json').read_text()
    assert '"bbox"' in written and 'segmentation' not in written


@pytest.mark.parametrize('to', FORMATS)
def test_a_second_call_finds_nothing_to_do(dataset: Dataset, tmp_path: pathlib.Path, to: str) -> None:
    plan = convert.plan(dataset, to, 'train')
    assert convert.convert(plan, tmp_path / 'out', num_processes=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').rglob('*')}
    assert not convert.convert(plan, tmp_path / 'out')
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').rglob('*')} == before


def test_only_missing_parts_are_written(dataset: Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = convert.plan(dataset, 'tfrecord', 'train', num_shards=3)
    monkeypatch.setattr(convert, '_read_back', _fails)
    with pytest.raises(DataError, match='stopped here'):
        convert.convert(plan, tmp_path / 'out')
    making = tmp_path / 'out.making'
    (making / '.done-00001').unlink()
    (making / 'train-00001-of-00003.tfrecord').write_bytes(b'torn')
    kept = (making / 'train-00000-of-00003.tfrecord').stat().st_mtime_ns
    monkeypatch.undo()
    assert convert.convert(plan, tmp_path / 'out')
    assert (tmp_path / 'out' / 'train-00000-of-00003.tfrecord').stat().st_mtime_ns == kept
    assert load(WRITERS['tfrecord'].source(tmp_path / 'out', 'train')).digest == dataset.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out', 'voc']


def _fails(making: pathlib.Path, conversion: convert.Conversion) -> None:
    raise DataError('stopped here')


def test_what_was_torn_behind_its_marker_is_found(
    dataset: Dataset, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = convert.plan(dataset, 'coco', 'train')
    monkeypatch.setattr(convert, '_read_back', _fails)
    with pytest.raises(DataError, match='stopped here'):
        convert.convert(plan, tmp_path / 'out')
    monkeypatch.undo()
    image = tmp_path / 'out.making' / 'images' / 'a.jpg'
    image.write_bytes(b'')
    with pytest.raises(
        DataError, match='out.making: what was written is read back differently .first fault: .*a.jpg: the file is empty'
    ):
        convert.convert(plan, tmp_path / 'out')
    image.write_bytes(dataset.examples[1].read_bytes())
    with pytest.raises(DataError, match='out.making: what was written is read back differently; remove the folder'):
        convert.convert(plan, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_two_processes_write(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    writing: set[int] = set()

    def progress(count: int) -> None:
        children = psutil.Process().children()
        writing.update(child.pid for child in children if 'spawn_main' in ' '.join(child.cmdline()))

    assert convert.convert(convert.plan(dataset, 'tfrecord', 'train', num_shards=4), tmp_path / 'out', progress=progress)
    assert len(writing) == 2


def test_another_conversion_is_not_mixed_in(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    convert.convert(convert.plan(dataset, 'coco', 'train'), tmp_path / 'out')
    with pytest.raises(BadInput, match='out is there already; expected a new folder, or this conversion finished'):
        convert.convert(convert.plan(dataset, 'voc', 'train'), tmp_path / 'out')
    (tmp_path / 'out').rename(tmp_path / 'new.making')
    with pytest.raises(BadInput, match='new.making holds an unfinished conversion of something else; remove it'):
        convert.convert(convert.plan(dataset, 'voc', 'train'), tmp_path / 'new')


def test_a_folder_of_something_else_is_never_touched(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    (tmp_path / 'out').mkdir()
    with pytest.raises(BadInput, match='out is there already'):
        convert.convert(convert.plan(dataset, 'coco', 'train'), tmp_path / 'out')


def test_one_process_writes(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    with (
        filelock.FileLock(tmp_path / '.out.lock'),
        pytest.raises(BadInput, match='out: another process is writing it'),
    ):
        convert.convert(convert.plan(dataset, 'coco', 'train'), tmp_path / 'out')


@pytest.mark.parametrize('image_id', ['../a', '/a', 'a\0b', 'a//b', ' a', 'a\\b', ''])
@pytest.mark.parametrize('to', ['coco', 'csv', 'voc'])
def test_an_id_that_is_no_file_name_is_refused(dataset: Dataset, image_id: str, to: str) -> None:
    odd = dataclasses.replace(dataset, examples=(dataclasses.replace(dataset.examples[0], image_id=image_id),))
    with pytest.raises(BadInput, match='cannot be the name of a file; convert to tfrecord, or rename it'):
        convert.plan(odd, to, 'train')


@pytest.mark.parametrize('to', FORMATS)
def test_a_name_that_is_not_utf8_is_refused_in_every_format(dataset: Dataset, to: str) -> None:
    odd = dataclasses.replace(dataset, examples=(dataclasses.replace(dataset.examples[0], image_id='K\udce4fer'),))
    with pytest.raises(BadInput, match=r"the name 'K\udce4fer' is not UTF-8 text, so no format can hold it; rename it"):
        convert.plan(odd, to, 'train')
    with pytest.raises(BadInput, match="a class: the name '.' is not UTF-8 text"):
        convert.plan(dataclasses.replace(dataset, classes=('\udce4', 'dog')), to, 'train')


def test_a_format_that_cannot_be_written_is_refused(dataset: Dataset) -> None:
    with pytest.raises(BadInput, match=r"--to: found 'cocoa', expected one of coco, .*Did you mean 'coco'\?"):
        convert.plan(dataset, 'cocoa', 'train')


@pytest.mark.parametrize('num_shards', [0, 5])
def test_a_number_of_shards_that_cannot_be_is_refused(dataset: Dataset, num_shards: int) -> None:
    with pytest.raises(BadInput, match=f'--shards: found {num_shards}, expected 1 to 4'):
        convert.plan(dataset, 'tfrecord', 'train', num_shards=num_shards)


def test_shards_of_other_formats_are_refused(dataset: Dataset) -> None:
    with pytest.raises(BadInput, match='--shards: TFRecords have shards, coco has none'):
        convert.plan(dataset, 'coco', 'train', num_shards=2)


def test_a_split_that_is_no_file_name_is_refused(dataset: Dataset) -> None:
    with pytest.raises(BadInput, match=r"split '\.\./x': expected letters"):
        convert.plan(dataset, 'coco', '../x')


def test_an_image_keeps_its_suffix_or_gets_that_of_its_format(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    first = dataset.examples[0]
    os.rename(first.path, f'{first.path}.bin')
    examples = (dataclasses.replace(first, path=f'{first.path}.bin'), *dataset.examples[1:])
    assert convert.plan(dataclasses.replace(dataset, examples=examples), 'coco', 'train').suffixes == ('.jpg',) * 4


def test_images_of_a_changed_folder_are_not_written_in_silence(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    plan = convert.plan(dataset, 'coco', 'train')
    pathlib.Path(dataset.examples[0].path).unlink()
    with pytest.raises(DataError, match="cannot read image 'a': No such file"):
        convert.convert(plan, tmp_path / 'out')


@pytest.mark.slow
def test_records_hold_what_tensorflow_reads(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    tf = pytest.importorskip('tensorflow')
    convert.convert(convert.plan(dataset, 'tfrecord', 'train', num_shards=1), tmp_path / 'out')
    records = tf.data.TFRecordDataset(str(tmp_path / 'out' / 'train-00000-of-00001.tfrecord'))
    found = [tf.train.Example.FromString(record.numpy()).features.feature for record in records]
    assert [one['image/source_id'].bytes_list.value[0] for one in found] == [b'a', b'b, [c]', b'd', b'e.f']
    assert found[3]['image/object/bbox/xmax'].float_list.value[:] == pytest.approx([3 / 60])
    assert found[0]['image/object/class/text'].bytes_list.value[:] == [b'cat', b'dog']


KILLED = """
import pathlib, sys, time
from stagetrain.config import schema
from stagetrain.data import convert, index
if __name__ == '__main__':
    source = schema.DataSource(format='voc', path=sys.argv[1], split='trainval')
    data = schema.Data(classes=['RBC', 'WBC', 'Platelets'], train=source, validation=source, on_bad='skip')
    plan = convert.plan(index.load_dataset(source, data, 'train', None), 'tfrecord', 'train', num_shards=20)
    convert.convert(plan, pathlib.Path(sys.argv[2]), progress=lambda count: time.sleep(0.2))
"""


@pytest.mark.slow
def test_a_killed_conversion_goes_on(bccd: pathlib.Path, tmp_path: pathlib.Path) -> None:
    script, out = tmp_path / 'killed.py', tmp_path / 'out'
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(bccd), str(out)]
    running = subprocess.Popen(command, env={**os.environ, 'PYTHONPATH': str(ROOT)}, start_new_session=True)
    making = tmp_path / 'out.making'
    while len(list(making.glob('.done-*'))) < 3:
        assert running.poll() is None
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    done = {marker.name[-5:] for marker in making.glob('.done-*')}
    assert 3 <= len(done) < 20
    before = {number: (making / f'train-{number}-of-00020.tfrecord').stat().st_mtime_ns for number in done}
    source = schema.DataSource(format='voc', path=str(bccd), split='trainval')
    dataset = load(source, BCCD_CLASSES, on_bad='skip')
    assert convert.convert(convert.plan(dataset, 'tfrecord', 'train', num_shards=20), out)
    assert {number: (out / f'train-{number}-of-00020.tfrecord').stat().st_mtime_ns for number in done} == before
    assert load(writers.WRITERS['tfrecord'].source(out, 'train'), BCCD_CLASSES).digest == dataset.digest


@pytest.mark.slow
@pytest.mark.parametrize('to', FORMATS)
def test_bccd_is_equal_in_every_form_and_back(bccd: pathlib.Path, tmp_path: pathlib.Path, to: str) -> None:
    source = schema.DataSource(format='voc', path=str(bccd), split='test')
    dataset = load(source, BCCD_CLASSES)
    convert.convert(convert.plan(dataset, to, 'test'), tmp_path / to)
    there = load(WRITERS[to].source(tmp_path / to, 'test'), BCCD_CLASSES)
    convert.convert(convert.plan(there, 'voc', 'test'), tmp_path / 'back')
    back = load(WRITERS['voc'].source(tmp_path / 'back', 'test'), BCCD_CLASSES)
    assert dataset.digest == there.digest == back.digest
    for one, other in zip(dataset.examples, there.examples, strict=True):
        np.testing.assert_array_equal(one.boxes_yxyx_px, other.boxes_yxyx_px)
