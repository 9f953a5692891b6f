"""Several replicas train as one device does. A process divides its CPU before TensorFlow starts, so each run has its own."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from stagetrain import files
from stagetrain.config import schema
from stagetrain.config.builtin.strategy_mirrored import Mirrored
from stagetrain.devices import mirrored
from stagetrain.errors import ConfigError
from stagetrain.training.optimizers import Schedule
from tests import tiny

Losses = dict[str, dict[str, list[dict[str, float]]]]
"""Pipeline -> number of replicas -> losses of each step."""


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> Losses:
    """What `on_replicas` prints."""
    command = [sys.executable, '-m', 'tests.devices.on_replicas', str(tiny_data), str(tmp_path_factory.mktemp('replicas'))]
    done = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: Losses = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ('pipeline', 'num_alike'),
    [
        ('faster_rcnn', 1),  # Its next step takes other proposals where scores differ in their last digits.
        ('rpn', 2),
        ('retinanet', 2),
        ('centernet', 1),  # Its BatchNorm amplifies rounding: features of this backbone hardly vary.
    ],
)
@pytest.mark.parametrize('number', ['2', '4'])
def test_losses_are_those_of_one_device(trained: Losses, pipeline: str, num_alike: int, number: str) -> None:
    alone, shared = (trained[pipeline][key] for key in ('1', number))
    assert len(alone) == len(shared) == 2 and alone[0] != alone[1]
    for mine, theirs in zip(alone[:num_alike], shared, strict=False):
        assert theirs == pytest.approx(mine, abs=1e-4)


def on_two() -> tuple[str, ...]:
    """Returns the arguments that have a command compute on two logical CPUs."""
    return '--set', 'runtime.strategy=mirrored', '--set', 'runtime.mirrored={num_devices: 2, device: cpu}'


@pytest.mark.slow
def test_four_steps_train_freeze_and_detect_on_two(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    stages = tiny.four_steps()
    for stage in stages:
        stage['train'] |= {'steps': 2, 'checkpoint_interval': 1}
    config = tiny.write_config(tmp_path / 'a.yaml', tiny.pipeline(tiny_data, stages))
    code, output = tiny.run_command('run', config, '--run_dir', tmp_path / 'run', '--in_process', *on_two())
    assert code == 0, output
    code, output = tiny.run_command('verify', tmp_path / 'run')
    assert code == 0, output
    assert files.read_json(tmp_path / 'run/stages/detector_2/evaluation.json')['AP'] >= 0
    image = next((tiny_data / 'JPEGImages').iterdir())  # Without the devices that it was trained on.
    code, output = tiny.run_command('detect', tmp_path / 'run', image, '--out', tmp_path / 'pictures')
    assert code == 0, output


@pytest.mark.slow
def test_a_killed_stage_resumes_with_the_same_bits_on_two(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    """Each replica has its own BatchNorm: statistics are what could differ after a restart."""
    stage = tiny.stage('rpn', tiny.RPN, {'steps': 2, 'checkpoint_interval': 1})
    config = tiny.write_config(tmp_path / 'a.yaml', tiny.pipeline(tiny_data, [stage]))
    code, output = tiny.run_command('verify-resume', config, '--stage', 'rpn', '--at', 1, *on_two())
    assert code == 0, output


def test_learning_rates_are_multiplied_by_the_number_of_replicas() -> None:
    train = schema.Train.model_validate(tiny.stage('one', tiny.RPN)['train'])
    assert [float(Schedule(train, scale)(0)) for scale in (1.0, 4.0)] == pytest.approx([0.01, 0.04])


def test_more_devices_than_there_are_are_refused() -> None:
    present = len(tf.config.list_physical_devices('GPU'))
    with pytest.raises(ConfigError, match=rf'num_devices: found {present + 1}, but TensorFlow sees {present} GPUs'):
        mirrored.build(Mirrored(num_devices=present + 1))


def test_a_process_that_computes_already_cannot_be_divided() -> None:
    present = len(tf.config.list_logical_devices('CPU'))
    with pytest.raises(ConfigError, match=rf'TensorFlow runs in this process already, with {present} CPU devices'):
        mirrored.build(Mirrored(num_devices=present + 1, device='cpu'))
