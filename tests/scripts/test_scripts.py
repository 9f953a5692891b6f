"""The shell scripts: what they say when something is missing, and that they run from any folder."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run(*command: str, cwd: pathlib.Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {'PYTHONPATH': str(ROOT)} | variables
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize('script', [*sorted((ROOT / 'scripts').glob('*.sh')), ROOT / '.ci' / 'run'], ids=lambda path: path.name)
def test_scripts_can_be_executed_and_stop_at_errors(script: pathlib.Path) -> None:
    assert os.access(script, os.X_OK)
    assert 'set -euo pipefail' in script.read_text()
    assert run('bash', '-n', str(script)).returncode == 0


def test_setup_takes_an_existing_environment(tmp_path: pathlib.Path) -> None:
    done = run(str(ROOT / 'scripts' / 'setup.sh'), cwd=tmp_path, STAGETRAIN_VENV=sys.prefix)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f'{sys.prefix}/bin/python', '')


def test_setup_refuses_what_is_no_environment(tmp_path: pathlib.Path) -> None:
    done = run(str(ROOT / 'scripts' / 'setup.sh'), STAGETRAIN_VENV=str(tmp_path))
    assert done.returncode == 2
    assert f'STAGETRAIN_VENV={tmp_path}: no bin/python there' in done.stderr


def test_setup_names_what_an_environment_lacks(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'bin').mkdir()
    fake = tmp_path / 'bin' / 'python'
    fake.write_text('#!/bin/sh\necho tensorflow official\n')
    fake.chmod(0o755)
    done = run(str(ROOT / 'scripts' / 'setup.sh'), STAGETRAIN_VENV=str(tmp_path))
    assert done.returncode == 2
    assert 'lacks tensorflow official' in done.stderr


def test_setup_refuses_another_python(tmp_path: pathlib.Path) -> None:
    for name in ('scripts/setup.sh', 'constraints.txt', 'pyproject.toml'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    older = tmp_path / 'python3'
    older.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.4 && exit 0\nexit 1\n')
    older.chmod(0o755)
    done = run(str(tmp_path / 'scripts' / 'setup.sh'), STAGETRAIN_VENV='', PYTHON=str(older))
    assert done.returncode == 2
    assert f'{older} is Python 3.10.4; the pinned versions need Python 3.11 or 3.12: set PYTHON=/path/to/it' in done.stderr
    assert not (tmp_path / '.venv').exists()


def test_ci_fails_without_the_data(tmp_path: pathlib.Path) -> None:
    done = run(str(ROOT / '.ci' / 'run'), BCCD=str(tmp_path))
    assert done.returncode == 1
    assert f'missing {tmp_path}/ImageSets/Main/trainval.txt' in done.stderr


FAKE_TESTS = """#!/bin/sh
echo "$TF_ENABLE_ONEDNN_OPTS/$ONEDNN_MAX_CPU_ISA: $*" >> "$CALLS"
case "$*" in *numbers*) exit "$FAIL_NUMBERS" ;; *) exit "$FAIL_ALL" ;; esac
"""


@pytest.mark.parametrize(('fail_numbers', 'fail_all', 'code'), [('0', '0', 0), ('1', '0', 1), ('0', '1', 1), ('2', '1', 1)])
@pytest.mark.parametrize(
    ('given', 'calls'),
    [('', ['0/AVX2: -m numbers', '/: ']), ('1', ['0/AVX2: -m numbers', '1/: ']), ('False', ['1/: -m numbers', 'False/: '])],
)
def test_ci_runs_what_compares_numbers_with_other_kernels_and_then_all(
    tmp_path: pathlib.Path, fail_numbers: str, fail_all: str, code: int, given: str, calls: list[str]
) -> None:
    for path, text in (('.ci/run', (ROOT / '.ci' / 'run').read_text()), ('scripts/test.sh', FAKE_TESTS)):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o755)
    for path in ('bccd/ImageSets/Main/trainval.txt', 'bccd/ImageSets/Main/test.txt', 'mobilenet_2_5_224_tf_no_top.h5'):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    places = {'BCCD': str(tmp_path / 'bccd'), 'WEIGHTS': str(tmp_path), 'CALLS': str(tmp_path / 'calls')}
    kernels = {'TF_ENABLE_ONEDNN_OPTS': given, 'ONEDNN_MAX_CPU_ISA': ''}
    done = run(str(tmp_path / '.ci' / 'run'), FAIL_NUMBERS=fail_numbers, FAIL_ALL=fail_all, **places, **kernels)
    assert (done.returncode, (tmp_path / 'calls').read_text().splitlines()) == (code, calls)
    assert ('fail with other kernels' in done.stderr) is (fail_numbers != '0')


@pytest.mark.parametrize('folder', ['detectors', 'stores', 'images', 'training', 'weights'])
def test_files_that_compare_numbers_of_kernels_are_marked(folder: str) -> None:
    """Those of experiments and of weight files compare a task with itself and arrays that no kernel computed."""
    excepted = {'test_experiment.py', 'test_oversampling.py'}
    texts = {path: path.read_text() for path in sorted((ROOT / 'tests' / folder).glob('test_*.py')) if path.name not in excepted}
    unmarked = [path.name for path, text in texts.items() if 'assert_allclose' in text and 'pytest.mark.numbers' not in text]
    assert texts and not unmarked


def test_the_synthetic_maker_says_what_it_did(tmp_path: pathlib.Path) -> None:
    command = (sys.executable, 'scripts/make_synthetic.py', str(tmp_path / 'a'), '--num_train=2', '--num_validation=1')
    first, second, other = run(*command), run(*command), run(*command, '--seed=5')
    assert first.stdout == f'{tmp_path}/a: 2 + 1 images made\n'
    assert second.stdout == f'{tmp_path}/a: 2 + 1 images are there already\n'
    assert (other.returncode, 'was made with' in other.stderr) == (2, True)


def test_every_dependency_is_pinned() -> None:
    pinned = {line.split('==')[0].lower().replace('_', '-') for line in (ROOT / 'constraints.txt').read_text().splitlines()[1:]}
    needed = {'tensorflow', 'tf-models-official', 'tf-keras', 'numpy', 'pillow', 'protobuf', 'pydantic', 'pytest', 'ruff', 'mypy'}
    assert needed <= pinned
