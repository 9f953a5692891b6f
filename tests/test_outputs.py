"""Places for output are looked at before the work, and nothing of the user's is replaced."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import stat
from collections.abc import Callable

import pytest

from stagetrain import outputs
from stagetrain.cli import main
from stagetrain.errors import BadInput
from tests.fakes.project import Project, make_project


def is_ours(value: object) -> bool:
    return isinstance(value, dict) and 'ours' in value


@pytest.fixture
def here(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The present folder, with some things in it that are in the way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('mine')
    (tmp_path / 'mine.json').write_text('{"a": 1}')
    (tmp_path / 'ours.json').write_text('{"ours": 1}')
    (tmp_path / 'empty.json').touch()
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'nowhere').symlink_to('none')
    (tmp_path / 'circle').symlink_to('circle')
    return tmp_path


UNUSABLE = {
    'folder': 'found a folder; expected the name of a file',
    '': 'found a folder',
    'none/x.json': 'none is not there; expected a file in a folder that is there',
    'none/none/x.json': 'none/none is not there',
    'file/x.json': 'file is no folder',
    'file': 'found a file that this command did not write',
    'mine.json': 'found a file that this command did not write; name another one, or remove it',
    'circle': 'cannot be written: ',
    '/proc/x.json': 'cannot be written: ',
    '/dev/full/x.json': '/dev/full is no folder',
    'x' * 300: 'cannot be written: File name too long; choose a shorter name',
}


@pytest.mark.usefixtures('here')
@pytest.mark.parametrize(('place', 'message'), UNUSABLE.items())
def test_a_file_that_cannot_be_written_is_refused(place: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        outputs.file('--json', pathlib.Path(place), is_ours)
    assert str(refused.value).startswith(f'--json {pathlib.Path(place)}: ')


@pytest.mark.parametrize('place', ['new.json', 'empty.json', 'ours.json', 'nowhere', 'folder/lr[0.1].json', 'x' * 255])
def test_a_file_that_can_be_written_is(here: pathlib.Path, place: str) -> None:
    before = set(os.listdir(here))
    written = outputs.file('--json', pathlib.Path(place), is_ours)
    assert set(os.listdir(here)) == before  # Looking leaves nothing behind.
    outputs.write_json('--json', written, {'ours': 2})
    assert json.loads((here / place).read_text()) == {'ours': 2}


def test_a_link_stays_one(here: pathlib.Path) -> None:
    (here / 'link').symlink_to('ours.json')
    outputs.write_json('--json', outputs.file('--json', here / 'link', is_ours), {'ours': 3})
    assert (os.readlink(here / 'link'), json.loads((here / 'ours.json').read_text())) == ('ours.json', {'ours': 3})


def test_a_device_is_written_to_and_stays_one() -> None:
    outputs.write_json('--json', outputs.file('--json', pathlib.Path('/dev/null'), is_ours), {})
    assert stat.S_ISCHR(os.stat('/dev/null').st_mode)


def test_a_full_disk_behind_the_work_is_one_paragraph() -> None:
    place = outputs.file('--json', pathlib.Path('/dev/full'), is_ours)
    with pytest.raises(BadInput, match='^--json /dev/full: cannot be written: No space left on device; free some space$'):
        outputs.write_json('--json', place, {})


@pytest.mark.usefixtures('here')
@pytest.mark.parametrize(
    ('place', 'message'),
    [
        ('file', 'file is no folder; expected a folder, or a name that is free'),
        ('file/x', 'file is no folder'),
        ('nowhere', 'nowhere is no folder'),
        ('circle/x', 'circle is no folder'),
        ('/proc/x/y', 'cannot be written: '),
        ('none/' + 'x' * 300, 'cannot be written: File name too long; choose a shorter name'),
    ],
)
def test_a_folder_that_cannot_be_made_is_refused(place: str, message: str) -> None:
    with pytest.raises(BadInput, match=f'--out {place}: .*{message}'):
        outputs.folder('--out', pathlib.Path(place))


@pytest.mark.parametrize('place', ['folder', 'none/none/none', '.', '/tmp'])
def test_a_folder_that_can_be_made_is_not_made_yet(here: pathlib.Path, place: str) -> None:
    before = set(os.listdir(here))
    outputs.folder('--out', pathlib.Path(place))
    assert set(os.listdir(here)) == before


# ---- verbs ----------------------------------------------------------------------------------------------------------------

VERBS = {
    'data check': ('data', 'check', '{data}', '--split', 'test', '--json'),
    'data convert': ('data', 'convert', '{data}', '--split', 'test', '--to', 'csv', '--processes', '1', '--out'),
    'detect': ('detect', '{run}', '{data}/JPEGImages', '--out'),
    'eval': ('eval', '{run}', '--data', '{data}', '--split', 'test', '--json'),
    'run': ('run', '{config}', '--run_dir'),
    'compare': ('compare', '{config}', '--seeds', '2', '--run_dir'),
    'verify-resume': ('verify-resume', '{config}', '--stage', 'rpn_1', '--at', '2', '--run_dir'),
}
"""Every verb that writes, without where to."""


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run. Not to be changed."""
    project = make_project(tmp_path_factory.mktemp('outputs'))
    project.run()
    return project


