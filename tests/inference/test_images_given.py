"""Files, folders and patterns of images."""

from __future__ import annotations

import os
import pathlib

import pytest
from PIL import Image

from stagetrain.errors import DataError
from stagetrain.inference import images_given
from stagetrain.inference.written import OutFolder

MOST = 1_000_000


def picture(path: pathlib.Path) -> pathlib.Path:
    """Makes an image of 6x4 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (6, 4)).save(path)
    return path


@pytest.fixture
def cams(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The present folder: images in two folders, and what else there may be in such."""
    for name in ('cam1/1.jpg', 'cam1/deep/1.png', 'cam2/1.JPG', 'cam2/2.bmp'):
        picture(tmp_path / name)
    (tmp_path / 'cam1' / 'notes.txt').write_text('text')
    (tmp_path / 'cam1' / '._1.jpg').write_text('of a Mac')
    (tmp_path / 'cam1' / '.DS_Store').touch()
    picture(tmp_path / 'cam1' / '.thumbnails' / '1.jpg')
    os.mkfifo(tmp_path / 'cam1' / 'pipe')
    (tmp_path / 'cam2' / 'half.jpg').write_bytes((tmp_path / 'cam1' / '1.jpg').read_bytes()[:200])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(given: images_given.Given) -> list[str]:
    return [str(image.path) for image in given.images]


@pytest.mark.usefixtures('cams')
@pytest.mark.parametrize(
    ('arguments', 'found', 'remarks'),
    [
        (['cam1/1.jpg'], ['cam1/1.jpg'], []),
        (['cam1'], ['cam1/1.jpg', 'cam1/deep/1.png'], ['4 files skipped: no images']),
        (['cam2/1.JPG', 'cam1/1.jpg', './cam2/../cam1/1.jpg'], ['cam2/1.JPG', 'cam1/1.jpg'], []),
        (['cam*/1.*'], ['cam1/1.jpg', 'cam2/1.JPG'], []),
        (['cam1/*'], ['cam1/1.jpg', 'cam1/deep/1.png'], ['2 files skipped: no images']),
        (['**/*.png'], ['cam1/deep/1.png'], []),
    ],
)
def test_files_folders_and_patterns_give_their_images_once(arguments: list[str], found: list[str], remarks: list[str]) -> None:
    given = images_given.collect(arguments, MOST)
    assert (paths(given), list(given.remarks())) == (found, remarks)
    assert {(image.height, image.width) for image in given.images} == {(4, 6)}


@pytest.mark.usefixtures('cams')
def test_what_is_named_like_an_image_in_a_folder_and_is_none_is_named() -> None:
    (remark,) = images_given.collect(['cam2'], MOST).remarks()
    assert remark.startswith('skipped: cam2/half.jpg: the image ')


@pytest.mark.usefixtures('cams')
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['cam1', 'cam1/notes.txt'], r'^cam1/notes.txt: neither JPEG, PNG nor BMP'),
        (['cam2/half.jpg'], r'^cam2/half.jpg: the image '),
        (['cam1/pipe'], r'^cam1/pipe: no regular file'),
        (['cam3'], r'^cam3: no such file or folder, and nothing matches; expected images, folders or patterns'),
        (['cam1/*.bmp'], r'^cam1/\*.bmp: no such file'),
        (['cam1/*.txt'], r'^cam1/\*.txt: no image that can be used: 1 files skipped: no images'),
        (['empty'], r'^empty: no image that can be used: there are no files at all'),
    ],
)
def test_a_named_file_must_be_an_image_and_one_must_be_left(arguments: list[str], message: str) -> None:
    pathlib.Path('empty').mkdir()
    with pytest.raises(DataError, match=message):
        images_given.collect(arguments, MOST)


def test_an_image_that_is_too_large_is_no_image_that_can_be_used(cams: pathlib.Path) -> None:
    with pytest.raises(DataError, match='6x4 = 24 pixels; data.max_image_pixels is 10'):
        images_given.collect([cams / 'cam1' / '1.jpg'], 10)


@pytest.mark.parametrize('name', ['lr[0.1]', 'a*b?', '[', '-x', 'a b', '#%20', 'two\nlines', os.fsdecode(b'\xe9'), 'x' * 250])
def test_names_may_hold_any_letter(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (f'{name}.jpg', f'{name}/1.jpg', f'{name}/2.jpg'):
        picture(tmp_path / place)
    assert paths(images_given.collect([f'{name}.jpg'], MOST)) == [f'{name}.jpg']
    for argument in (name, f'{name}/*.jpg', f'{name}/?.jpg', f'{name}/[12].jpg'):
        assert paths(images_given.collect([argument], MOST)) == [f'{name}/1.jpg', f'{name}/2.jpg']


def test_links_are_followed_but_not_in_a_circle(cams: pathlib.Path) -> None:
    (cams / 'links').mkdir()
    (cams / 'links' / 'cam1').symlink_to(cams / 'cam1')
    (cams / 'links' / 'again').symlink_to(cams / 'links')
    (cams / 'links' / 'nowhere.jpg').symlink_to('nothing')
    given = images_given.collect(['links'], MOST)
    assert paths(given) == ['links/cam1/1.jpg', 'links/cam1/deep/1.png']
    assert given.unusable == ('links/nowhere.jpg: no regular file',)


def test_pictures_that_were_drawn_are_not_looked_at_again_unless_they_are_named(cams: pathlib.Path) -> None:
    content = (cams / 'cam1' / '1.jpg').read_bytes()
    OutFolder.read(cams / 'cam1').write('drawn/1.jpg', content)
    given = images_given.collect(['cam1'], MOST)
    assert (paths(given), given.num_drawn) == (['cam1/1.jpg', 'cam1/deep/1.png'], 1)
    assert '1 files skipped: pictures of earlier detections' in given.remarks()
    assert paths(images_given.collect(['cam1/drawn/1.jpg'], MOST)) == ['cam1/drawn/1.jpg']
