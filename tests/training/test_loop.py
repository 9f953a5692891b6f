"""What the loop does when numbers go wrong, when evaluations get no better, and when it is stopped: on real checkpoints."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest

from stagetrain import files
from stagetrain.errors import Interrupted, StageFailed
from stagetrain.pipeline import run_files
from stagetrain.training import checkpoint
from tests.training import small

pytestmark = pytest.mark.numbers


def steps_of(folder: pathlib.Path) -> list[int]:
    return [run_files.step_of(path) for path in run_files.checkpoint_folders(folder / run_files.CHECKPOINTS)]


def notes(events: list) -> str:
    return '\n'.join(event['text'] for event in events if event['event'] == 'note')


def lines(folder: pathlib.Path) -> list[dict]:
    return files.read_json_lines(folder / 'metrics.jsonl')


def assert_equal(first: small.Training, second: small.Training) -> None:
    values, others = first.values(), second.values()
    assert sorted(values) == sorted(others) and len(values) > 6
    for key, value in values.items():
        np.testing.assert_array_equal(value, others[key], err_msg=key)


@pytest.mark.parametrize('keys', [{}, {'ema': {}}, {'gradient_accumulation': 2}], ids=['plain', 'ema', 'accumulation'])
def test_a_stopped_loop_goes_on_to_the_same_bits(tmp_path: pathlib.Path, keys: dict) -> None:
    straight, stopped, resumed = (small.training(**keys) for _ in range(3))
    straight.resume(tmp_path / 'straight')
    with pytest.raises(Interrupted, match='saved at step 5 of 8'):
        stopped.resume(tmp_path / 'stopped', stop_after=5)
    resumed.resume(tmp_path / 'stopped')
    assert_equal(straight, resumed)


def test_a_nan_ends_the_stage_and_the_weights_before_it_are_saved(tmp_path: pathlib.Path) -> None:
    training = small.training()
    message = r'stage one, step 4: square not finite \(losses: .*images: image_0, image_1.*was not applied.*Lower the learning'
    with pytest.raises(StageFailed, match=message):
        training.resume(tmp_path, broken=[3])
    assert steps_of(tmp_path) == [2, 3] and int(training.state.step) == 3
    assert all(np.isfinite(value).all() for value in training.values().values())


def test_a_skipped_batch_moves_nothing_but_the_position(tmp_path: pathlib.Path) -> None:
    training = small.training(on_nan='skip_batch')
    _, events = training.resume(tmp_path / 'skipping', broken=[3])
    assert 'step 4: square not finite' in notes(events) and 'its batch is skipped, 1 of at most 3' in notes(events)
    assert int(training.state.step) == int(training.state.optimizer.iterations) == 8
    before = small.training(on_nan='skip_batch')
    with pytest.raises(Interrupted):
        before.resume(tmp_path / 'stopped', broken=[3], stop_after=3)
    at_three = before.values()
    with pytest.raises(Interrupted):
        before.resume(tmp_path / 'stopped', broken=[3], stop_after=4)
    behind = before.values()
    moved = {key for key, value in at_three.items() if (value != behind[key]).any()}
    assert moved == {'step/.ATTRIBUTES/VARIABLE_VALUE', 'optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE'}
    again = small.training(on_nan='skip_batch')
    again.resume(tmp_path / 'stopped', broken=[3])
    assert_equal(training, again)
    assert sum('skipped' in line for line in lines(tmp_path / 'stopped')) == 1


def test_skipping_has_a_limit_that_a_restart_does_not_reset(tmp_path: pathlib.Path) -> None:
    training = small.training(on_nan='skip_batch', on_nan_limit=2)
    with pytest.raises(Interrupted):
        training.resume(tmp_path, broken=[1, 3, 5], stop_after=4)
    with pytest.raises(StageFailed, match=r'step 6: .*on_nan_limit \(2\) is used up by skip_batch'):
        small.training(on_nan='skip_batch', on_nan_limit=2).resume(tmp_path, broken=[1, 3, 5])


def test_a_rollback_goes_back_to_the_checkpoint_with_half_the_rate(tmp_path: pathlib.Path) -> None:
    training = small.training(on_nan='rollback', on_nan_limit=2)
    with pytest.raises(StageFailed, match='used up by rollback'):
        training.resume(tmp_path, broken=[5])
    rollbacks = [line for line in lines(tmp_path) if 'rollback' in line]
    assert [(line['step'], line['rollback']['from']) for line in rollbacks] == [(4, 6), (4, 6)]
    rates = [(line['step'], line['learning_rate']) for line in lines(tmp_path) if 'learning_rate' in line]
    assert rates == [(1, 0.01), (2, 0.01), (3, 0.01), (4, 0.01), (5, pytest.approx(0.0025))] or rates[-1] == (
        5,
        pytest.approx(0.0025),
    )


def test_a_rollback_before_the_first_checkpoint_goes_back_to_the_start_and_gets_past_a_spike(tmp_path: pathlib.Path) -> None:
    """With a rate this high the loss rises above `max_loss` from step to step; halved often enough it does not."""
    rate = {'type': 'constant', 'constant': {'learning_rate': 40.0}}
    keys = {'optimizer': {'type': 'sgd', 'sgd': {}}, 'learning_rate': rate, 'max_loss': 30.0, 'checkpoint_interval': 8}
    with pytest.raises(StageFailed, match='above max_loss'):
        small.training(**keys).resume(tmp_path / 'stop')
    training = small.training(**keys, on_nan='rollback', on_nan_limit=12)
    _, events = training.resume(tmp_path / 'rollback')
    assert 'back to the last checkpoint, and on with the learning rate times 0.5' in notes(events)
    assert int(training.state.step) == 8 and steps_of(tmp_path / 'rollback') == [0, 8]
    assert {line['step'] for line in lines(tmp_path / 'rollback') if 'rollback' in line} == {0}


def test_weights_that_have_diverged_never_become_the_newest_checkpoint(tmp_path: pathlib.Path) -> None:
    """A step's own loss is finite, but what it does to the weights is not bearable: the first batch tells."""
    rate = {'type': 'stepwise', 'stepwise': {'boundaries': [2], 'values': [0.01, 1e25]}}
    training = small.training(learning_rate=rate, checkpoint_interval=1, steps=4)
    with pytest.raises(StageFailed, match=r'step 4: these weights give .* not finite .* no checkpoint was made of them'):
        training.resume(tmp_path)
    assert steps_of(tmp_path) == [2, 3]


