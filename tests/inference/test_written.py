"""What was written is replaced, and nothing else."""

from __future__ import annotations

import os
import pathlib

import pytest

from stagetrain.inference.written import LEDGER, OutFolder


def names(folder: pathlib.Path, *images: str) -> list[str]:
    return OutFolder.read(folder).picture_names(images)


@pytest.mark.parametrize(
    ('images', 'expected'),
    [
        (['a.jpg'], ['a.png']),
        (['cam1/1.jpg', 'cam2/1.jpg', '1.png'], ['cam1/1.png', 'cam2/1.png', '1.png']),
        (['1.jpg', '1.png', '2.jpg'], ['1.jpg.png', '1.png.png', '2.png']),
        (['1.jpg', '1.bmp', '1.jpg.jpg'], ['1.jpg.png', '1.bmp.png', '1.jpg.jpg.png']),
        (['a.b.jpg', 'noending', '.hidden'], ['a.b.png', 'noending.png', '.hidden.png']),
        (['x' * 251 + '.jpg'], ['x' * 251 + '.png']),
    ],
)
def test_pictures_have_the_names_of_their_images(tmp_path: pathlib.Path, images: list[str], expected: list[str]) -> None:
    assert names(tmp_path, *images) == expected


def test_a_name_that_gets_too_long_ends_in_a_digest(tmp_path: pathlib.Path) -> None:
    found = names(tmp_path, 'x' * 251 + '.jpg', 'x' * 251 + '.png', '細' * 85)
    assert len(set(found)) == 3
    assert [name.startswith('x' * 215 + '~') for name in found] == [True, True, False]
    for name in found:
        OutFolder.read(tmp_path).write(name, b'ours')


def test_the_users_files_keep_their_names(tmp_path: pathlib.Path) -> None:
    for name in ('1.png', '2.png', '2.jpg.png', '3.png'):
        (tmp_path / name).write_text(name)
    (tmp_path / '4.png').symlink_to('3.png')
    (tmp_path / '5.png').mkdir()
    found = names(tmp_path, '1.png', '2.jpg', '3.jpg', '4.jpg', '5.jpg', '6.jpg')
    assert found == ['1.png.png', '2.jpg.2.png', '3.jpg.png', '4.jpg.png', '5.jpg.png', '6.png']


def test_a_second_call_replaces_what_the_first_wrote(tmp_path: pathlib.Path) -> None:
    for content in (b'first', b'second', b'first'):
        assert names(tmp_path, 'cam1/1.jpg') == ['cam1/1.png']
        OutFolder.read(tmp_path).write('cam1/1.png', content)
        assert (tmp_path / 'cam1' / '1.png').read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == [LEDGER, 'cam1']


def test_a_picture_that_the_user_changed_or_linked_is_the_users(tmp_path: pathlib.Path) -> None:
    for name in ('1.png', '2.png', '3.png'):
        OutFolder.read(tmp_path).write(name, b'ours')
    (tmp_path / '1.png').write_bytes(b'edited')
    (tmp_path / '2.png').rename(tmp_path / 'kept.png')
    (tmp_path / '2.png').symlink_to('kept.png')
    assert names(tmp_path, '1.jpg', '2.jpg', '3.jpg') == ['1.jpg.png', '2.jpg.png', '3.png']


def test_an_image_that_is_looked_at_is_not_replaced_though_it_was_drawn(tmp_path: pathlib.Path) -> None:
    OutFolder.read(tmp_path).write('1.png', b'ours')
    inputs = {os.path.realpath(tmp_path / '1.png')}
    assert OutFolder.read(tmp_path).picture_names(['1.png'], inputs) == ['1.png.png']


def test_a_crash_between_ledger_and_picture_harms_nothing(tmp_path: pathlib.Path) -> None:
    out = OutFolder.read(tmp_path)
    out.write('1.png', b'old')
    with (tmp_path / LEDGER).open('a') as ledger:
        ledger.write('{"file": "1.png", "sha256": "0"}\n{"file": "2.png", "sha2')
    assert names(tmp_path, '1.jpg', '2.jpg') == ['1.png', '2.png']


@pytest.mark.parametrize('content', ['no JSON\n', '[1]\n', '{"file": 1}\n'])
def test_with_a_broken_ledger_nothing_is_ours(tmp_path: pathlib.Path, content: str) -> None:
    OutFolder.read(tmp_path).write('1.png', b'ours')
    (tmp_path / LEDGER).write_text(content)
    assert names(tmp_path, '1.jpg') == ['1.jpg.png']


@pytest.mark.parametrize('name', ['lr[0.1].png', 'two\nlines.png', os.fsdecode(b'\xe9.png'), 'x' * 251 + '.png'])
def test_names_may_hold_any_letter(tmp_path: pathlib.Path, name: str) -> None:
    OutFolder.read(tmp_path).write(name, b'ours')
    assert OutFolder.read(tmp_path).is_ours(name)
