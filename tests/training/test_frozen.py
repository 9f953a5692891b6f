"""Rule 1: frozen means bit-identical, whatever the optimizer, decay, clipping and BatchNorm do to the rest."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import tensorflow as tf

from stagetrain.config.stages import live_losses, stage_modules
from stagetrain.files import read_json
from stagetrain.pipeline.jobs import StageJob
from stagetrain.stages.roles import freeze_layers, select_variables
from stagetrain.training import optimizers
from stagetrain.training.step import Task, build_step
from stagetrain.weights import assign, names
from tests import tiny

CLIPPED_SGD = {'type': 'sgd', 'sgd': {'momentum': 0.9, 'global_clipnorm': 1.0}}


def frozen_job(folder: pathlib.Path, data: pathlib.Path, **train: Any) -> StageJob:
    """Returns the job of an RPN stage on a frozen backbone with BatchNorm, which is computed at each step."""
    stage = tiny.stage(
        'rpn',
        tiny.RPN,
        {'steps': 5, **train},
        freeze_variables=['backbone/.*'],
        allow_frozen_fresh=['backbone/.*'],
        features='off',
    )
    return tiny.job(folder, tiny.pipeline(data, [stage]), 'rpn')


def initial_digests(job: StageJob) -> dict[str, str]:
    """Returns the digests of the values that a stage without sources starts from."""
    context = tiny.context(job)
    detector = context.build_detector(stage_modules(context.pipeline, context.stage))
    return assign.digests(names.named_variables(detector.modules))


def final_digests(run_dir: pathlib.Path, stage_id: str) -> dict[str, str]:
    """Returns the digests of a stage's last checkpoint, computed from its values."""
    values = assign.read_stage_checkpoint(tiny.last_checkpoint(run_dir, stage_id))
    return {name: assign.digest(value) for name, value in values.items()}


@pytest.mark.slow
@pytest.mark.parametrize('optimizer', [CLIPPED_SGD, tiny.ADAMW], ids=['sgd', 'adamw'])
def test_every_frozen_bit_is_equal_after_training(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path, optimizer: dict[str, Any]
) -> None:
    job = frozen_job(tmp_path, tiny_data, optimizer=optimizer)
    before = initial_digests(job)
    tiny.train(job)
    after = final_digests(tmp_path, 'rpn')
    moved = {name for name in before if before[name] != after[name]}
    assert not {name for name in moved if name.startswith('backbone/')}
    assert sum(name.startswith('backbone/') and '/moving_' in name for name in before) == 54
    assert all(name in moved for name in before if name.startswith(('decoder/', 'rpn_head/')) and name.endswith('/kernel'))
    recorded = read_json(tmp_path / 'stages' / 'rpn' / 'frozen.json')
    assert recorded == {name: value for name, value in before.items() if name.startswith('backbone/')}


def moved_statistics(job: StageJob, *, freezes_layers: bool) -> int:
    """Returns how many frozen variables move in two steps when layers are frozen, or only left out of the optimizer's list."""
    context = tiny.context(job)
    detector = context.build_detector(stage_modules(context.pipeline, context.stage))
    selection = select_variables(detector, context.stage, tuple(detector.modules), 'stages.rpn', lambda name: True)
    if freezes_layers:
        freeze_layers(detector.modules, selection)
    variables = names.named_variables(detector.modules)
    before = assign.digests({name: variables[name] for name in selection.frozen})
    batches = tiny.training_input(job, detector, list(tiny.RPN)).batches(0, 2)
    step = build_step(
        Task(
            detector,
            optimizers.build_optimizer(context.stage.train),
            live_losses(context.stage),
            [variables[name] for name in selection.trained],
            tf.Variable(0, dtype=tf.int64),
        ),
        context.strategy,
    )
    for batch in batches:
        step(batch)
    after = assign.digests({name: variables[name] for name in selection.frozen})
    return sum(before[name] != after[name] for name in before)


@pytest.mark.slow
def test_leaving_variables_out_of_the_trained_list_would_move_the_statistics(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    job = frozen_job(tmp_path, tiny_data)
    assert moved_statistics(job, freezes_layers=False) == 46  # Mean and variance of 23 BatchNorms: the proof can fail.
    assert moved_statistics(job, freezes_layers=True) == 0
