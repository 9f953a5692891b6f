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
ORDER = (
    'errors',
    'standard_error',
    'files',
    'outputs',
    'config',
    'data',
    'pipeline',
    'weights',
    'devices',
    'images',
    'detectors',
    'stages',
    'evaluation',
    'stores',
    'inference',
    'training',
    'workers',
    'bridges',
    'api',
    'cli',
)
"""A room imports itself and those that stand before it, nothing else."""
TENSORFLOW = {'tensorflow', 'tf_keras', 'keras', 'official', 'orbit'}
WITHOUT_TENSORFLOW = ('errors', 'standard_error', 'files', 'outputs', 'config', 'pipeline', 'data', 'workers')
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


def _above(room: str, names: set[str]) -> set[str]:
    """Returns the rooms among imported names that a room must not know."""
    rooms = {name.split('.')[1] for name in names if name.startswith('stagetrain.')}
    return rooms - set(ORDER[: ORDER.index(room) + 1])


def test_every_room_has_its_place_in_the_order() -> None:
    assert {_room(path) for path in _modules()} - {'__init__'} <= set(ORDER)


@pytest.mark.parametrize('path', _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_stands_before_it(path: pathlib.Path) -> None:
    assert _room(path) == '__init__' or not _above(_room(path), _imports(path))


@pytest.mark.parametrize(
    ('room', 'name', 'above'),
    [
        ('stores', 'stagetrain.training.job_files', {'training'}),
        ('evaluation', 'stagetrain.training.input.evaluation_batches', {'training'}),
        ('evaluation', 'stagetrain.inference.detect.load_detector', {'inference'}),
        ('inference', 'stagetrain.training.views.Images', {'training'}),
        ('training', 'stagetrain.stores.features', set()),
        ('cli', 'stagetrain.api', set()),
    ],
)
def test_one_way_of_each_former_circle_is_refused(room: str, name: str, above: set[str]) -> None:
    assert _above(room, {name}) == above


@pytest.mark.parametrize('path', _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_light_rooms_do_not_import_tensorflow(path: pathlib.Path) -> None:
    if _room(path) in WITHOUT_TENSORFLOW:
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
