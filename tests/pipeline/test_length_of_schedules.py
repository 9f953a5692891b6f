"""What lies behind a stage's last step is refused; what the command line cut off, or a common schedule brings along, is told."""

from __future__ import annotations

import re

import pytest

from stagetrain.config import check
from stagetrain.config.load import Loaded
from stagetrain.errors import ConfigError
from tests.fakes.project import Project

CONSTANT = 'learning_rate: {type: constant, constant: {learning_rate: 0.01}}'


def stepwise(boundaries: str, values: str, offset: int = 0) -> str:
    return f'learning_rate: {{type: stepwise, stepwise: {{boundaries: {boundaries}, values: {values}, offset: {offset}}}}}'


def loaded(project: Project, common: str = CONSTANT, own: str = '', *overrides: str) -> Loaded:
    """Returns the pipeline of eight steps a stage, with other lines in the common `train`, and in that of its last stage."""
    text = project.config.read_text().replace(CONSTANT, common)
    last = '  - name: detector_2\n'
    project.config.write_text(text.replace(last, f'{last}    {own}\n') if own else text)
    return project.load(*overrides)


@pytest.mark.parametrize(
    ('own', 'message'),
    [
        (
            'train: {warmup: {type: linear, linear: {warmup_steps: 9}}}',
            r'stages\[3\]\.train\.warmup\.linear\.warmup_steps: found 9, but the stage has 8 steps: .*or `warmup: null`',
        ),
        ('train: {warmup: {type: polynomial, polynomial: {warmup_steps: 100}}}', 'found 100, but the stage has 8 steps'),
        (
            f'train: {{{stepwise("[4, 8, 20]", "[0.1, 0.01, 0.001, 0.0001]")}}}',
            r'stages\[3\]\.train\.learning_rate\.stepwise\.boundaries: found \[4, 8, 20\], .*: the rate 0\.001, 0\.0001 would',
        ),
        (f'train: {{{stepwise("[7]", "[0.1, 0.01]")}}}', 'the rate 0.01 would never be used. Expected below 7'),
        (f'train: {{{stepwise("[4]", "[0.1, 0.01]", offset=4)}}}', 'the rate 0.01 would never be used'),
        ('loss_ramps: {frcnn_box: {steps: 9}}', r'loss_ramps\.frcnn_box\.steps: found 9, but .* never have its whole weight'),
        (
            'train: {validation_interval: 8, early_stopping: {patience: 1}}',
            r'validation_interval: found 8, but .*: early_stopping would never judge before the end\. Expected fewer than 8',
        ),
        ('train: {validation_interval: 9, reduce_on_plateau: {patience: 1}}', 'reduce_on_plateau would never judge'),
    ],
)
def test_what_would_never_happen_is_refused(project: Project, own: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(project, own=own)


@pytest.mark.parametrize(
    'own',
    [
        'train: {warmup: {type: linear, linear: {warmup_steps: 8}}}',
        f'train: {{{stepwise("[4, 6]", "[0.1, 0.01, 0.001]")}}}',
        'loss_ramps: {frcnn_box: {steps: 8}}',
        'train: {validation_interval: 7, early_stopping: {patience: 1}}',
        'train: {validation_interval: 9, hand_over: best}',  # The end is evaluated in any case.
    ],
)
def test_what_happens_in_the_last_step_is_taken(project: Project, own: str) -> None:
    assert check.remarks(loaded(project, own=own)) == []


def test_a_schedule_longer_than_all_stages_is_refused_once(project: Project) -> None:
    with pytest.raises(ConfigError, match='the rate 0.01 would never be used') as error:
        loaded(project, common=stepwise('[10]', '[0.1, 0.01]'))
    assert len(str(error.value).splitlines()) == 1  # It stands in one place, and a variant of sixteen steps reaches it.


def test_boundaries_of_the_common_train_are_told_of_a_stage_with_a_length_of_its_own(project: Project) -> None:
    given = loaded(project, stepwise('[5]', '[0.1, 0.01]'), 'train: {steps: 4}')
    (remark,) = check.remarks(given)
    assert re.search(r'four\.yaml:\d+: stages\[3\].*boundaries: found \[5\], but the stage has 4 steps', remark)


def test_a_common_warm_up_longer_than_a_stage_is_refused(project: Project) -> None:
    warmup = f'{CONSTANT}\n  warmup: {{type: linear, linear: {{warmup_steps: 5}}}}'
    with pytest.raises(ConfigError, match=r'four\.yaml:\d+: stages\[3\].*warmup_steps: found 5, but the stage has 4 steps'):
        loaded(project, warmup, 'train: {steps: 4}')


def test_a_stage_that_the_command_line_makes_short_is_told(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    common = f'{CONSTANT}\n  warmup: {{type: linear, linear: {{warmup_steps: 5}}}}'
    given = loaded(project, common, '', 'stages.rpn_1.train.steps=2')
    (remark,) = check.remarks(given)
    assert 'warmup_steps: found 5, but the stage has 2 steps' in remark
    assert capsys.readouterr().err == f'note: {remark}\n'


def test_epochs_are_counted_in_the_plan(project: Project) -> None:
    common = f'{CONSTANT}\n  warmup: {{type: linear, linear: {{warmup_steps: 5}}}}'
    loaded(project, common)
    project.config.write_text(project.config.read_text().replace('steps: 8', 'epochs: 4'))
    with pytest.raises(ConfigError, match=r'stages\[0\]\.train\.warmup.*found 5, but the stage has 4 steps'):
        project.plan()  # Four epochs of two images, two a step.
    (remark,) = project.plan(
        *(f'stages.{name}.train.epochs=4' for name in ('rpn_1', 'detector_1', 'rpn_2', 'detector_2'))
    ).remarks()
    assert 'found 5, but the stage has 4 steps' in remark


# ---- the metric that decides ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            ['stages.detector_2.train.best_metric=AP/thin'],
            r"best_metric: found 'AP/thin', not measured .*Did you mean 'AP/thing'\?",
        ),
        (
            ['stages.detector_2.train.validation_interval=4', 'stages.detector_2.train.best_metric=AP/XYZ'],
            r"stages\[3\]\.train\.best_metric: found 'AP/XYZ', not measured in this stage. Known here: AP, .*AP/thing",
        ),
        (
            ['stages.rpn_1.train.validation_interval=4'],
            r"stages\[0\].*: found 'AP', not measured in this stage. Known here: AR@100, AR@1000",
        ),
        (
            ['stages.detector_2.train.validation_interval=4', 'stages.detector_2.train.best_metric=mask_AP'],
            "found 'mask_AP', not measured in this stage",
        ),
    ],
)
def test_a_best_metric_that_is_not_measured_is_refused(project: Project, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        project.load(*overrides)


@pytest.mark.parametrize('metric', ['AP/thing', 'APl', 'recall_0.5', 'proposal_recall_0.5', 'AR@300'])
def test_a_best_metric_that_the_stage_has_is_taken(project: Project, metric: str) -> None:
    train = 'compare.joint.stages.all.train'
    project.load(f'{train}.validation_interval=4', f'{train}.best_metric={metric}')


def test_a_stage_that_is_not_judged_may_name_the_metric_of_another(project: Project) -> None:
    project.load('stages.rpn_1.train.best_metric=AP/thing', 'stages.detector_1.train.best_metric=recall_0.5')
