"""A stage of TensorFlow in a real child process: preempted, stopped with Ctrl-C, killed, it ends with the same bits."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from scripts import process_tree
from stagetrain import files
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.weights.tensor_checks import tensor_digests
from tests.fakes.project import ROOT

NUM_STEPS = 300
EVERY_STEP = 'stages.rpn_1.train.summary_interval=1'
"""As `verify-resume` sets it, so that its check against the model's names holds for the other runs too."""
SECONDS_TO_SAVE = 10.0

MAKE_TINY = (
    'import pathlib, sys; from scripts.campaign_tiny import make_tiny; make_tiny(pathlib.Path(sys.argv[1]), int(sys.argv[2]))'
)


@dataclasses.dataclass(frozen=True)
class Verified:
    """What `verify-resume` said and left."""

    config: pathlib.Path
    code: int
    said: str
    straight: RunDirectory


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, '-m', 'stagetrain.cli.main', *map(str, arguments)]
    environ = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', 'COLUMNS': '400'}
    return subprocess.Popen(command, cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope='module')
def verified(tmp_path_factory: pytest.TempPathFactory) -> Verified:
    folder = tmp_path_factory.mktemp('real_stage')
    subprocess.run([sys.executable, '-c', MAKE_TINY, str(folder), str(NUM_STEPS)], cwd=ROOT, check=True)
    config = folder / 'tiny.yaml'
    process = start('verify-resume', config, '--stage', 'rpn_1', '--at', 7, '--run_dir', folder / 'verify')
    said, _ = process.communicate(timeout=300)
    return Verified(config, process.returncode, said, RunDirectory(folder / 'verify' / 'straight'))


@pytest.mark.slow
def test_verify_resume_finds_a_killed_stage_equal(verified: Verified) -> None:
    assert verified.code == 0, verified.said
    assert 'rpn_1: killed behind step 7; its newest checkpoint is of step ' in verified.said
    assert 'tensors are bit for bit equal, straight and resumed' in verified.said


@pytest.mark.slow
def test_sigterm_and_ctrl_c_save_and_the_stage_ends_with_the_same_bits(verified: Verified, tmp_path: pathlib.Path) -> None:
    directory = RunDirectory(tmp_path / 'run')
    shutil.copytree(verified.straight.cache, directory.cache)
    command = ('run', verified.config, '--only', 'rpn_1', '--set', EVERY_STEP, '--run_dir', directory.path)
    saved = 0
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(*command)
        wait_for_steps(process, directory, behind=saved)
        assert process_tree.listening_sockets(process_tree.tree(process.pid)) == set()
        told = time.monotonic()
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        assert time.monotonic() - told < SECONDS_TO_SAVE
        assert process.returncode == 130, said
        before, saved = saved, directory.state().partial['rpn_1'].step
        assert before < saved < NUM_STEPS
        assert f'stopped and saved at step {saved} of {NUM_STEPS}' in directory.ledger.read()[-1]['text']
    process = start(*command)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert f'rpn_1: goes on at step {saved}' in said
    results = [run.checkpoint(run.lock().stages['rpn_1'].result) for run in (verified.straight, directory)]
    assert tensor_digests(results[0]) == tensor_digests(results[1])


def wait_for_steps(process: subprocess.Popen[str], directory: RunDirectory, behind: int) -> None:
    """Returns when the stage has done some steps more."""
    metrics = directory.stage('rpn_1') / 'metrics.jsonl'
    while max((line['step'] for line in files.read_json_lines(metrics)), default=0) < behind + 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
