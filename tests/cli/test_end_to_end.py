"""The command line with real children: what is up to date is skipped, and what was killed goes on to the same bits."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from stagetrain import files
from tests import tiny

pytestmark = pytest.mark.slow
SECONDS = 240


@pytest.fixture
def copied(tiny_run: Any, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the finished run's directory, at the same place as far as the run knows."""
    shutil.copytree(tiny_run.run_dir, tmp_path / 'run')
    return tmp_path / 'run'


def test_a_second_run_skips_everything_and_says_why(tiny_run: Any) -> None:
    before = (tiny_run.run_dir / 'pipeline.lock').read_bytes()
    code, output = tiny.run_command('run', tiny_run.config, '--run_dir', tiny_run.run_dir)
    assert code == 0
    for stage in ('rpn_1', 'detector_1', 'rpn_2', 'detector_2'):
        assert f'{stage}: up to date' in output
    assert 'finished in' not in output
    assert (tiny_run.run_dir / 'pipeline.lock').read_bytes() == before


def test_a_changed_stage_and_those_behind_it_are_stale(tiny_run: Any) -> None:
    changed = ('--set', 'stages.rpn_2.train.steps=7')
    code, output = tiny.run_command('plan', tiny_run.config, '--run_dir', tiny_run.run_dir, *changed)
    assert code == 0
    lines = [line for line in output.splitlines() if 'up to date' in line]
    assert any('rpn_1' in line for line in lines) and any('detector_1' in line for line in lines)
    assert not any('rpn_2' in line or 'detector_2' in line for line in lines)


def kill_when(is_time: Callable[[], bool], *arguments: object) -> None:
    """Starts the command and kills it and its children with SIGKILL as soon as `is_time`."""
    process = tiny.command(*arguments)
    deadline = time.monotonic() + SECONDS
    while not is_time() and process.poll() is None:
        assert time.monotonic() < deadline, 'the moment did not come'
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()[0]
    family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for member in family:
        os.kill(member.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(family, timeout=10)


def has_checkpoint(run_dir: pathlib.Path, stage: str, step: int, folder: str = 'stages') -> Callable[[], bool]:
    """Returns whether a stage has reached a step; what is in the lock already is trained again in `next`."""
    return (run_dir / folder / stage / 'checkpoints' / f'step-{step:08d}').exists


def has_lines(run_dir: pathlib.Path, stage: str, count: int) -> Callable[[], bool]:
    """Returns whether a stage has reported so many steps."""
    path = run_dir / 'stages' / stage / 'metrics.jsonl'
    return lambda: path.exists() and path.read_bytes().count(b'\n') >= count


def assert_same_bits(one: pathlib.Path, other: pathlib.Path, stage: str) -> None:
    """Compares all tensors of two runs' last checkpoints, the optimizer's too."""
    ours, theirs = (tiny.tensors(tiny.last_checkpoint(run, stage)) for run in (one, other))
    assert sorted(ours) == sorted(theirs)
    assert [key for key in ours if ours[key] != theirs[key]] == []


def test_stages_killed_at_several_moments_end_with_the_same_bits(tiny_run: Any, tmp_path: pathlib.Path) -> None:
    run = tmp_path / 'run'
    until = ('run', tiny_run.config, '--run_dir', run, '--until', 'detector_1')
    kill_when(has_lines(run, 'rpn_1', 3), *until)
    kill_when(has_checkpoint(run, 'rpn_1', 4), *until)
    kill_when(has_lines(run, 'detector_1', 1), *until)
    code, output = tiny.run_command(*until)
    assert code == 0, output
    for stage in ('rpn_1', 'detector_1'):
        assert_same_bits(run, tiny_run.run_dir, stage)
        steps = [line['step'] for line in files.read_json_lines(run / 'stages' / stage / 'metrics.jsonl') if 'losses' in line]
        assert steps == [1, 2, 3, 4, 5, 6]


def test_a_stage_on_stored_proposals_and_features_is_made_again_with_the_same_bits(tiny_run: Any, copied: pathlib.Path) -> None:
    only = ('run', tiny_run.config, '--run_dir', copied, '--only', 'detector_2')
    shutil.rmtree(copied / 'stages' / 'detector_2')
    kill_when(has_checkpoint(copied, 'detector_2', 2, 'next'), *only, '--force', 'detector_2')
    code, output = tiny.run_command(*only)
    assert code == 0, output
    assert_same_bits(copied, tiny_run.run_dir, 'detector_2')


# ---- what a person sees ------------------------------------------------------------------------------------------------------

METRICS_ROW = r' *(detector_2|[─ ]*|[\w./@]+ +(\d\.\d{3})?) *'


def test_detect_prints_our_lines_and_nothing_of_the_libraries(
    copied: pathlib.Path, tiny_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    images = sorted((tiny_data / 'JPEGImages').glob('*.jpg'))[:2]
    code, output = tiny.run_command('detect', copied, *images, '--out', tmp_path / 'out')
    ours = ['image ids: 1 to 2, as images.json lists them', f'Detections on 2 images are in {tmp_path / "out"}']
    assert (code, output.splitlines()) == (0, ours)
    assert (copied / 'logs' / 'detect.log').is_file()


def test_plan_of_variables_prints_its_table_and_nothing_of_the_libraries(tiny_run: Any, copied: pathlib.Path) -> None:
    plain, with_variables = (
        tiny.run_command('plan', tiny_run.config, '--run_dir', copied, *options) for options in ((), ('--variables',))
    )
    assert (plain[0], with_variables[0]) == (0, 0) and with_variables[1].startswith(plain[1])
    table = [line for line in with_variables[1].removeprefix(plain[1]).splitlines() if line.strip(' ─')]
    assert table[0].split() == ['variable', 'shape', 'count', 'rpn_1', 'detector_1', 'rpn_2', 'detector_2']
    assert all(re.match(' (backbone|decoder|rpn_head|detection_head)/', line) for line in table[1:]) and len(table) > 300
    assert (copied / 'logs' / 'plan.log').is_file()


def test_plan_of_costs_prints_its_table_and_nothing_of_the_libraries(tiny_run: Any, copied: pathlib.Path) -> None:
    plain, with_cost = (tiny.run_command('plan', tiny_run.config, '--run_dir', copied, *options) for options in ((), ('--cost',)))
    assert (plain[0], with_cost[0]) == (0, 0) and with_cost[1].startswith(plain[1])
    table = [line.split() for line in with_cost[1].removeprefix(plain[1]).splitlines() if line.strip(' ─')]
    assert table[0] == ['stage', 'ms_per_step', 'num_steps', 'seconds']
    assert [row[0] for row in table[1:]] == ['rpn_1', 'detector_1', 'rpn_2', 'detector_2']
    assert all(float(row[1]) > 0.0 and row[2] == '6' and len(row) == 4 for row in table[1:])


def test_a_job_in_this_process_prints_our_lines_and_nothing_of_the_libraries(copied: pathlib.Path) -> None:
    code, output = tiny.run_command('eval', copied, '--stage', 'detector_2', '--in_process')
    assert code == 0, output
    lines = output.splitlines()
    said = [line for line in lines if line.startswith('detector_2: ')]
    assert len(said) >= 2 and [line for line in lines if line not in said and not re.fullmatch(METRICS_ROW, line)] == []
