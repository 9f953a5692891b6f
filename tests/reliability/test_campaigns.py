"""The campaigns, reduced: the full ones and their figures are in docs/reliability.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from scripts.faults import calls, disk
from tests.fakes.project import ROOT


def campaign(name: str, *arguments: str) -> dict[str, Any]:
    """Runs a campaign and returns its report; it ends with 0 when nothing failed."""
    command = [sys.executable, str(ROOT / 'scripts' / f'campaign_{name}.py'), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{done.stdout}\n{done.stderr[-3000:]}'
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_killed_runs_end_as_if_undisturbed() -> None:
    report = campaign('crash', '--runs=10', '--without_tensorflow', '--seed=3')
    assert (report['runs'], report['passed']) == (10, 10)
    assert report['kills'] >= 10


@pytest.mark.slow
def test_a_killed_run_of_real_stages_ends_with_equal_tensors() -> None:
    report = campaign('crash', '--runs=1', '--seed=1')
    assert (report['runs'], report['passed']) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize('number', ['SIGTERM', 'SIGINT'])
def test_preempted_and_stopped_runs_save_and_end_as_if_undisturbed(number: str) -> None:
    report = campaign('crash', '--runs=5', '--without_tensorflow', f'--signal={number}', '--seed=3')
    assert (report['runs'], report['passed']) == (5, 5)
    assert report['slowest_save_s'] > 0


@pytest.mark.slow
def test_bad_input_is_used_correctly_or_refused_by_name() -> None:
    report = campaign('fuzz', '--cases=300', '--seed=11')
    assert report['cases'] > 300
    assert report['failed'] == 0
    assert report['kinds']['pipeline']['refused'] > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kind', 'count'),
    [('commit', 200), ('rotten', 200), ('races', 50), ('take_overs', 25), ('clock', 3), ('wrong_numbers', 6)],
)
def test_faults_lose_nothing(kind: str, count: int) -> None:
    report = campaign('faults', kind, f'--trials={count}')
    assert (report['trials'], report['failed']) == (count, 0)


@pytest.mark.slow
@pytest.mark.parametrize(('kind', 'count', 'is_possible'), [('calls', 25, calls.is_possible), ('full_disk', 3, disk.can_mount)])
def test_faults_of_the_system_lose_nothing(kind: str, count: int, is_possible: Callable[[], bool]) -> None:
    if not is_possible():
        pytest.skip(f'{kind}: needs strace, or the right to mount')
    report = campaign('faults', kind, f'--trials={count}')
    assert (report['trials'], report['failed']) == (count, 0)


@pytest.mark.slow
def test_bits_do_not_depend_on_the_number_of_cores() -> None:
    report = campaign('determinism', '--threads', '2', '--surroundings', 'idle', 'one_core')
    assert (report['trials'], report['failed']) == (2, 0)
    assert report['tensors'] > 40


@pytest.mark.slow
def test_a_long_run_does_not_grow_and_leaves_no_process() -> None:
    report = campaign('long', '--stages=6', '--without_tensorflow')
    assert report['failed'] == 0
    assert len(report['peaks']) == 5
