"""CenterNet's two steps, backbone frozen and then all: trains, freezes, resumes to the same bits, evaluates, detects."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain import files
from stagetrain.errors import Interrupted
from stagetrain.weights import assign
from tests import tiny
from tests.tiny import Trained

TERMS = {'heatmap': 1.0, 'size': 0.1, 'offset': 1.0}
MODULES = ('backbone', 'decoder', 'head')


def document(data: pathlib.Path) -> dict[str, Any]:
    frozen = {'freeze_variables': ['backbone/.*'], 'allow_frozen_fresh': ['backbone/.*']}
    stages = [tiny.stage('heads', TERMS, **frozen), tiny.stage('all', TERMS, init=dict.fromkeys(MODULES, 'heads'))]
    return {**tiny.pipeline(data, stages), 'model': tiny.CENTERNET}


@pytest.fixture(scope='module')
def steps(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> tuple[Trained, Trained]:
    """Both stages, trained without interruption."""
    folder = tmp_path_factory.mktemp('centernet')
    first = tiny.job(folder, document(tiny_data), 'heads')
    heads = Trained(first, *tiny.train(first))
    origin = {'kind': 'stage', 'stage': 'heads', 'path': str(heads.checkpoint)}
    second = tiny.job(folder, document(tiny_data), 'all', origins=dict.fromkeys(MODULES, origin))
    return heads, Trained(second, *tiny.train(second))


def moved_modules(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name.split('/')[0] for name in before if before[name].tobytes() != after[name].tobytes()}


@pytest.mark.slow
def test_each_step_moves_what_it_trains_and_nothing_else(steps: tuple[Trained, Trained]) -> None:
    heads, everything = steps
    frozen = files.read_json(heads.folder / 'frozen.json')
    found = assign.read_stage_checkpoint(heads.checkpoint)
    assert {name.split('/')[0] for name in frozen} == {'backbone'}
    assert all(assign.digest(found[name]) == value for name, value in frozen.items())
    assert moved_modules(found, assign.read_stage_checkpoint(everything.checkpoint)) == set(MODULES)


@pytest.mark.slow
def test_the_frozen_backbone_is_computed_once(steps: tuple[Trained, Trained]) -> None:
    notes = [event['text'] for event in steps[0].events if event['event'] == 'note']
    assert 'features disk: the output of backbone is fixed' in notes


@pytest.mark.slow
def test_a_stopped_step_ends_with_the_same_bits(steps: tuple[Trained, Trained], tmp_path: pathlib.Path) -> None:
    whole = steps[1]
    job = {**whole.job, 'run_dir': str(tmp_path)}
    (tmp_path / 'stages' / job['id']).mkdir(parents=True)
    (tmp_path / 'cache').mkdir()
    with pytest.raises(Interrupted):
        tiny.train(job, stop_after=3)
    result, _ = tiny.train(job)
    assert tiny.tensors(tmp_path / result['checkpoint']) == tiny.tensors(whole.checkpoint)


@pytest.mark.slow
def test_each_step_is_evaluated_and_detects(steps: tuple[Trained, Trained]) -> None:
    for stage in steps:
        assert 0.0 <= stage.result['metrics']['AP50'] <= 1.0
        found = files.read_json(stage.folder / 'detections.json')
        assert len(found) >= 6 and all(detection['category_id'] in (1, 2, 3) for detection in found)
