"""What runs, what is skipped, and why."""

from __future__ import annotations

import pytest

from stagetrain.errors import ConfigError
from stagetrain.pipeline.plan import assess
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.reasons import Because
from tests.fakes.project import Project


def test_before_anything_ran_the_first_runs_and_the_others_wait(project: Project) -> None:
    plan = project.plan()
    assert [(stage.id, stage.action, stage.reason.text) for stage in plan.stages if stage.selected] == [
        ('rpn_1', 'run', 'not run yet'),
        ('detector_1', 'run', 'decided after rpn_1, which it starts from'),
        ('rpn_2', 'run', 'decided after detector_1, which it starts from'),
        ('detector_2', 'run', 'decided after rpn_2, detector_1, which it starts from'),
    ]
    assert plan.jobs() == 6


def test_a_plan_says_what_is_trained_masked_and_idle(project: Project) -> None:
    last = project.plan().stages[3]
    assert last.losses == {'frcnn_class': 1.0, 'frcnn_box': 1.0}
    assert last.masked == ('rpn_score', 'rpn_box')
    assert last.idle == ('rpn_head',)
    assert (last.num_steps, last.num_images) == (8, 16)
    assert last.node.modules == ('backbone', 'decoder', 'rpn_head', 'detection_head')


def test_epochs_become_steps_and_a_started_batch_counts(project: Project) -> None:
    project.add_image('e', 'trainval')
    project.config.write_text(project.config.read_text().replace('steps: 8', 'epochs: 3'))
    assert project.plan().stages[0].num_steps == 5  # 3 epochs of 3 images, 2 a step.


@pytest.mark.parametrize(
    ('overrides', 'reason'),
    [
        (['stages.rpn_1.train.batch_size=3'], 'stale: train.batch_size: 2 -> 3'),
        (['stages.rpn_1.train.optimizer.sgd.momentum=0.5'], 'stale: train.optimizer.sgd.momentum: 0.9 -> 0.5'),
        (
            ['stages.rpn_1.train.learning_rate.constant.learning_rate=0.5'],
            'stale: train.learning_rate.constant.learning_rate: 0.01 -> 0.5',
        ),
        (['stages.rpn_1.loss_weights.rpn_box=2.0'], 'stale: loss_weights.rpn_box: 1.0 -> 2.0'),
        (['stages.rpn_1.freeze_variables=[backbone/.*]'], r"stale: freeze_variables: [] -> ['backbone/.*']"),
        (['seed=3'], 'stale: seed: 0 -> 3'),
        (['model.rpn_head.num_convs=2'], 'stale: model.rpn_head.num_convs: 1 -> 2'),
        (['runtime.intra_op_threads=1'], 'stale: runtime.intra_op_threads: 2 -> 1'),
        (['runtime.deterministic=false'], 'stale: runtime.deterministic: True -> False'),
        (['data.train.include_difficult=true'], 'stale: data.train.include_difficult: False -> True'),
        (['stages.rpn_1.init={}'], 'stale: init.backbone: eccf5b72 -> fresh'),
    ],
)
def test_each_kind_of_change_makes_a_stage_stale_and_is_named(project: Project, overrides: list[str], reason: str) -> None:
    project.run(select=Selection(until='rpn_1'))
    first = project.plan(*overrides).stages[0]
    assert (first.action, first.reason.text) == ('run', reason)


@pytest.mark.parametrize(
    'override',
    [
        'name=other',
        'stages.rpn_1.train.checkpoint_interval=7',
        'stages.rpn_1.train.summary_interval=7',
        'stages.rpn_1.train.max_to_keep=7',
        'stages.rpn_2.train.steps=7',
        'stages.rpn_1.loss_weights.frcnn_box=0.0',
        'evaluation.batch_size=3',
        'data.cache_gib=0.5',
        'data.on_bad=skip',
    ],
)
def test_what_does_not_decide_the_result_changes_nothing(project: Project, override: str) -> None:
    project.run(select=Selection(until='rpn_1'))
    assert project.plan(override).stages[0].action == 'skip'


