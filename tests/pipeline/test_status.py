"""What became of every stage."""

from __future__ import annotations

import pytest

from stagetrain.errors import StageFailed
from stagetrain.pipeline.plan import assess
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.status import StageStatus, stage_statuses, unjudged_statuses
from tests.fakes.project import Project


def _statuses(project: Project, *overrides: str) -> dict[str, StageStatus]:
    state = project.directory.state()
    plan = assess(project.load(*overrides), project.plan().facts, state)
    return {stage.id: stage for stage in stage_statuses(plan, state, project.directory.ledger.read())}


def test_done_partial_and_missing(project: Project) -> None:
    with pytest.raises(StageFailed):
        project.run(environ={'FAKE_DIE': 'detector_1:6:fail'})
    found = _statuses(project)
    assert found['rpn_1'].state == 'done'
    assert found['rpn_1'].seconds == 1.5
    assert found['rpn_1'].metrics == {'AP': 0.25, 'AP50': 0.5}
    assert (found['detector_1'].state, found['detector_1'].text) == (
        'partial',
        'at step 4 of 8; failed: detector_1: the loss is not finite at step 6',
    )
    assert (found['rpn_2'].state, found['rpn_2'].finished) == ('missing', None)


def test_stale_stages_say_why(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    stale = _statuses(project, 'seed=1')['rpn_1']
    assert (stale.state, stale.text) == ('stale', 'seed: 0 -> 1')


def test_a_stage_that_failed_before_its_first_checkpoint(project: Project) -> None:
    with pytest.raises(StageFailed):
        project.run(environ={'FAKE_DIE': 'rpn_1:2:fail'})
    assert _statuses(project)['rpn_1'].text == 'failed: rpn_1: the loss is not finite at step 2'


def test_without_the_data_nothing_is_called_stale(project: Project) -> None:
    with pytest.raises(StageFailed):
        project.run(environ={'FAKE_DIE': 'detector_1:6:fail'})
    found = unjudged_statuses(['rpn_1', 'detector_1', 'rpn_2'], project.directory.state())
    assert [(stage.state, stage.text) for stage in found] == [
        ('done', 'whether it is up to date is not known'),
        ('partial', 'at step 4'),
        ('missing', 'not run yet'),
    ]
