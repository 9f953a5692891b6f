"""Checkpoints whose paths hold letters of a pattern, or bytes that are no UTF-8."""

from __future__ import annotations

import ast
import os
import pathlib
import subprocess
import sys

import pytest

from stagetrain.errors import BadInput
from stagetrain.weights import plain_paths
from tests.fakes.project import ROOT

STRANGE = ['lr[0.1]', 'a*b', 'a?b', '[', 'back\\slash', os.fsdecode(b'latin-\xe9')]


@pytest.mark.parametrize('name', ['plain', 'a b', '-a', 'a#b%20', 'q\'"', 'two\nlines', '細胞', '{a,b}', '~', '$HOME', 'x' * 255])
def test_what_tensorflow_opens_as_it_is_gets_no_link(name: str) -> None:
    assert plain_paths.plain_prefix(f'runs/{name}/ckpt') == f'runs/{name}/ckpt'


@pytest.mark.parametrize('name', STRANGE)
def test_a_checkpoint_in_such_a_folder_is_reached_by_a_plain_link(tmp_path: pathlib.Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / 'ckpt.index').write_text('there')
    prefix = plain_paths.plain_prefix(folder / 'ckpt')
    assert plain_paths.is_plain(prefix)
    assert pathlib.Path(f'{prefix}.index').read_text() == 'there'
    assert plain_paths.plain_prefix(folder / 'ckpt') == prefix


@pytest.mark.parametrize('name', STRANGE)
def test_a_checkpoint_of_such_a_name_is_reached_with_all_its_files_and_no_others(tmp_path: pathlib.Path, name: str) -> None:
    for file in (f'{name}.index', f'{name}.data-00000-of-00001', 'lr0.index', f'{name}0.index'):
        (tmp_path / file).write_text(ascii(file))
    prefix = pathlib.Path(plain_paths.plain_prefix(tmp_path / name))
    assert plain_paths.is_plain(str(prefix))
    assert {path.name: path.read_text() for path in prefix.parent.iterdir()} == {
        'ckpt.index': ascii(f'{name}.index'),
        'ckpt.data-00000-of-00001': ascii(f'{name}.data-00000-of-00001'),
    }


def test_links_are_gone_when_the_process_ends(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'a[1]').mkdir()
    script = 'import sys; from stagetrain.weights import plain_paths; print(plain_paths.plain_prefix(sys.argv[1]))'
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-c', script, str(tmp_path / 'a[1]' / 'ckpt')]
    link = subprocess.run(command, capture_output=True, text=True, env=environ, check=True).stdout.strip()
    assert (os.path.lexists(os.path.dirname(link)), (tmp_path / 'a[1]').is_dir()) == (False, True)


def test_a_temporary_folder_of_such_a_name_is_passed_over(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'tmp[1]').mkdir()
    script = 'from stagetrain.weights import plain_paths; print(plain_paths.plain_prefix("a[1]/ckpt"))'
    environ = {**os.environ, 'PYTHONPATH': str(ROOT), 'TMPDIR': str(tmp_path / 'tmp[1]')}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=environ, check=True)
    assert plain_paths.is_plain(done.stdout.strip())


@pytest.fixture
def no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """No temporary folder has a plain name."""
    monkeypatch.setattr(plain_paths.tempfile, 'gettempdir', lambda: '/no[1]')
    monkeypatch.setattr(plain_paths, '_OTHER_FOLDERS', ())
    plain_paths._temporary_folder.cache_clear()
    plain_paths._link.cache_clear()
    yield
    plain_paths._temporary_folder.cache_clear()


@pytest.mark.usefixtures('no_place')
def test_without_a_temporary_folder_it_is_refused_before_the_first_step() -> None:
    plain_paths.require_reachable(pathlib.Path('runs/plain'))
    message = r"runs/lr\[0.1\]: TensorFlow takes one of .* for a pattern's.*\(/no\[1\]: no folder .*TMPDIR, or rename this one"
    with pytest.raises(BadInput, match=message):
        plain_paths.require_reachable(pathlib.Path('runs/lr[0.1]'))


def test_tensorflows_readers_are_asked_in_one_place_only() -> None:
    """Whoever gives a path to TensorFlow's readers by another way loses runs in folders such as `lr[0.1]`."""
    asking = {'load_checkpoint', 'latest_checkpoint', 'load_variable', 'list_variables', 'get_checkpoint_state'}
    modules = {path.name: ast.walk(ast.parse(path.read_text())) for path in (ROOT / 'stagetrain').rglob('*.py')}
    found = [(name, node.attr) for name, nodes in modules.items() for node in nodes if isinstance(node, ast.Attribute)]
    assert sorted(use for use in found if use[1] in asking) == [
        ('sources.py', 'get_checkpoint_state'),
        ('sources.py', 'load_checkpoint'),
    ]
