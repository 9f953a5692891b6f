"""Early stopping, averages and `hand_over` through a whole stage, and what the next stage starts from."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import numpy as np
import pytest

from stagetrain import files
from stagetrain.errors import Interrupted
from stagetrain.pipeline import run_files
from stagetrain.pipeline.jobs import StageJob
from stagetrain.weights import assign
from tests import tiny

pytestmark = pytest.mark.slow
JUDGED = {'validation_interval': 1, 'best_metric': 'recall_0.5'}
RESTING = {'type': 'constant', 'constant': {'learning_rate': 0.0}}


def rpn_job(folder: pathlib.Path, data: pathlib.Path, **train: Any) -> StageJob:
    """Returns the job of an RPN stage that is judged after each step."""
    return tiny.job(folder, tiny.pipeline(data, [tiny.stage('rpn', tiny.RPN, {**JUDGED, **train})]), 'rpn')


def test_a_stage_that_gets_no_better_ends_and_an_interrupted_one_likewise(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    keys = {'early_stopping': {'patience': 2}, 'reduce_on_plateau': {'patience': 1, 'factor': 0.5}, 'hand_over': 'best'}
    keys |= {'learning_rate': RESTING, 'ema': {}}
    job = rpn_job(tmp_path / 'straight', tiny_data, **keys)
    result, events = tiny.train(job)
    # Nothing moves but BatchNorm's statistics, so a value may change once; the stage still ends before its sixth step or there.
    ended = result['step']
    values = [line['evaluation']['recall_0.5'] for line in lines(tmp_path / 'straight') if 'evaluation' in line]
    assert len(values) == ended and values[ended - 2 :] <= [max(values)] * 2
    assert result['best']['step'] == values.index(max(values)) + 1
    assert result['checkpoint'] == result['best']['checkpoint'] and result['metrics']['recall_0.5'] == max(values)
    again = rpn_job(tmp_path / 'stopped', tiny_data, **keys)
    with pytest.raises(Interrupted):
        tiny.train(again, stop_after=1)
    other, _ = tiny.train(again)
    assert {key: other[key] for key in ('step', 'checkpoint', 'digests', 'metrics')} == {
        key: result[key] for key in ('step', 'checkpoint', 'digests', 'metrics')
    }
    once_more, _ = tiny.train(again)  # A finished stage is evaluated only.
    assert once_more['digests'] == result['digests'] and once_more['step'] == ended


def test_averages_are_handed_over_and_training_goes_on_with_the_weights(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    plain, _ = tiny.train(rpn_job(tmp_path / 'plain', tiny_data, validation_interval=None))
    averaged, _ = tiny.train(
        rpn_job(tmp_path / 'ema', tiny_data, validation_interval=None, ema={'average_decay': 0.5, 'dynamic_decay': False})
    )
    assert averaged['checkpoint'] == 'stages/rpn/averaged/step-00000006'
    last = tiny.last_checkpoint(tmp_path / 'ema', 'rpn')
    weights, reference = (
        assign.read_stage_checkpoint(last),
        assign.read_stage_checkpoint(tmp_path / 'plain' / plain['checkpoint']),
    )
    handed_over = assign.read_stage_checkpoint(tmp_path / 'ema' / averaged['checkpoint'])
    for name, value in reference.items():
        np.testing.assert_array_equal(weights[name], value)  # Averaging does not touch the training.
    name = next(name for name in reference if name.startswith('rpn_head/') and name.endswith('kernel'))
    assert 0 < np.abs(handed_over[name] - weights[name]).max() < 0.1
    kept = files.read_json(tmp_path / 'ema' / averaged['checkpoint'] / run_files.VARIABLES)
    assert averaged['digests'] == assign.module_digests({key: entry['digest'] for key, entry in kept.items()})


def lines(run_dir: pathlib.Path) -> list[dict[str, Any]]:
    return files.read_json_lines(run_dir / 'stages' / 'rpn' / 'metrics.jsonl')


def test_where_the_metric_that_decides_is_never_measured_the_last_step_counts_and_a_note_says_so(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    shutil.copytree(tiny_data, tmp_path / 'data')
    for path in (tmp_path / 'data' / 'Annotations').iterdir():
        path.write_text(path.read_text().replace('<difficult>0', '<difficult>1'))
    keys = {'hand_over': 'best', 'early_stopping': {'patience': 1}, 'steps': 2}
    document = tiny.pipeline(tmp_path / 'data', [tiny.stage('rpn', tiny.RPN, {**JUDGED, **keys})])
    document['data']['train']['include_difficult'] = True
    job = tiny.job(tmp_path / 'run', document, 'rpn')
    for _ in range(2):  # A finished stage too, which is evaluated only.
        result, events = tiny.train(job)
        assert (result['step'], result['best'], result['metrics']['recall_0.5']) == (2, None, None)
        assert result['checkpoint'].endswith('checkpoints/step-00000002')
        notes = [event['text'] for event in events if event['event'] == 'note']
        assert any(
            'recall_0.5 was measured in no evaluation' in note
            and 'hand_over: best, early_stopping: the weights of step 2' in note
            for note in notes
        )
