"""The user's cache folder: where it is, what it is trusted with, and that it stays small."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import pytest
from PIL import Image

from stagetrain.cli import main
from stagetrain.config import schema
from stagetrain.data import index, user_cache
from stagetrain.data.annotation import Dataset
from tests import conftest
from tests.data.conftest import VocFolder, age, aged
from tests.fakes.project import Project, make_project

HOME = {'HOME': '/usr'}


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Project:
    """A pipeline file with its data, which are old enough to be cached."""
    made = make_project(tmp_path / 'project')
    age(made.folder)
    return made


def load(source: schema.DataSource, user_cache_dir: pathlib.Path, cache_dir: pathlib.Path | None = None) -> Dataset:
    data = schema.Data(classes=['cat', 'dog'], train=source, validation=source, on_bad='skip')
    return index.load_dataset(source, data, 'train', cache_dir, user_cache_dir=user_cache_dir)


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A cache folder of the test's own, which is not there yet."""
    monkeypatch.setenv('STAGETRAIN_CACHE', str(tmp_path / 'kept' / 'here'))
    return tmp_path / 'kept' / 'here'


@pytest.mark.parametrize(
    ('environ', 'expected'),
    [
        ({**HOME, 'STAGETRAIN_CACHE': '/a', 'XDG_CACHE_HOME': '/b'}, '/a'),
        ({**HOME, 'STAGETRAIN_CACHE': 'a'}, f'{os.getcwd()}/a'),
        ({**HOME, 'STAGETRAIN_CACHE': ''}, None),
        ({**HOME, 'XDG_CACHE_HOME': '/b'}, '/b/stagetrain'),
        ({**HOME, 'XDG_CACHE_HOME': 'relative'}, '/usr/.cache/stagetrain'),
        ({**HOME, 'XDG_CACHE_HOME': ''}, '/usr/.cache/stagetrain'),
        (HOME, '/usr/.cache/stagetrain'),
        ({'HOME': '/usr/of/nobody'}, None),
    ],
)
def test_the_folder_is_where_the_environment_says(environ: Mapping[str, str], expected: str | None) -> None:
    found = user_cache.folder(environ)
    assert (None if found is None else str(found)) == expected


def test_no_test_and_no_child_of_one_writes_into_the_home() -> None:
    code = 'from stagetrain.data import user_cache; print(user_cache.folder())'
    child = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=conftest.ROOT)
    assert child.stdout.strip() == str(user_cache.folder()) == conftest.USER_CACHE.name


def test_what_one_run_directory_read_another_and_a_plan_without_any_find(
    voc_folder: VocFolder, folder: pathlib.Path, tmp_path: pathlib.Path, reads: list[str]
) -> None:
    source = aged(voc_folder).source()
    found = [load(source, folder, cache) for cache in (tmp_path / 'first', tmp_path / 'second', None)]
    assert len(reads) == 1 and len({one.digest for one in found}) == 1
    assert len(list((tmp_path / 'second').iterdir())) == 1, 'a run directory keeps its own, for the day when the other is gone'
    (tmp_path / 'second').rename(tmp_path / 'moved')
    load(source, tmp_path / 'other', tmp_path / 'moved')
    assert len(reads) == 1 and not (tmp_path / 'other').exists()


@pytest.mark.parametrize(
    'damage',
    [
        lambda path: path.write_bytes(b''),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes().replace(b'boxes', b'foxes')),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_damaged_entry_is_read_again_and_no_error(
    voc_folder: VocFolder, folder: pathlib.Path, reads: list[str], damage: Callable[[pathlib.Path], object]
) -> None:
    source = aged(voc_folder).source()
    first = load(source, folder)
    (entry,) = folder.iterdir()
    damage(entry)
    assert load(source, folder).digest == first.digest
    assert len(reads) == 2


def test_a_changed_image_and_one_that_has_just_changed_are_read_again(
    voc_folder: VocFolder, folder: pathlib.Path, reads: list[str]
) -> None:
    source = aged(voc_folder).source()
    load(source, folder)
    path = voc_folder.root / 'JPEGImages' / 'b.jpg'
    Image.new('RGB', (60, 40)).save(path)
    for _ in range(2):  # Young: not trusted.
        load(source, folder)
    assert len(reads) == 3


def test_other_code_has_entries_of_its_own(
    voc_folder: VocFolder, folder: pathlib.Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = aged(voc_folder).source()
    for code in ('a', 'b', 'a'):
        monkeypatch.setattr(index, '_code', lambda reader, code=code: code)
        load(source, folder)
    assert len(reads) == 2 and len(list(folder.iterdir())) == 2


def test_a_relative_path_means_another_set_in_another_folder(
    folder: pathlib.Path, tmp_path: pathlib.Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for name in ('one', 'two'):
        made = aged(VocFolder(tmp_path / name / 'voc').add(name))
        monkeypatch.chdir(tmp_path / name)
        source = made.source().model_copy(update={'path': 'voc'})
        found[name] = [load(source, folder).examples[-1].image_id for _ in range(2)]
    assert len(reads) == 2 and found == {'one': ['one'] * 2, 'two': ['two'] * 2}


def test_what_is_long_unused_goes_and_what_is_too_much(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(name: str, days: float) -> None:
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (time.time() - days * 24 * 3600,) * 2)

    ages = {'dataset-a-1.npz': 0, 'dataset-b-1.npz': 29, 'dataset-c-1.npz': 31, 'mine.npz': 99, '.tmp-x': 2, '.tmp-y': 0.5}
    for name, days in ages.items():
        put(name, days)
    user_cache.mark_used(tmp_path / 'dataset-b-1.npz')
    put('dataset-d-1.npz', 1)
    user_cache.trim(tmp_path)
    left = {'dataset-a-1.npz', 'dataset-b-1.npz', 'dataset-d-1.npz', 'mine.npz', '.tmp-y'}
    assert {path.name for path in tmp_path.iterdir()} == left
    monkeypatch.setattr(user_cache, 'MAX_BYTES', 250)
    user_cache.trim(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == left - {'dataset-d-1.npz'}


def test_a_plan_reads_images_once_and_leaves_no_run_directory(project: Project, folder: pathlib.Path, reads: list[str]) -> None:
    for _ in range(2):
        assert main.main(['plan', str(project.config), '--run_dir', str(project.folder / 'none')]) == 0
    assert len(reads) == 2, 'train and validation'
    assert main.main(['data', 'check', str(project.config)]) == 0
    assert len(reads) == 2 and not (project.folder / 'none').exists()
    assert len(list(folder.iterdir())) == 2


def test_a_place_that_cannot_be_written_is_told_in_one_line(
    project: Project, folder: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.write_text('a file in the way')
    for cache, notes in ((str(folder), 1), ('', 0)):
        monkeypatch.setenv('STAGETRAIN_CACHE', cache)
        assert main.main(['plan', str(project.config), '--run_dir', str(project.folder / 'none')]) == 0
        said = capsys.readouterr().err.splitlines()
        assert len([line for line in said if 'cannot be written' in line]) == len(said) == notes
    assert main.main(['data', 'check', str(project.config)]) == 0
