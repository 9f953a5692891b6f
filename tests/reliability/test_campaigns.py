"""The campaigns, reduced: the full ones and their figures are in docs/reliability.md."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

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
def test_preempted_runs_save_and_end_as_if_undisturbed() -> None:
    report = campaign('crash', '--runs=5', '--without_tensorflow', '--signal=SIGTERM', '--seed=3')
    assert (report['runs'], report['passed']) == (5, 5)
    assert report['slowest_save_s'] > 0


@pytest.mark.slow
def test_bad_input_is_used_correctly_or_refused_by_name() -> None:
    report = campaign('fuzz', '--cases=200', '--seed=11')
    assert report['cases'] > 200
    assert report['failed'] == 0
    assert report['kinds']['pipeline']['refused'] > 10
