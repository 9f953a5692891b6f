"""A stage that was trained for 4 steps and then for 8 ends with the bits of one that was trained for 8 at once."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain import files
from stagetrain.pipeline import replacing
from stagetrain.pipeline.jobs import StageJob
from tests import tiny

pytestmark = pytest.mark.slow
JUDGED = {
    'validation_interval': 3,  # Not at step 4, where the shorter one is evaluated for it ends there.
    'best_metric': 'recall_0.5',
    'hand_over': 'best',
    'early_stopping': {'patience': 9},
    'reduce_on_plateau': {'patience': 1, 'factor': 0.5},
    'ema': {},
}


def stepwise(*boundaries: int) -> dict[str, Any]:
    values = [0.02, 0.01, 0.005][: len(boundaries) + 1]
    return {'type': 'stepwise', 'stepwise': {'boundaries': list(boundaries), 'values': values}}


def job(run_dir: pathlib.Path, data: pathlib.Path, folder: str, **train: Any) -> StageJob:
    document = tiny.pipeline(data, [tiny.stage('rpn', tiny.RPN, train)])
    return tiny.job(run_dir, document, 'rpn', folder=str(run_dir / folder / 'rpn'))


def evaluations(folder: pathlib.Path) -> list[tuple[int, Any]]:
    lines = files.read_json_lines(folder / 'metrics.jsonl')
    return [(line['step'], line['evaluation']) for line in lines if 'evaluation' in line]


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ({'optimizer': tiny.ADAMW}, {'optimizer': tiny.ADAMW}),
        ({**JUDGED, 'learning_rate': stepwise(2)}, {**JUDGED, 'learning_rate': stepwise(2, 6)}),
    ],
    ids=['plain', 'judged, averaged, with another boundary behind its former end'],
)
def test_four_steps_and_then_eight_are_eight(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    straight = job(tmp_path / 'straight', tiny_data, 'stages', steps=8, **after)
    expected = tiny.train(straight)[0]
    run_dir = tmp_path / 'extended'
    tiny.train(job(run_dir, tiny_data, 'stages', steps=4, **before))
    replacing.begin_at(run_dir, 'rpn', 4, before.get('validation_interval'))
    result = tiny.train(job(run_dir, tiny_data, 'next', steps=8, **after))[0]
    assert result['digests'] == expected['digests']
    assert result['checkpoint'].replace('next/', 'stages/') == expected['checkpoint']
    assert result['metrics'] == expected['metrics']
    for step in ('step-00000006', 'step-00000008'):
        ours, theirs = (
            tiny.tensors(folder / 'rpn' / 'checkpoints' / step) for folder in (run_dir / 'next', tmp_path / 'straight' / 'stages')
        )
        assert ours == theirs
    assert evaluations(run_dir / 'next' / 'rpn') == evaluations(tmp_path / 'straight' / 'stages' / 'rpn')
    assert (result['best'] or {}).get('step') == (expected['best'] or {}).get('step')


def test_a_stage_that_ended_early_ends_there_again(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    resting = {'type': 'constant', 'constant': {'learning_rate': 0.0}}
    judged = {'validation_interval': 1, 'best_metric': 'recall_0.5', 'early_stopping': {'patience': 2}, 'learning_rate': resting}
    former = tiny.train(job(tmp_path, tiny_data, 'stages', steps=12, **judged))[0]
    assert former['step'] < 12
    replacing.begin_at(tmp_path, 'rpn', former['step'], 1)
    result = tiny.train(job(tmp_path, tiny_data, 'next', steps=20, **judged))[0]
    assert (result['step'], result['digests']) == (former['step'], former['digests'])
