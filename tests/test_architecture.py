"""Imports go one way, and what plans, reports or refuses never imports TensorFlow."""

from __future__ import annotations

import ast
import os
import pathlib
import subprocess
import sys

import pytest

from tests.fakes.project import ROOT, Project, make_project

PACKAGE = ROOT / 'stagetrain'
# A room may import itself and those named here.
ALLOWED = {
    'errors': set(),
    'files': {'errors'},
    'outputs': {'errors', 'files'},
    'config': {'errors', 'files'},
    'pipeline': {'errors', 'files', 'config'},
    'data': {'errors', 'files', 'config'},
    'weights': {'errors', 'files', 'config', 'data'},
    'devices': {'config'},
    'images': {'errors', 'files', 'config', 'data'},
    'detectors': {'errors', 'files', 'config', 'data', 'weights', 'devices', 'images'},
    'evaluation': {
        'errors',
        'files',
        'config',
        'pipeline',
        'data',
        'weights',
        'detectors',
        'inference',
        'training',
        'devices',
        'images',
    },
    'inference': {
        'outputs',
        'errors',
        'files',
        'config',
        'data',
        'weights',
        'detectors',
        'training',
        'evaluation',
        'pipeline',
        'devices',
        'images',
    },
    'stores': {'errors', 'files', 'config', 'data', 'weights', 'detectors', 'training', 'evaluation', 'devices', 'images'},
    'training': {'errors', 'files', 'config', 'data', 'weights', 'detectors', 'stores', 'evaluation', 'devices', 'images'},
    'bridges': {'errors', 'files', 'config', 'data'},
    'api': {'errors', 'files', 'config', 'pipeline', 'data'},
    'workers': {'errors', 'files', 'config', 'pipeline'},
    'cli': {
        'outputs',
        'api',
        'workers',
        'errors',
        'files',
        'config',
        'pipeline',
        'data',
        'weights',
        'devices',
        'images',
        'detectors',
        'stores',
        'training',
        'evaluation',
        'inference',
        'bridges',
    },
}
TENSORFLOW = {'tensorflow', 'tf_keras', 'keras', 'official', 'orbit'}
WITHOUT_TENSORFLOW = ('errors', 'files', 'outputs', 'config', 'pipeline', 'data')
NO_TENSORFLOW_LOADED = f'import sys; found = sorted({TENSORFLOW!r} & set(sys.modules)); assert not found, found'


def _modules() -> list[pathlib.Path]:
    return sorted(PACKAGE.rglob('*.py'))


def _room(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def _imports(path: pathlib.Path) -> set[str]:
    """Returns the dotted names that a file imports anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return names


@pytest.mark.parametrize('path', _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: pathlib.Path) -> None:
    rooms = {name.split('.')[1] for name in _imports(path) if name.startswith('stagetrain.')}
    room = _room(path)
    assert room == '__init__' or rooms - {room} <= ALLOWED[room]


@pytest.mark.parametrize('path', _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_light_rooms_do_not_import_tensorflow(path: pathlib.Path) -> None:
    if _room(path) in WITHOUT_TENSORFLOW and path != PACKAGE / 'data' / 'input.py':
        assert {name.split('.')[0] for name in _imports(path)} & TENSORFLOW == set()


def test_the_test_of_directions_sees_an_import_within_a_function(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'x.py').write_text('def f():\n    from stagetrain.training import stage\n    import tensorflow as tf\n')
    assert _imports(tmp_path / 'x.py') == {'stagetrain.training.stage', 'tensorflow'}


@pytest.fixture(scope='module')
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run."""
    made = make_project(tmp_path_factory.mktemp('architecture'))
    made.run()
    return made


@pytest.mark.parametrize(
    ('arguments', 'code'),
    [
        (['plan', '{config}', '--run_dir', '{run}'], 0),
        (['check', '{config}'], 0),
        (['check', '{config}', '--set', 'stages.rpn_1.train.step=3'], 2),
        (['run', '{config}', '--run_dir', '{run}'], 0),
        (['run', '{config}', '--run_dir', '{run}', '--only', 'rpn_9'], 2),
        (['status', '{run}'], 0),
        (['schema'], 0),
        (['clean', '{run}'], 0),
        (['compare', '{run}'], 0),
    ],
)
def test_verbs_that_do_not_compute_leave_tensorflow_alone(project: Project, arguments: list[str], code: int) -> None:
    texts = [argument.format(config=project.config, run=project.directory.path) for argument in arguments]
    script = f'from stagetrain.cli.main import main; assert main({texts!r}) == {code}; {NO_TENSORFLOW_LOADED}'
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
