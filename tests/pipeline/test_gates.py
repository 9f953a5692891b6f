"""Gates between stages: what a stage must reach before the pipeline goes on."""

from __future__ import annotations

import io

import pytest
import rich.console

from stagetrain.cli import plan as plan_verb
from stagetrain.errors import ConfigError, StageFailed
from stagetrain.pipeline import gates
from stagetrain.pipeline.plan import assess
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.status import stage_statuses
from tests.fakes.project import Project

# The fake child measures AP 0.25 and AP50 0.5 in every stage.
TOO_HIGH = 'stages.detector_1.require={AP50: ">= 0.8"}'
REACHED = 'stages.detector_1.require={AP50: ">= 0.5", AP: "< 0.3"}'


@pytest.mark.parametrize(
    ('bound', 'value', 'is_met'),
    [('>= 0.8', 0.8, True), ('> 0.8', 0.8, False), ('<= 1e-1', 0.2, False), ('<0.5', 0.4, True), ('>= 0.8', None, False)],
)
def test_a_bound_is_kept_or_not(bound: str, value: float | None, is_met: bool) -> None:
    (verdict,) = gates.judge({'proposal_recall_0.5': bound}, {'recall_0.5': value})
    assert verdict.is_met == is_met


def test_a_gate_that_is_not_kept_stops_the_pipeline_with_the_number(project: Project) -> None:
    with pytest.raises(StageFailed, match=r'stage detector_1: AP50 is 0.5, required >= 0.8. What follows was not started'):
        project.run(TOO_HIGH)
    assert [call[1] for call in project.calls()] == ['rpn_1', 'detector_1', 'detector_1']
    (line,) = [line for line in project.directory.ledger.read() if line['event'] == 'failed']
    assert (line['job'], 'AP50 is 0.5, required >= 0.8' in line['text']) == ('detector_1', True)


def test_a_relaxed_gate_goes_on_without_training_anew(project: Project) -> None:
    with pytest.raises(StageFailed):
        project.run(TOO_HIGH)
    with pytest.raises(StageFailed, match='AP50 is 0.5, required >= 0.8'):  # The same command stops there again.
        project.run(TOO_HIGH)
    trained_before = len(project.calls())
    text = project.run(REACHED)
    assert 'detector_1: AP50 is 0.5, required >= 0.5' in text
    assert [call[1] for call in project.calls()[trained_before:]] == ['rpn_2', 'detector_2', 'detector_2']


def test_plan_and_status_show_the_gate(project: Project) -> None:
    assert 'AP50 >= 0.8\n' in shown(project)
    with pytest.raises(StageFailed):
        project.run(TOO_HIGH)
    assert 'AP50 >= 0.8: not kept, so a run stops here: AP50 is 0.5, required >= 0.8' in shown(project)
    state = project.directory.state()
    plan = assess(project.load(TOO_HIGH), project.plan().facts, state, select=Selection())
    found = {stage.id: stage for stage in stage_statuses(plan, state, project.directory.ledger.read())}
    assert (found['detector_1'].state, found['detector_1'].text) == ('done', 'AP50 is 0.5, required >= 0.8')


def shown(project: Project) -> str:
    console = rich.console.Console(file=io.StringIO(), width=200)
    plan_verb.show(project.plan(TOO_HIGH), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        (
            'stages.rpn_1.require={AP: ">= 0.1"}',
            r'stages\[0\].require.AP: not measured in this stage. Known here: AR@100, .*recall',
        ),
        ('stages.detector_2.require={recal_0.5: ">= 0.1"}', r"Did you mean 'recall_0.5'\?"),
        ('stages.rpn_1.require={recall_0.5: "=> 0.1"}', r"recall_0.5: found '=> 0.1'; expected >=, <=, > or < and a number"),
        ('stages.rpn_1.require={recall_0.5: ">= nan"}', "recall_0.5: found '>= nan'"),
        ('stages.rpn_1.require={recall_0.5: 0.1}', r'require.recall_0.5: found 0.1 \(number\); expected text'),
    ],
)
def test_a_gate_that_says_nonsense_is_refused(project: Project, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        project.load(override)


@pytest.mark.parametrize('metric', ['AP/thing', 'AR@300', 'proposal_recall_0.5', 'recall_0.5@1000'])
def test_every_documented_metric_can_be_required(project: Project, metric: str) -> None:
    assert project.load(f'stages.detector_2.require={{{metric}: ">= 0.1"}}').pipeline.stages[3].require == {metric: '>= 0.1'}
