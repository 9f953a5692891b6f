"""Rules 5, 6 and 8: a new optimizer in each stage, exact resume, and regularisation reported apart."""

from __future__ import annotations

import os
import pathlib
import shutil

import numpy as np
import pytest

from stagetrain import files
from stagetrain.errors import Interrupted, WeightsError
from stagetrain.pipeline.jobs import StageJob
from stagetrain.weights import assign, tensor_checks
from tests import tiny
from tests.tiny import Trained


def interrupted(joint: Trained, folder: pathlib.Path, step: int) -> StageJob:
    """Returns the joint stage's job in another run directory, stopped after a step."""
    job = tiny.elsewhere(joint.job, folder)
    (folder / 'stages' / 'joint').mkdir(parents=True)
    (folder / 'cache').mkdir()
    with pytest.raises(Interrupted, match=f'stage joint: stopped and saved at step {step} of 6'):
        tiny.train(job, stop_after=step)
    return job


@pytest.mark.numbers
@pytest.mark.slow
def test_a_stopped_and_resumed_stage_ends_with_the_same_bits(joint: Trained, tmp_path: pathlib.Path) -> None:
    job = interrupted(joint, tmp_path, 3)
    assert tiny.last_checkpoint(tmp_path, 'joint').name == 'step-00000003'
    result, _ = tiny.train(job)
    assert tiny.tensors(tmp_path / result['checkpoint']) == tiny.tensors(joint.checkpoint)
    assert result['digests'] == joint.result['digests']
    assert sum('/.OPTIMIZER_SLOT/' in key for key in tiny.tensors(joint.checkpoint)) > 90
    lines = files.read_json_lines(tmp_path / 'stages' / 'joint' / 'metrics.jsonl')
    assert [line['step'] for line in lines if 'losses' in line] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_run_directory_may_have_any_name(joint: Trained, tmp_path: pathlib.Path) -> None:
    run_dir = tmp_path / 'lr[0.1] *?' / 'two\nlines' / os.fsdecode(b'\\ \xe7\xb4\xb0')
    assert tiny.tensors(tiny.resumed(joint, run_dir)) == tiny.tensors(joint.checkpoint)
    assert tensor_checks.tensor_faults(tiny.last_checkpoint(run_dir, 'joint'), joint.result['digests']) == []


@pytest.mark.slow
def test_a_stage_stopped_in_its_last_evaluation_makes_only_that_anew(joint: Trained, tmp_path: pathlib.Path) -> None:
    job = tiny.elsewhere(joint.job, tmp_path)
    (tmp_path / 'stages' / 'joint').mkdir(parents=True)
    (tmp_path / 'cache').mkdir()
    with pytest.raises(Interrupted, match='stopped in the evaluation, which the same command makes anew'):
        tiny.train(job, stop_after=6)
    assert tiny.last_checkpoint(tmp_path, 'joint').name == 'step-00000006'
    result, _ = tiny.train(job)
    assert (result['digests'], result['metrics']) == (joint.result['digests'], joint.result['metrics'])


@pytest.mark.slow
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(joint: Trained, tmp_path: pathlib.Path) -> None:
    job = interrupted(joint, tmp_path, 5)
    damaged = tiny.last_checkpoint(tmp_path, 'joint') / 'ckpt.data-00000-of-00001'
    damaged.write_bytes(damaged.read_bytes()[:-100])
    result, events = tiny.train(job)
    notes = [event['text'] for event in events if event['event'] == 'note']
    assert any('step-00000005: damaged, passed over' in note for note in notes)
    assert tiny.tensors(tmp_path / result['checkpoint']) == tiny.tensors(joint.checkpoint)


@pytest.mark.slow
def test_optimizer_and_schedule_are_new_in_each_stage(joint: Trained, tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    constant = {'type': 'constant', 'constant': {'learning_rate': 0.0}}
    stages = [tiny.stage('joint', tiny.RPN | tiny.HEAD), tiny.stage('again', tiny.RPN, {'steps': 1, 'learning_rate': constant})]
    stages[1]['init'] = dict.fromkeys(('backbone', 'decoder', 'rpn_head'), 'joint')
    job = tiny.job(tmp_path, tiny.pipeline(tiny_data, stages), 'again', origins=dict.fromkeys(stages[1]['init'], joint.origin))
    result, _ = tiny.train(job)
    after = tiny.tensors(tmp_path / result['checkpoint'])
    slots = {key: np.frombuffer(value, np.float32) for key, value in after.items() if '/.OPTIMIZER_SLOT/' in key}
    # At rate 0 a new momentum is 0 after a step; one carried over would be 0.9 of what it was, and move the weights.
    assert len(slots) > 20 and not any(slot.any() for slot in slots.values())
    carried = {key: np.frombuffer(value, np.float32) for key, value in tiny.tensors(joint.checkpoint).items() if key in slots}
    assert any(slot.any() for slot in carried.values())
    values = [assign.read_stage_checkpoint(folder) for folder in (joint.checkpoint, tmp_path / result['checkpoint'])]
    kernel = next(name for name in values[0] if name.startswith('rpn_head/') and name.endswith('kernel'))
    np.testing.assert_array_equal(values[0][kernel], values[1][kernel])


def test_regularisation_is_reported_apart_from_the_losses(joint: Trained) -> None:
    lines = [line for line in files.read_json_lines(joint.folder / 'metrics.jsonl') if 'losses' in line]
    assert [line['step'] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert sorted(lines[0]['losses']) == ['frcnn_box', 'frcnn_class', 'rpn_box', 'rpn_score']
    assert all(0.1 < line['regularization'] < 10 for line in lines)


def test_a_finished_stage_is_evaluated_only(joint: Trained, tmp_path: pathlib.Path) -> None:
    shutil.copytree(joint.run_dir, tmp_path / 'run')
    result, _ = tiny.train(tiny.elsewhere(joint.job, tmp_path / 'run'))
    assert result['digests'] == joint.result['digests']
    assert result['metrics'] == joint.result['metrics']


def damage_all(folder: pathlib.Path) -> None:
    for path in folder.glob('step-*/ckpt.data-00000-of-00001'):
        path.write_bytes(b'')


def test_a_stage_without_one_readable_checkpoint_is_not_started_anew(joint: Trained, tmp_path: pathlib.Path) -> None:
    shutil.copytree(joint.run_dir, tmp_path / 'run')
    damage_all(tmp_path / 'run' / 'stages' / 'joint' / 'checkpoints')
    with pytest.raises(WeightsError, match=r'none of its 2 checkpoints can be read.*--force'):
        tiny.train(tiny.elsewhere(joint.job, tmp_path / 'run'))
