"""Metrics that the validation set cannot measure: refused where they decide, told where they do not, and never a traceback."""

from __future__ import annotations

import dataclasses

import pytest

from stagetrain.config import load
from stagetrain.config.stages import all_stages, spec_of
from stagetrain.errors import ConfigError, StageFailed
from stagetrain.pipeline import judging
from stagetrain.pipeline.planned import Selection
from tests.fakes.project import ROOT, Project

CLASSES = 'data.classes=[thing, bird]'
JUDGED = ('stages.detector_1.train.validation_interval=4', CLASSES)


def ignore_all(project: Project) -> None:
    """Makes the only object of the validation set difficult."""
    path = project.folder / 'data' / 'Annotations' / 'c.xml'
    path.write_text(path.read_text().replace('<difficult>0', '<difficult>1'))


@pytest.mark.parametrize(
    ('override', 'place'),
    [
        ('stages.detector_1.train.hand_over=best', r'train\.hand_over: best'),
        ('stages.detector_1.train.early_stopping={patience: 1}', r'train\.early_stopping'),
        ('stages.detector_1.train.reduce_on_plateau={patience: 1}', r'train\.reduce_on_plateau'),
        ("stages.detector_1.require={AP/bird: '>= 0.5'}", r'require\.AP/bird'),
    ],
)
def test_a_class_without_validation_objects_decides_nothing(project: Project, override: str, place: str) -> None:
    metric = () if 'require' in override else ('stages.detector_1.train.best_metric=AP/bird',)
    with pytest.raises(
        ConfigError, match=rf'^stages\.detector_1\.{place}: the metric AP/bird would never be measured: no object'
    ) as error:
        project.plan(*JUDGED, *metric, override)
    text = str(error.value)
    assert f"no object of class 'bird' counts there (data.validation: {project.folder}/data)" in text
    assert 'Measured there: AP, AP50' in text and 'AP/thing' in text.partition('Measured there: ')[2]
    assert 'AP/bird' not in text.partition('Measured there: ')[2]


def test_a_size_without_validation_objects_decides_nothing(project: Project) -> None:
    with pytest.raises(ConfigError, match='the metric APl would never be measured: no large object counts there'):
        project.plan("stages.detector_1.require={APl: '>= 0.1'}")


def test_where_every_object_is_ignored_no_metric_decides(project: Project) -> None:
    ignore_all(project)
    with pytest.raises(
        ConfigError, match=r'stages\.rpn_1\.require\.recall_0\.5: .* no object counts there \(1 are difficult'
    ) as error:
        project.plan("stages.rpn_1.require={recall_0.5: '>= 0.5'}", "stages.detector_2.require={AP: '>= 0.5'}")
    assert 'stages.detector_2.require.AP: ' in str(error.value)  # All at once.
    assert 'Expected a validation set with objects that are neither difficult nor a crowd' in str(error.value)


def test_what_will_not_be_measured_is_told_before_the_first_step_and_in_the_ledger(project: Project) -> None:
    remark = "validation: AP/bird will not be measured: no object of class 'bird' counts there"
    assert project.plan(CLASSES).remarks() == [remark]
    output = project.run(CLASSES)
    assert output.index(remark) < output.index('rpn_1: not run yet')
    notes = [line['text'] for line in project.directory.ledger.read() if line['event'] == 'note' and line['job'] is None]
    assert notes == [remark]


def test_without_a_counting_object_a_pipeline_runs_and_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ignore_all(project)
    monkeypatch.setenv('FAKE_UNMEASURED', '1')
    output = project.run()
    assert 'validation: no metric will be measured: no object counts there (1 are difficult or a crowd)' in output
    assert 'rpn_1: 8/8 loss 0.125 AP not measured' in output
    assert set(project.actions().values()) == {'skip'}
    assert project.run().count('up to date') == 4


def test_a_stage_that_ended_half_done_under_such_a_metric_is_finished(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = (*JUDGED, 'stages.detector_1.train.hand_over=best', 'stages.detector_1.train.best_metric=AP/bird')
    asked = Selection(until='detector_1')
    project.run(CLASSES, select=Selection(until='rpn_1'))
    with monkeypatch.context() as patch:  # As a version that did not look ahead left it.
        patch.setattr('stagetrain.pipeline.judging.faults', lambda *_: iter(()))
        patch.setenv('FAKE_DIE', 'detector_1:8:fail')
        with pytest.raises(StageFailed):
            project.run(*judged, select=asked)
    assert project.plan(*judged, select=asked).stages[1].action == 'resume'
    project.run(*judged, select=asked)
    assert project.actions(*judged, select=asked) == {'rpn_1': 'skip', 'detector_1': 'skip'}


@pytest.mark.parametrize(('objects', 'is_refused'), [((0, 0), True), ((0, 1), False), ((), False)])
def test_crops_are_measured_on_what_is_no_crowd(project: Project, objects: tuple[int, ...], is_refused: bool) -> None:
    config = ROOT / 'configs' / 'bccd' / 'classify_then_detect.yaml'
    pipeline = load.load_pipeline(config, environ={'BCCD': '/data', 'WEIGHTS': '/weights'}).pipeline
    (stage,) = [entry.stage for entry in all_stages(pipeline) if not spec_of(pipeline, entry.stage).reads_images]
    facts = dataclasses.replace(project.plan().facts, validation_objects=objects)
    found = list(judging.faults(pipeline, stage.name, stage, facts))
    expected = f'stages.{stage.name}: measured on crops of objects, but data.validation: /data holds crowds only'
    assert [text.partition(', which')[0] for text in found] == ([expected] if is_refused else [])
