"""Links that lie on the disk are followed, wherever they lead; names in files still may not lead out."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from stagetrain.config import schema
from stagetrain.data import index, voc
from stagetrain.data.annotation import Kind
from stagetrain.errors import DataError
from tests.data.conftest import age
from tests.data.listed_folder import add_image, coco_image, coco_object, write_coco
from tests.data.test_index import load

if TYPE_CHECKING:
    from tests.data.conftest import VocFolder


def moved(path: pathlib.Path, elsewhere: pathlib.Path) -> None:
    """Moves a file or folder away and leaves a link in its place."""
    elsewhere.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def whole(root: pathlib.Path, store: pathlib.Path) -> None:
    moved(root, store / 'voc')


def parts(root: pathlib.Path, store: pathlib.Path) -> None:
    for name in ('Annotations', 'JPEGImages', 'ImageSets'):
        moved(root / name, store / name)


def each_file(root: pathlib.Path, store: pathlib.Path) -> None:
    """As DVC does: names in the store are digests, without a suffix."""
    for number, file in enumerate(sorted(file for file in root.rglob('*') if file.is_file())):
        moved(file, store / f'{number:02x}' / 'abcdef')


def links_to_links(root: pathlib.Path, store: pathlib.Path) -> None:
    each_file(root, store)
    for number, link in enumerate(sorted(root.rglob('*.*'))):
        moved(link, store / 'links' / str(number))


@pytest.mark.parametrize('link', [whole, parts, each_file, links_to_links])
def test_linked_data_are_the_same_data(voc_folder: VocFolder, tmp_path: pathlib.Path, link: Callable[..., None]) -> None:
    voc_folder.add('a', voc_folder.box(1, 2, 3, 4)).add('sub_b', voc_folder.box(5, 6, 7, 8)).split(['a', 'sub_b'])
    before = load(voc_folder)
    link(voc_folder.root, tmp_path / 'store')
    after = load(voc_folder)
    assert (after.digest, after.bad, after.items) == (before.digest, (), before.items)
    assert [example.path for example in after.examples] == [example.path for example in before.examples]


def test_a_linked_image_of_a_list_is_read(tmp_path: pathlib.Path) -> None:
    file = add_image(tmp_path / 'd', 'a.jpg')
    write_coco(tmp_path / 'd' / 'a.json', [coco_image(1, 'a.jpg')], [coco_object(1, 1)])
    moved(file, tmp_path / 'store' / 'x')
    source = schema.DataSource(format='coco', path=str(tmp_path / 'd' / 'a.json'))
    data = schema.Data(classes=['cat', 'dog'], train=source, validation=source)
    assert [example.path for example in index.load_dataset(source, data, 'train', None).examples] == [str(file)]


@pytest.mark.parametrize('name', ['JPEGImages/a.jpg', 'Annotations/a.xml'])
def test_a_link_that_leads_to_another_file_makes_the_cache_stale(
    voc_folder: VocFolder, tmp_path: pathlib.Path, name: str
) -> None:
    """DVC writes a changed image under another name and turns the link to it; the old file stays as it is."""
    voc_folder.add('a', voc_folder.box(1, 2, 3, 4)).add('b', voc_folder.box(5, 6, 7, 8))
    moved(voc_folder.root / name, tmp_path / 'store' / 'old')
    shutil.copy(tmp_path / 'store' / 'old', tmp_path / 'store' / 'new')
    with open(tmp_path / 'store' / 'new', 'r+b') as file:
        content = file.read().replace(b'<xmin>1<', b'<xmin>0<')
        file.seek(0)
        file.write(content if name.endswith('xml') else content + b' ')
    age(tmp_path)
    before = load(voc_folder, tmp_path / 'cache')
    assert load(voc_folder, tmp_path / 'cache').digest == before.digest
    (voc_folder.root / name).unlink()
    (voc_folder.root / name).symlink_to(tmp_path / 'store' / 'new')
    age(tmp_path)
    assert load(voc_folder, tmp_path / 'cache').digest != before.digest


def test_a_broken_link_is_named_with_what_it_leads_to(voc_folder: VocFolder) -> None:
    voc_folder.annotation('a')
    link = voc_folder.root / 'JPEGImages' / 'a.jpg'
    link.symlink_to('/gone/a.jpg')
    _, (bad,) = voc.read(voc_folder.source(), ('cat',), 10**6)
    assert (bad.kind, bad.element) == (Kind.LINK, 'filename')
    assert bad.reason == (
        f"'JPEGImages/a.jpg': {link} is a link to /gone/a.jpg, which is not there; restore what it leads to, or replace the link"
    )


def test_a_link_to_itself_is_named(voc_folder: VocFolder) -> None:
    (voc_folder.annotation('a').root / 'JPEGImages' / 'a.jpg').symlink_to('a.jpg')
    _, (bad,) = voc.read(voc_folder.source(), ('cat',), 10**6)
    assert (bad.kind, bad.reason.rpartition('which ')[2]) == (
        Kind.LINK,
        'cannot be followed: Too many levels of symbolic links',
    )


def test_a_folder_that_links_to_one_above_it_is_refused(voc_folder: VocFolder) -> None:
    (voc_folder.add('a').root / 'Annotations' / 'again').symlink_to(voc_folder.root / 'Annotations')
    with pytest.raises(DataError, match='again: a link to .*Annotations, a folder above it: a loop; remove the link'):
        voc.read(voc_folder.source(), ('cat',), 10**6)


def test_a_broken_folder_above_a_file_is_what_is_named(voc_folder: VocFolder) -> None:
    voc_folder.annotation('a', filename='sub/a.jpg')
    (voc_folder.root / 'JPEGImages' / 'sub').symlink_to(voc_folder.root / 'gone')
    _, (bad,) = voc.read(voc_folder.source(), ('cat',), 10**6)
    assert (bad.kind, f'sub is a link to {voc_folder.root}/gone, which is not there' in bad.reason) == (Kind.LINK, True)


def test_a_linked_folder_lets_no_name_lead_out_of_it(voc_folder: VocFolder, tmp_path: pathlib.Path) -> None:
    voc_folder.image('secret').annotation('a', filename='../secret.jpg')
    os.rename(voc_folder.root / 'JPEGImages' / 'secret.jpg', voc_folder.root / 'secret.jpg')
    moved(voc_folder.root / 'JPEGImages', tmp_path / 'store')
    _, (bad,) = voc.read(voc_folder.source(), ('cat',), 10**6)
    assert (bad.kind, bad.reason) == (Kind.PLACE, "expected a name inside 'JPEGImages', found '../secret.jpg'")


def test_a_missing_image_of_a_list_that_comes_back_is_seen(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path / 'd', 'a.jpg')
    images = [coco_image(1, 'a.jpg'), coco_image(2, 'b.jpg')]
    file = write_coco(tmp_path / 'd' / 'a.json', images, [coco_object(1, 1), coco_object(2, 2)])
    source = schema.DataSource(format='coco', path=str(file))
    data = schema.Data(classes=['cat', 'dog'], train=source, validation=source, on_bad='skip')
    age(tmp_path)
    assert len(index.load_dataset(source, data, 'train', tmp_path / 'cache').examples) == 1
    add_image(tmp_path / 'd', 'b.jpg')
    assert len(index.load_dataset(source, data, 'train', tmp_path / 'cache').examples) == 2
