"""Loading a data set: order, digest, what is refused, and when the cache counts."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from stagetrain.config import schema, specs
from stagetrain.data import index, voc
from stagetrain.data.annotation import Dataset
from stagetrain.errors import ConfigError, DataError
from tests.data.conftest import age, aged
from tests.data.listed_folder import add_image, coco_image, coco_object, write_coco

if TYPE_CHECKING:
    from tests.data.conftest import VocFolder


def load(
    folder: VocFolder, cache_dir: pathlib.Path | None = None, on_bad: str = 'error', classes: tuple[str, ...] = ('cat', 'dog')
) -> Dataset:
    source = folder.source()
    data = schema.Data(classes=list(classes), train=source, validation=source, on_bad=on_bad)  # type: ignore[arg-type]
    return index.load_dataset(source, data, 'validation', cache_dir)


def test_masks_count_for_the_digest_and_come_back_from_the_cache(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path / 'data', 'a.jpg')
    objects = [coco_object(1, 5, segmentation=[[30, 10, 45, 10, 45, 20]]), coco_object(2, 5, segmentation=[[1, 1, 9, 1, 9, 9]])]
    file = write_coco(tmp_path / 'data' / 'a.json', [coco_image(5, 'a.jpg')], objects)
    age(tmp_path / 'data')
    digests = set()
    for with_masks in (False, True):
        source = schema.DataSource(format='coco', path=str(file), masks=with_masks)
        data = schema.Data(classes=['cat', 'dog'], train=source, validation=source)
        first, again = (index.load_dataset(source, data, 'train', tmp_path / 'cache') for _ in range(2))
        assert again.examples[0].masks == first.examples[0].masks
        assert (first.examples[0].masks is not None) == with_masks
        digests.add(first.digest)
    assert len(list((tmp_path / 'cache').iterdir())) == len(digests) == 2


def test_examples_are_sorted_by_id(voc_folder: VocFolder) -> None:
    dataset = load(voc_folder.add('b', voc_folder.box(1, 2, 3, 4)).add('a'))
    assert [example.image_id for example in dataset.examples] == ['a', 'b']
    assert (dataset.name, dataset.classes, dataset.num_boxes) == ('validation', ('cat', 'dog'), 1)


def test_objects_of_ignored_classes_are_left_out_and_no_faults(voc_folder: VocFolder) -> None:
    voc_folder.add('a', voc_folder.box(1, 2, 3, 4, 'cow') + voc_folder.box(5, 6, 7, 8, 'dog', difficult=1))
    voc_folder.add('b', voc_folder.box(1, 2, 3, 4, 'cow'))
    source = voc_folder.source()
    data = schema.Data(classes=['dog'], ignore_classes=['cow'], train=source, validation=source)
    first, second = index.read_dataset(source, data, 'train', None).examples
    assert (first.classes.tolist(), first.boxes_yxyx_px.tolist(), first.difficult.tolist()) == ([1], [[6, 5, 8, 7]], [True])
    assert len(second.classes) == 0


def test_ignored_classes_are_another_entry_of_the_cache(voc_folder: VocFolder, tmp_path: pathlib.Path) -> None:
    age(voc_folder.add('a', voc_folder.box(1, 2, 3, 4, 'cow') + voc_folder.box(5, 6, 7, 8, 'dog')).root)
    source = voc_folder.source()
    ignoring = schema.Data(classes=['dog'], ignore_classes=['cow'], train=source, validation=source)
    assert index.load_dataset(source, ignoring, 'train', tmp_path / 'cache').bad == ()
    strict = schema.Data(classes=['dog'], train=source, validation=source, on_bad='skip')
    assert len(index.load_dataset(source, strict, 'train', tmp_path / 'cache').bad) == 1


def test_bad_items_are_kept_when_skipped(voc_folder: VocFolder) -> None:
    dataset = load(aged(voc_folder), on_bad='skip')
    assert [item.element for item in dataset.bad] == ['object[2]/bndbox']
    assert dataset.num_boxes == 2


def test_bad_items_stop_with_ten_of_them_and_two_ways_on(voc_folder: VocFolder) -> None:
    voc_folder.add('a', voc_folder.box(1, 2, 3, 4) + voc_folder.box(5, 5, 5, 5) * 12)
    expected = r'(?s)data.validation: .*: 12 boxes or images cannot be used:\n.*and 9 more\n.*on_bad: skip'
    with pytest.raises(DataError, match=expected) as error:
        load(voc_folder)
    assert str(error.value).count('/bndbox: the box has no area') == 3


def test_a_data_set_without_objects_is_refused(voc_folder: VocFolder) -> None:
    with pytest.raises(DataError, match='1 images, but not one usable object in them; expected objects of cat, dog'):
        load(voc_folder.add('a'))


def test_two_images_with_one_id_are_refused(voc_folder: VocFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    examples, _ = voc.read(voc_folder.add('a').source(), ('cat',), 10**6)
    monkeypatch.setattr(voc, 'read', lambda *_: (examples * 2, []))
    with pytest.raises(DataError, match=r"two images have the id 'a' \(.*a.jpg, .*a.jpg\); ids must differ"):
        load(voc_folder)


def test_an_unknown_format_names_the_known() -> None:
    source = schema.DataSource(format='vocc', path='x')
    data = schema.Data(classes=['cat'], train=source, validation=source)
    with pytest.raises(ConfigError, match="Did you mean 'voc'"):
        index.load_dataset(source, data, 'train', None)


def test_the_digest_does_not_depend_on_the_place(voc_folder: VocFolder, tmp_path: pathlib.Path) -> None:
    first = load(aged(voc_folder), on_bad='skip')
    shutil.copytree(voc_folder.root, tmp_path / 'elsewhere')
    voc_folder.root = tmp_path / 'elsewhere'
    assert load(voc_folder, on_bad='skip').digest == first.digest


@pytest.mark.parametrize(
    'change',
    [
        lambda folder: folder.annotation('b', folder.box(1, 2, 3, 5)),
        lambda folder: folder.annotation('b', folder.box(1, 2, 3, 4, 'dog')),
        lambda folder: folder.annotation('b', folder.box(1, 2, 3, 4, difficult=1)),
        lambda folder: folder.annotation('b'),
        lambda folder: folder.image('b', (60, 41)).annotation('b', folder.box(1, 2, 3, 4), size=(60, 41)),
        lambda folder: folder.annotation('b', folder.box(1, 2, 3, 4), filename='c.jpg').image('ccc').rename('ccc', 'c'),
        lambda folder: folder.add('c'),
    ],
)
def test_the_digest_depends_on_what_training_sees(voc_folder: VocFolder, change: object) -> None:
    before = load(aged(voc_folder), on_bad='skip').digest
    change(voc_folder)  # type: ignore[operator]
    assert load(voc_folder, on_bad='skip').digest != before


def test_the_digest_depends_on_the_class_names(voc_folder: VocFolder) -> None:
    aged(voc_folder)
    one = load(voc_folder, on_bad='skip').digest
    assert load(voc_folder, on_bad='skip', classes=('cat', 'dog', 'cow')).digest != one


def test_the_cache_gives_back_what_was_read(voc_folder: VocFolder, tmp_path: pathlib.Path, reads: list[str]) -> None:
    cold = load(aged(voc_folder), tmp_path / 'cache', 'skip')
    warm = load(voc_folder, tmp_path / 'cache', 'skip')
    assert len(reads) == 1
    assert (warm.digest, warm.bad, warm.classes) == (cold.digest, cold.bad, cold.classes)
    for ours, theirs in zip(warm.examples, cold.examples, strict=True):
        for name in ('image_id', 'path', 'offset', 'length', 'height', 'width'):
            assert getattr(ours, name) == getattr(theirs, name)
        for name in ('boxes_yxyx_px', 'classes', 'difficult', 'is_crowd'):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), strict=True)
    assert index.dataset_digest(warm.classes, warm.examples) == warm.digest


def test_items_tell_an_image_from_its_annotation_and_come_from_the_cache_too(
    voc_folder: VocFolder, tmp_path: pathlib.Path
) -> None:
    def items() -> dict[str, tuple[str, str]]:
        age(voc_folder.root)
        cold, warm = (load(voc_folder, tmp_path / 'cache').items for _ in range(2))
        assert cold == warm and {len(item) for item in cold.values()} == {2 * index.ITEM_DIGITS}
        return {name: (item[: index.ITEM_DIGITS], item[index.ITEM_DIGITS :]) for name, item in cold.items()}

    voc_folder.add('a', voc_folder.box(1, 2, 3, 4)).add('b', voc_folder.box(1, 2, 3, 4))
    first = items()
    voc_folder.annotation('a', voc_folder.box(1, 2, 3, 5))
    second = items()
    assert second['a'][0] == first['a'][0] and second['a'][1] != first['a'][1] and second['b'] == first['b']
    (voc_folder.root / 'JPEGImages' / 'b.jpg').unlink()
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(voc_folder.root / 'JPEGImages' / 'b.jpg')
    third = items()
    assert third['b'][0] != second['b'][0] and third['b'][1] == second['b'][1] and third['a'] == second['a']


def test_on_bad_is_judged_on_what_is_cached(voc_folder: VocFolder, tmp_path: pathlib.Path, reads: list[str]) -> None:
    load(aged(voc_folder), tmp_path / 'cache', 'skip')
    with pytest.raises(DataError, match='1 boxes or images cannot be used'):
        load(voc_folder, tmp_path / 'cache', 'error')
    assert len(reads) == 1


@pytest.mark.parametrize(
    'change',
    [
        lambda folder: folder.annotation('b', folder.box(1, 2, 3, 5)),
        lambda folder: folder.image('b'),
        lambda folder: folder.add('c'),
        lambda folder: (folder.root / 'Annotations' / 'b.xml').unlink(),
    ],
)
def test_a_changed_file_makes_the_cache_stale(
    voc_folder: VocFolder, tmp_path: pathlib.Path, reads: list[str], change: object
) -> None:
    load(aged(voc_folder), tmp_path / 'cache', 'skip')
    change(voc_folder)  # type: ignore[operator]
    load(voc_folder, tmp_path / 'cache', 'skip')
    assert len(reads) == 2


def test_a_missing_image_that_comes_back_is_seen(voc_folder: VocFolder, tmp_path: pathlib.Path) -> None:
    folder = aged(voc_folder).annotation('c')
    age(folder.root)
    assert len(load(folder, tmp_path / 'cache', 'skip').bad) == 2
    assert len(load(folder.image('c'), tmp_path / 'cache', 'skip').bad) == 1


def test_other_options_have_a_cache_of_their_own(voc_folder: VocFolder, tmp_path: pathlib.Path) -> None:
    load(aged(voc_folder), tmp_path / 'cache', 'skip')
    assert load(voc_folder, tmp_path / 'cache', 'skip', classes=('dog', 'cat')).examples[0].classes.tolist() == [1]
    assert len(list((tmp_path / 'cache').iterdir())) == 2


@pytest.mark.parametrize(
    'damage',
    [
        lambda data: b'',
        lambda data: b'garbage',
        lambda data: data[: len(data) // 2],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: data.replace(b'boxes', b'foxes'),
    ],
)
def test_a_broken_cache_is_made_again(voc_folder: VocFolder, tmp_path: pathlib.Path, reads: list[str], damage: object) -> None:
    before = load(aged(voc_folder), tmp_path / 'cache', 'skip')
    (file,) = (tmp_path / 'cache').iterdir()
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert load(voc_folder, tmp_path / 'cache', 'skip').digest == before.digest
    assert len(reads) == 2
    load(voc_folder, tmp_path / 'cache', 'skip')
    assert len(reads) == 2


def test_files_that_have_just_changed_are_not_cached(voc_folder: VocFolder, tmp_path: pathlib.Path, reads: list[str]) -> None:
    folder = voc_folder.add('a', voc_folder.box(1, 2, 3, 4))
    load(folder, tmp_path / 'cache')
    load(folder, tmp_path / 'cache')
    assert len(reads) == 2


def test_a_format_without_inputs_is_read_each_time(
    voc_folder: VocFolder, tmp_path: pathlib.Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(specs._formats, 'voc', specs.FormatSpec('voc', 'stagetrain.data.voc:read'))
    load(aged(voc_folder), tmp_path / 'cache', 'skip')
    load(voc_folder, tmp_path / 'cache', 'skip')
    assert len(reads) == 2


def test_bccd_is_loaded_from_the_cache_in_a_moment(bccd: pathlib.Path, tmp_path: pathlib.Path) -> None:
    source = schema.DataSource(format='voc', path=str(bccd), split='trainval')
    data = schema.Data(classes=['RBC', 'WBC', 'Platelets'], train=source, validation=source, on_bad='skip')
    cold = index.load_dataset(source, data, 'train', tmp_path)
    started = time.perf_counter()
    assert index.load_dataset(source, data, 'train', tmp_path).digest == cold.digest
    assert time.perf_counter() - started < 0.1


def test_no_tensorflow_is_needed() -> None:
    """Run apart, because other tests of this process may have imported it."""
    code = 'import sys, stagetrain.data.index, stagetrain.data.voc; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
