"""A Keras backbone with unusual layers (slashes in names, operators as layers) trains, stops, and goes on to the same bits."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain.errors import Interrupted
from stagetrain.weights import assign
from tests import tiny


def train(folder: pathlib.Path, data: pathlib.Path, backbone: dict[str, Any], stop_after: int | None = None) -> None:
    stage = tiny.stage('rpn', tiny.RPN, {'steps': 4, 'checkpoint_interval': 2})
    job = tiny.job(folder, tiny.pipeline(data, [stage], backbone=backbone), 'rpn')
    tiny.train(job, stop_after)


@pytest.mark.slow
def test_a_stopped_stage_ends_with_the_bits_of_one_that_was_not(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    backbone = {'type': 'keras_mobilenet_v3_small', 'keras_mobilenet_v3_small': {'alpha': 0.25}}
    train(tmp_path / 'whole', tiny_data, backbone)
    with pytest.raises(Interrupted):
        train(tmp_path / 'stopped', tiny_data, backbone, stop_after=2)
    train(tmp_path / 'stopped', tiny_data, backbone)
    found = [assign.read_stage_checkpoint(tiny.last_checkpoint(tmp_path / run, 'rpn')) for run in ('whole', 'stopped')]
    assert found[0].keys() == found[1].keys()
    assert [key for key in found[0] if found[0][key].tobytes() != found[1][key].tobytes()] == []


@pytest.mark.slow
def test_efficientnet_b0_trains(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    options = {'imagenet_rescaling': False, 'endpoints': {'3': 'block3b_add', '4': 'block5c_add'}}
    backbone = {'type': 'keras_efficientnet_b0', 'keras_efficientnet_b0': options}
    stage = tiny.stage('rpn', tiny.RPN, {'steps': 3, 'checkpoint_interval': 1})
    job = tiny.job(tmp_path, tiny.pipeline(tiny_data, [stage], backbone=backbone), 'rpn')
    tiny.train(job)
    folders = sorted((tmp_path / 'stages/rpn/checkpoints').glob('step-*'))
    assert [folder.name for folder in folders] == ['step-00000002', 'step-00000003']
    before, after = (assign.read_stage_checkpoint(folder) for folder in folders)
    kernels = [name for name in before if name.startswith('backbone/block') and name.endswith('kernel')]
    assert len(kernels) == 54 and all(before[name].tobytes() != after[name].tobytes() for name in kernels)
