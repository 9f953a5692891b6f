"""What a machine's speed is kept under, and what a budget of time becomes by it."""

from __future__ import annotations

import pathlib

import pytest

from stagetrain.config import schema
from stagetrain.pipeline import speed, time_budgets
from stagetrain.pipeline.speed import Speed
from tests.fakes.project import Project


def key(project: Project, *overrides: str, stage: str = 'detector_2') -> str:
    plan = project.plan(*overrides)
    return speed.key(plan.loaded.pipeline, plan.graph.nodes[stage].stage, plan.facts)


@pytest.mark.parametrize(
    'override',
    [
        'stages.detector_2.train.steps=99',
        'stages.detector_2.train.validation_interval=3',
        'stages.detector_2.train.learning_rate.constant.learning_rate=0.5',
        'stages.detector_2.train.checkpoint_interval=3',
        'stages.detector_2.seed=5',
        'seed=5',
        'stages.rpn_1.train.batch_size=1',
        'name=other',
    ],
)
def test_what_does_not_decide_how_long_a_step_takes_is_not_in_the_key(project: Project, override: str) -> None:
    assert key(project, override) == key(project)


@pytest.mark.parametrize(
    'override',
    [
        'stages.detector_2.train.batch_size=1',
        'stages.detector_2.freeze_variables=["backbone/.*"]',
        'stages.detector_2.train.optimizer={type: adam}',
        'model.input_size=[128, 128, 3]',
        'runtime.intra_op_threads=1',
        'evaluation.num_proposals=[7]',
    ],
)
def test_what_decides_how_long_a_step_takes_is(project: Project, override: str) -> None:
    assert key(project, override) != key(project)


def test_the_data_and_the_machine_are_in_the_key(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(project)
    project.add_image('d', 'trainval')
    assert key(project) != before
    project.remove_image('d', 'trainval')
    assert key(project) == before
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(speed, '_CPUINFO', pathlib.Path('/nowhere'))
        assert key(project) != before
    assert key(project) == before
    (project.folder / 'gpus' / '0').mkdir(parents=True)
    (project.folder / 'gpus' / '0' / 'information').write_text('Model: \t\t NVIDIA X\nIRQ: 3\n')
    monkeypatch.setattr(speed, '_ACCELERATORS', project.folder / 'gpus')
    assert speed.machine()['accelerators'] == ['NVIDIA X'] and key(project) != before


def test_what_is_kept_is_read_back_beside_what_was_there(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'cache' / 'speed.json'
    first, second = Speed(0.1, 2.0, 3.0, {'proposals': 4.0}), Speed(0.2, 0.0, 0.0)
    assert speed.read(path) == {}
    speed.keep(path, {'a': first})
    speed.keep(path, {'b': second})
    assert speed.read(path) == {'a': first, 'b': second}


def test_evaluations_are_counted_as_the_loop_makes_them() -> None:
    def count(steps: int, interval: int | None) -> int:
        fields = {'steps': steps, 'validation_interval': interval, 'optimizer': {}, 'learning_rate': {}}
        return speed.num_evaluations(schema.Train.model_validate(fields), steps)

    assert [count(600, None), count(600, 200), count(601, 200), count(5, 200)] == [1, 3, 4, 1]


def test_features_are_made_once_and_everything_else_by_each(project: Project) -> None:
    stages = time_budgets.all_stages(project.load().pipeline)[:4]
    one = Speed(0.01, 1.0, 10.0, {'proposals': 100.0, 'features': 1000.0})
    assert time_budgets.besides_steps(stages, dict.fromkeys((entry.id for entry in stages), one), 2) == 4 * 111 + 1000
