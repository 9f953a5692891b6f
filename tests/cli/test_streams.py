"""What is printed reaches people whole: in encodings that lack a letter, and on narrow terminals."""

from __future__ import annotations

import io
import json
import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import rich.console
import rich.table
import yaml

from stagetrain.cli import plan, streams, weights
from tests.fakes.project import ROOT, Project, make_project

CELLS = '细胞'


@pytest.fixture(scope='module')
def cells(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished project whose one class has a Chinese name."""
    project = make_project(tmp_path_factory.mktemp('cells'))
    for file in (project.folder / 'data' / 'Annotations').iterdir():
        file.write_text(file.read_text().replace('<name>thing', f'<name>{CELLS}'), encoding='utf-8')
    project.config.write_text(project.config.read_text().replace('[thing]', f'[{CELLS}]'), encoding='utf-8')
    project.run()
    return project


def _output(project: Project, *arguments: str, **environ: str) -> str:
    command = [sys.executable, '-m', 'tests.fakes.main', *arguments]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'COLUMNS': '160', **environ}
    done = subprocess.run(command, cwd=project.folder, capture_output=True, env=environment, check=False, timeout=120)
    assert b'Traceback' not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(environ.get('PYTHONIOENCODING', 'utf-8'))


@pytest.mark.parametrize('encoding', ['ascii', 'latin-1'])
@pytest.mark.parametrize(
    'arguments',
    [
        ('data', 'check', 'data', '--split', 'test'),
        ('data', 'convert', 'data', '--split', 'test', '--to', 'coco', '--out', 'coco'),
        ('plan', 'four.yaml', '--run_dir', 'run', '--expand'),
    ],
    ids=' '.join,
)
def test_a_name_that_the_encoding_lacks_is_escaped(cells: Project, encoding: str, arguments: tuple[str, ...]) -> None:
    assert r'\u7ec6\u80de' in _output(cells, *arguments, PYTHONIOENCODING=encoding).lower()


def test_a_name_that_fits_is_printed_as_it_is(cells: Project) -> None:
    assert f'classes       {CELLS}: 1 in 1 images' in _output(cells, 'data', 'check', 'data', '--split', 'test')


@pytest.mark.parametrize('encoding', ['ascii', 'utf-8'])
def test_the_expanded_pipeline_is_the_same_in_every_encoding(cells: Project, encoding: str) -> None:
    text = _output(cells, 'plan', 'four.yaml', '--run_dir', 'run', '--expand', PYTHONIOENCODING=encoding)
    assert yaml.safe_load(text)['data']['classes'] == [CELLS]


@pytest.mark.parametrize('encoding', ['ascii', 'latin-1'])
def test_the_lines_that_read_a_converted_set_are_the_same_in_every_encoding(cells: Project, encoding: str) -> None:
    arguments = ('data', 'convert', 'data', '--split', 'test', '--to', 'csv', '--out', 'csv')
    text = _output(cells, *arguments, PYTHONIOENCODING=encoding)
    assert yaml.safe_load(text[text.index('data:\n') :])['data']['classes'] == [CELLS]


def test_an_error_with_such_a_name_is_escaped_too(cells: Project) -> None:
    command = [sys.executable, '-m', 'stagetrain.cli.main', 'check', f'{CELLS}.yaml']
    done = subprocess.run(command, capture_output=True, env={**os.environ, 'PYTHONIOENCODING': 'ascii:strict'}, check=False)
    assert done.returncode == 2
    assert rb'\u7ec6\u80de.yaml' in done.stderr
    assert b'Traceback' not in done.stderr


@pytest.mark.parametrize('name', ['lauf_细胞', 'two\nlines', 'tab\tand "quotes"'])
def test_a_run_trains_in_a_directory_of_any_name_whatever_the_encoding(tmp_path: pathlib.Path, name: str) -> None:
    project = make_project(tmp_path)
    _output(project, 'run', str(project.config), '--run_dir', name, '--only', 'rpn_1', PYTHONIOENCODING='ascii')
    assert json.loads((tmp_path / name / 'pipeline.lock').read_text())['stages'].keys() == {'rpn_1'}


@pytest.mark.parametrize('columns', ['20', '40'])
def test_a_narrow_terminal_cuts_no_name_off(cells: Project, columns: str) -> None:
    status = _output(cells, 'status', 'run', COLUMNS=columns)
    assert [line for line in status.splitlines() if line in ('rpn_1', 'detector_1', 'rpn_2', 'detector_2', 'joint.all')] == [
        'rpn_1', 'detector_1', 'rpn_2', 'detector_2', 'joint.all'
    ]  # fmt: skip
    assert status.count('  state: done\n') == 4
    assert '  AP50: 0.500\n' in status
    report = _output(cells, 'compare', 'run', COLUMNS=columns)
    assert ('trained parameters' in report, '…' in report) == (True, False)
    plan = _output(cells, 'plan', 'four.yaml', '--run_dir', 'run', COLUMNS=columns)
    assert 'freezes     backbone/.*, decoder/.*, rpn_head/.*\n' in plan
    checked = _output(cells, 'data', 'check', 'data', '--split', 'test', COLUMNS=columns)
    assert ('object sizes' in checked, '…' in checked) == (True, False)


def test_a_table_is_a_table_where_it_fits() -> None:
    table = rich.table.Table(box=None)
    for name in ('stage', 'state'):
        table.add_column(name)
    table.add_row('rpn_1', 'done')
    console = rich.console.Console(file=io.StringIO(), width=40)
    streams.print_table(table, console)
    assert console.file.getvalue().split() == ['stage', 'state', 'rpn_1', 'done']  # type: ignore[attr-defined]


def test_long_tables_have_whole_rows_on_any_terminal(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = rich.console.Console(width=30)
    name = 'backbone/inverted_bottleneck_block_3/conv0/kernel'
    plan.show_table([{'variable': name, 'rpn_1': 'fresh: updated by the forward pass'}], console)
    assert f' {name}   fresh: updated by the forward pass' in capsys.readouterr().out
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        group = file.create_group('layer' * 20)
        file.attrs['layer_names'] = ['layer' * 20]
        group.attrs['weight_names'] = ['layer' * 20 + '/kernel:0']
        group['layer' * 20 + '/kernel:0'] = np.zeros([2, 3])
    weights.show(tmp_path / 'a.h5', '.*', console)
    assert f'{"layer" * 20}/kernel  2x3    float64' in capsys.readouterr().out