@pytest.mark.parametrize('place', ['file', 'file/x', 'circle', '/proc/x', '/dev/full/x', 'x' * 300])
@pytest.mark.parametrize('verb', VERBS)
def test_every_verb_refuses_a_place_that_cannot_be_written_before_the_work(
    here: pathlib.Path, finished: Project, capsys: pytest.CaptureFixture[str], verb: str, place: str
) -> None:
    names = {'data': finished.folder / 'data', 'run': finished.directory.path, 'config': finished.config}
    calls = len(finished.calls())
    assert main.main([*(word.format(**names) for word in VERBS[verb]), place]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f'stagetrain {verb.split()[0]}: ')
    assert (here / 'file').read_text() == 'mine'
    assert (len(finished.calls()), 'images' in told.out) == (calls, False)


def test_a_report_is_written_where_the_former_one_was(here: pathlib.Path, finished: Project) -> None:
    words = ['data', 'check', str(finished.folder / 'data'), '--split', 'test', '--json']
    for _ in range(2):
        assert main.main([*words, 'report.json']) == 0
        assert json.loads((here / 'report.json').read_text())['sets'][0]['num_images'] == 1
    assert main.main([*words, 'mine.json']) == 2
    assert (here / 'mine.json').read_text() == '{"a": 1}'


@pytest.mark.usefixtures('here')
def test_a_folder_of_something_else_is_not_converted_into(finished: Project, capsys: pytest.CaptureFixture[str]) -> None:
    words = ['data', 'convert', str(finished.folder / 'data'), '--split', 'test', '--to', 'csv', '--processes', '1', '--out']
    for place in ('folder', '.', '..', '/'):
        assert main.main([*words, place]) == 2
        assert f'{place} is there already; expected a new folder, or this conversion finished' in capsys.readouterr().err


# ---- folders that are written as a whole -------------------------------------------------------------------------------------


def write_marked(text: str) -> Callable[[pathlib.Path], None]:
    def write(folder: pathlib.Path) -> None:
        (folder / 'mark.json').write_text('{}')
        (folder / 'text').write_text(text)

    return write


def whole(name: str) -> pathlib.Path:
    return outputs.whole_folder('--out', pathlib.Path(name), 'mark.json')


@pytest.mark.usefixtures('here')
@pytest.mark.parametrize(
    ('place', 'message'),
    [
        ('file', 'file is no folder; expected a folder'),
        ('file/out', 'file is no folder'),
        ('.', 'found a folder that this command did not write; name another folder, or move what is there'),
        ('/proc/out', 'cannot be written: '),
        ('x' * 300, 'cannot be written: File name too long'),
    ],
)
def test_a_place_for_a_whole_folder_that_cannot_be_written_is_refused(place: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        whole(place)
    assert str(refused.value).startswith(f'--out {pathlib.Path(place)}: ')


@pytest.mark.parametrize('name', ['new', 'folder', 'a/b/new'])
def test_a_whole_folder_is_written_and_replaced(here: pathlib.Path, name: str) -> None:
    for text in ('one', 'two'):
        outputs.write_folder('--out', whole(name), write_marked(text))
        assert (here / name / 'text').read_text() == text
    assert sorted(path.name for path in (here / name).iterdir()) == ['MANIFEST.json', 'mark.json', 'text']
    assert not list(here.rglob('.tmp-*'))


@pytest.mark.parametrize('change', ['edited', 'added', 'removed'])
def test_a_whole_folder_that_changed_since_is_the_users(here: pathlib.Path, change: str) -> None:
    outputs.write_folder('--out', whole('new'), write_marked('one'))
    file = here / 'new' / ('mine' if change == 'added' else 'text')
    file.unlink() if change == 'removed' else file.write_text('mine')
    with pytest.raises(BadInput, match=r'what is there has changed since it was written \(.*(text|mine): '):
        whole('new')


def test_a_whole_folder_that_cannot_be_finished_leaves_the_former_one(here: pathlib.Path) -> None:
    outputs.write_folder('--out', whole('new'), write_marked('one'))

    def fail(folder: pathlib.Path) -> None:
        (folder / 'half').touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(BadInput, match='--out .*new: cannot be written: No space left on device; free some space'):
        outputs.write_folder('--out', whole('new'), fail)
    assert (here / 'new/text').read_text() == 'one' and not list(here.rglob('.tmp-*'))