def evaluated(training: small.Training, folder: pathlib.Path, values: list[float], **keys: object) -> tuple:
    """Runs a stage whose evaluations give `values`, in order of their steps; in that which would give NaN it is told to stop."""
    first = checkpoint.restore_newest(folder / run_files.CHECKPOINTS, training.state, lambda text: None)
    loop, events = training.loop(folder, **keys)
    loop.history.keep_until(first)
    interval = training.train.validation_interval or 1

    def validate(step: int, seconds: float) -> None:
        if math.isnan(values[step // interval - 1]):
            raise Interrupted('stopped in the evaluation')
        loop.history.append({'step': step, 'seconds': seconds, 'evaluation': {'AP': values[step // interval - 1]}})

    loop.validate = validate
    loop.run(first)
    return loop, events


def test_early_stopping_saves_and_ends(tmp_path: pathlib.Path) -> None:
    keys = {'validation_interval': 1, 'early_stopping': {'patience': 2}, 'checkpoint_interval': 8}
    training = small.training(**keys)
    _, events = evaluated(training, tmp_path, [0.1, 0.3, 0.2, 0.25, 0.9, 0.9, 0.9, 0.9])
    assert int(training.state.step) == 4 and steps_of(tmp_path) == [4]
    assert 'step 4: AP got no better any more' in notes(events)


def test_a_plateau_survives_a_restart_bit_for_bit(tmp_path: pathlib.Path) -> None:
    keys = {'validation_interval': 1, 'reduce_on_plateau': {'patience': 2, 'factor': 0.5}}
    values = [0.1, 0.3, 0.2, 0.25, 0.2, 0.2, 0.9]
    straight, stopped, resumed = (small.training(**keys) for _ in range(3))
    evaluated(straight, tmp_path / 'straight', values)
    rates = [line['learning_rate'] for line in lines(tmp_path / 'straight') if 'learning_rate' in line]
    assert rates == pytest.approx([0.01] * 4 + [0.005] * 2 + [0.0025] * 2)
    with pytest.raises(Interrupted):
        evaluated(stopped, tmp_path / 'stopped', values, stop_after=5)
    evaluated(resumed, tmp_path / 'stopped', values)
    assert_equal(straight, resumed)


def test_a_stage_stopped_in_an_evaluation_saves_and_evaluates_when_it_goes_on(tmp_path: pathlib.Path) -> None:
    keys = {'validation_interval': 1, 'reduce_on_plateau': {'patience': 2, 'factor': 0.5}}
    values = [0.1, 0.3, 0.2, 0.25, 0.2, 0.2, 0.9]
    straight, stopped, resumed = (small.training(**keys) for _ in range(3))
    evaluated(straight, tmp_path / 'straight', values)
    with pytest.raises(Interrupted, match='saved at step 5 of 8'):
        evaluated(stopped, tmp_path / 'stopped', [*values[:4], math.nan, *values[5:]])
    assert steps_of(tmp_path / 'stopped')[-1] == 5
    evaluated(resumed, tmp_path / 'stopped', values)
    assert_equal(straight, resumed)
    found = [
        [(line['step'], line['evaluation']) for line in lines(folder) if 'evaluation' in line] for folder in tmp_path.iterdir()
    ]
    assert found[0] == found[1] and [step for step, _ in found[0]] == [1, 2, 3, 4, 5, 6, 7]


def test_a_stage_told_to_stop_before_a_step_does_none(tmp_path: pathlib.Path) -> None:
    training = small.training()
    with pytest.raises(Interrupted, match='stage one: stopped at step 0 of 8, before another one'):
        training.resume(tmp_path, stop_after=0)
    assert steps_of(tmp_path) == [] and int(training.state.step) == 0


def test_a_checkpoint_is_due_after_minutes_too(tmp_path: pathlib.Path) -> None:
    training = small.training(checkpoint_interval=100, checkpoint_minutes=1e-9, max_to_keep=20)
    training.resume(tmp_path)
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6, 7, 8]
