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
    'flags',
    'logs',
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
WITHOUT_TENSORFLOW = ('errors', 'standard_error', 'files', 'outputs', 'flags', 'logs', 'config', 'pipeline', 'data', 'workers')
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


BAD_ARGUMENTS = (
    'run {config} --run_dir {config}',
    'run {config} --run_dir {run} --from rpn_9',
    'plan {config} --variables --run_dir {data}',
    'plan {config} --cost --only rpn_9',
    'check {data}',
    'status {data}',
    'clean {data}',
    'compare {run} {data}',
    'compare {config} --seeds 2 --run_dir {config}',
    'eval {data} --data {data}',
    'eval {run} --stage rpn_9',
    'eval {run} --stage rpn_9 --data {data} --split test',
    'eval {run} --stage rpn_1 --data {data} --split test',
    'eval {run} --data {data} --split none',
    'eval {run} --data {data}/none --format coco',
    'eval {run} --data {data} --split test --masks',
    'eval {run} --data {data} --split test --json {data}',
    'detect {data} {data}/JPEGImages --out {out}',
    'detect {run} {data}/JPEGImages --out {config}',
    'detect {run} {data}/JPEGImages --out {out} --stage rpn_9',
    'detect {run} {data}/JPEGImages --out {out} --stage rpn_1',
    'detect {run} {data}/JPEGImages --out {out} --annotations {config}',
    'detect {run} {data}/Annotations --out {out}',
    'detect {run} {data}/none.jpg --out {out}',
    'detect {run} {config} --out {out}',
    'export {data} --format saved_model --out {out}',
    'export {run} --format saved_modle --out {out}',
    'export {run} --format saved_model --out {data}',
    'export {run} --format saved_model --out {config}',
    'export {run} --format saved_model --out {out} --stage rpn_1',
    'export {run} --format saved_model --out {out} --set boxes=metres',
    'verify {data}',
    'verify-resume {config} --stage rpn_9 --at 2',
    'verify-resume {config} --stage rpn_1 --at 99 --run_dir {out}',
    'weights show {data}',
    'weights show {config}',
    'weights show {config} --scope (',
    'weights diff {run} {data}',
    'weights diff {config} {run}',
    'data check {data}/none',
    'data convert {data} --to csv --out {data}',
    'import-tfod {config} --out {out}',
    'import-tfod {data} --out {out}',
    'import-tfod {config} --out {data}',
)


def test_arguments_are_looked_at_before_tensorflow_is_imported(project: Project, tmp_path: pathlib.Path) -> None:
    """One process for all: a second is long enough for each."""
    places = {'config': project.config, 'run': project.directory.path, 'data': project.folder / 'data', 'out': tmp_path / 'out'}
    commands = [[word.format(**places) for word in line.split()] for line in BAD_ARGUMENTS]
    script = (
        f'import sys\nfrom stagetrain.cli.main import main\nfor words in {commands!r}:\n'
        f'    assert main(words) == 2, words\n    found = sorted({TENSORFLOW!r} & set(sys.modules))\n    assert not found, words'
    )
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / 'out').exists()