def test_changed_images_and_weights_are_named(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    project.add_image('e', 'trainval')
    assert project.plan().stages[0].reason.text.startswith('stale: training data changed (')
    (project.folder / 'weights.h5').write_bytes(b'others')
    assert "imagenet's weights of backbone changed (" in project.plan().stages[0].reason.text


def test_names_of_files_do_not_count(project: Project) -> None:
    project.run()
    (project.folder / 'weights.h5').rename(project.folder / 'moved.h5')
    (project.folder / 'data').rename(project.folder / 'images')
    text = project.config.read_text().replace('weights.h5', 'moved.h5').replace('path: data', 'path: images')
    project.config.write_text(text.replace('imagenet', 'published'))
    assert set(project.actions().values()) == {'skip'}


def test_changed_weights_of_a_source_stage_are_named(project: Project) -> None:
    project.run()
    project.run('stages.detector_1.train.steps=9', select=Selection(until='detector_1'))
    reason = project.plan('stages.detector_1.train.steps=9').stages[2].reason.text
    assert reason.startswith("stale: detector_1's weights of backbone changed (")


def test_changed_validation_data_asks_for_an_evaluation_only(project: Project) -> None:
    project.run()
    project.add_image('d', 'test')
    assert set(project.actions().values()) == {'evaluate'}
    assert project.plan().stages[0].reason.text.startswith('trained, but its metrics are stale: validation data changed (')


def test_validation_that_decides_the_best_checkpoint_counts_for_training(project: Project) -> None:
    judged = ('stages.rpn_1.train.validation_interval=4', 'stages.rpn_1.train.best_metric=recall_0.5')
    project.run(*judged, select=Selection(until='rpn_1'))
    project.add_image('d', 'test')
    first = project.plan(*judged).stages[0]
    assert (first.action, first.reason.text[:30]) == ('run', 'stale: validation data changed')


def test_proposal_settings_make_the_reader_stale_and_not_the_maker(project: Project) -> None:
    project.run(select=Selection(until='detector_1'))
    plan = project.plan('stages.detector_1.proposals.nms_iou=0.5')
    assert plan.stages[0].action == 'skip'
    assert plan.stages[1].reason.text == 'stale: proposals.nms_iou: 0.7 -> 0.5'
    assert [artefact.action for artefact in plan.stages[1].artefacts] == ['run']


@pytest.mark.parametrize(
    ('select', 'message'),
    [
        (
            Selection(only='rpn2'),
            r"--only: no stage 'rpn2'. Known here: detector_1, detector_2, rpn_1, rpn_2. Did you mean 'rpn_2'\?",
        ),
        (Selection(force=('joint.all',)), r"--force: no stage 'joint.all'"),
        (Selection(only='rpn_1', until='rpn_2'), '--only rpn_1: found together with --from or --until'),
        (Selection(from_='rpn_2', until='rpn_1'), 'rpn_2 stands behind rpn_1; nothing would run'),
        (Selection(until='rpn_1', force=('rpn_2',)), r'--force rpn_2: the stage is not among those selected \(rpn_1\)'),
        (
            Selection(only='rpn_2'),
            r'rpn_2 starts from detector_1, which is not up to date.*stagetrain run .*four\.yaml --until detector_1',
        ),
        (Selection(only='detector_1'), 'detector_1 starts from rpn_1, which is missing'),
    ],
)
def test_selections_that_cannot_be_carried_out_are_refused(project: Project, select: Selection, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        project.plan(select=select)


def test_only_a_stage_whose_source_is_stale_says_so(project: Project) -> None:
    project.run(select=Selection(until='detector_1'))
    with pytest.raises(ConfigError, match=r'starts from rpn_1, which is not up to date \(stale: train.batch_size: 2 -> 3\)'):
        project.plan('stages.rpn_1.train.batch_size=3', select=Selection(only='detector_1'))


def test_a_half_done_stage_is_compared_before_its_sources_have_run(project: Project) -> None:
    project.run(select=Selection(until='detector_1'))
    state = project.directory.state()
    half_done = dict(state.lock.stages)
    begun = half_done.pop('detector_1')
    job = (begun.fingerprint, begun.parts)
    project.directory.write_lock(type(state.lock)(half_done, state.lock.artefacts))
    assert project.directory.state().partial['detector_1'].fingerprint == job[0]
    overrides = ['stages.rpn_1.train.steps=9', 'stages.detector_1.train.batch_size=3']
    with pytest.raises(ConfigError, match=r'detector_1 is half-done \(step 8\) and has changed since: train.batch_size: 2 -> 3'):
        project.plan(*overrides)
    refused = assess(project.load(*overrides), project.plan().facts, project.directory.state()).stages[1]
    assert (refused.action, refused.step) == ('refuse', 8)


def test_reasons_can_be_decided_by(project: Project) -> None:
    assert project.plan().stages[0].reason.kind is Because.NOT_RUN
    project.run()
    plan = project.plan('stages.detector_1.train.batch_size=3')
    assert [stage.reason.kind for stage in plan.stages][:2] == [Because.UP_TO_DATE, Because.STALE]
    assert plan.stages[1].reason.changes == 'train.batch_size: 2 -> 3'
    assert project.plan('stages.rpn_1.train.steps=9').stages[0].reason.kind is Because.OTHER_LENGTH
