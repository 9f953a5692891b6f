"""A stage with another length, or another schedule: what goes on, what goes back, what is trained anew, what is refused."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain import files
from stagetrain.errors import ConfigError, StageFailed
from stagetrain.pipeline import extension
from stagetrain.pipeline.plan import Selection
from tests.fakes.project import Project, make_project

ONLY = Selection(until='rpn_1')
EXTEND = Selection(until='rpn_1', extend=('rpn_1',))
LONGER, SHORTER = 'stages.rpn_1.train.steps=12', 'stages.rpn_1.train.steps=4'
STEPWISE = 'stages.rpn_1.train.learning_rate={{type: stepwise, stepwise: {{boundaries: {0}, values: {1}}}}}'
COSINE = 'stages.rpn_1.train.learning_rate={{type: cosine, cosine: {{initial_learning_rate: 0.1, decay_steps: {0}}}}}'
WARMUP = 'stages.rpn_1.train.warmup={{type: linear, linear: {{warmup_steps: {0}, warmup_learning_rate: 0.001}}}}'
RAMP = 'stages.rpn_1.loss_ramps={{rpn_box: {{start: 0.1, steps: {0}}}}}'


def planned(project: Project, *overrides: str, select: Selection = ONLY) -> tuple[str, int, str]:
    stage = project.plan(*overrides, select=select).stages[0]
    return stage.action, stage.step, str(stage.reason)


def half_done(project: Project, *overrides: str) -> None:
    """Trains the first stage until its process is killed; a checkpoint of step 4 is there."""
    with pytest.raises(StageFailed):
        project.run(*overrides, select=ONLY, environ={'FAKE_DIE': 'rpn_1:6:SIGKILL'})


def test_more_steps_of_the_same_go_on_and_end_with_the_bits_of_a_straight_run(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.run(select=ONLY)
    reason = 'extends from step 8 to 12: the schedule of the steps done is unchanged'
    assert planned(project, LONGER) == ('extend', 8, reason)
    text = project.run(LONGER, select=ONLY)
    assert f'rpn_1: {reason}' in text
    assert project.calls() == [('train', 'rpn_1', 0), ('train', 'rpn_1', 8)]
    straight = make_project(tmp_path_factory.mktemp('straight'))
    straight.run(LONGER, select=ONLY)
    assert project.weights() == straight.weights()
    entry = project.directory.lock().stages['rpn_1']
    assert entry.fingerprint == straight.directory.lock().stages['rpn_1'].fingerprint
    assert (entry.extended, entry.result['step'], entry.result['checkpoint']) == (
        (),
        12,
        'stages/rpn_1/checkpoints/step-00000012',
    )
    assert planned(project, LONGER)[0] == 'skip'
    assert not (project.directory.path / 'next' / 'rpn_1').exists()


def test_epochs_count_by_the_steps_that_they_are(project: Project) -> None:
    project.run(select=ONLY)
    rate = 'learning_rate: {type: constant, constant: {learning_rate: 0.01}}'
    epochs = f'stages.rpn_1.train={{epochs: 12, batch_size: 2, optimizer: {{type: sgd, sgd: {{momentum: 0.9}}}}, {rate}}}'
    assert planned(project, epochs) == ('extend', 8, 'extends from step 8 to 12: the schedule of the steps done is unchanged')


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ([STEPWISE.format([5], [0.1, 0.01])], [STEPWISE.format([5, 9], [0.1, 0.01, 0.001])]),
        ([STEPWISE.format([5], [0.1, 0.01])], [STEPWISE.format([5], [0.1, 0.01])]),
        ([COSINE.format(20)], [COSINE.format(20)]),
        ([WARMUP.format(3)], [WARMUP.format(3)]),
        ([RAMP.format(5)], [RAMP.format(5)]),
        (['stages.rpn_1.train.ema={}'], ['stages.rpn_1.train.ema={}']),
    ],
)
def test_a_schedule_that_says_the_same_of_the_steps_done_goes_on(project: Project, before: list[str], after: list[str]) -> None:
    project.run(*before, select=ONLY)
    assert planned(project, *after, LONGER) == (
        'extend',
        8,
        'extends from step 8 to 12: the schedule of the steps done is unchanged',
    )


@pytest.mark.parametrize(
    ('before', 'after', 'differs'),
    [
        (
            COSINE.format(8),
            COSINE.format(12),
            'train.learning_rate.cosine.decay_steps: 8 -> 12: the learning rate of step 2 was 0.09619, would be 0.0983',
        ),
        (
            STEPWISE.format([5], [0.1, 0.01]),
            STEPWISE.format([6], [0.1, 0.01]),
            'train.learning_rate.stepwise.boundaries: [5] -> [6]: the learning rate of step 7 was 0.01, would be 0.1',
        ),
        (
            WARMUP.format(3),
            WARMUP.format(6),
            'train.warmup.linear.warmup_steps: 3 -> 6: the learning rate of step 2 was 0.004, would be 0.0025',
        ),
        (
            RAMP.format(4),
            RAMP.format(8),
            'loss_ramps.rpn_box.steps: 4 -> 8: the share of the weight of rpn_box at step 2 was 0.325, would be 0.2125',
        ),
    ],
)
def test_a_schedule_that_differs_is_named_by_the_first_step_that_would_differ(
    project: Project, before: str, after: str, differs: str
) -> None:
    project.run(before, select=ONLY)
    offer = 'It is trained anew; --extend rpn_1 goes on from step 8 all the same, and it stays marked'
    assert planned(project, after, LONGER) == ('run', 0, f'stale: train.steps: 8 -> 12; {differs}. {offer}')
    action, step, reason = planned(project, after, LONGER, select=EXTEND)
    assert (action, step) == ('extend', 8)
    assert reason == f'extends from step 8 to 12: train.steps: 8 -> 12; {differs}; as asked for with --extend'


def test_what_was_extended_by_force_is_recorded_everywhere(project: Project) -> None:
    project.run(COSINE.format(8), select=ONLY)
    text = project.run(COSINE.format(12), LONGER, select=EXTEND)
    assert 'WARNING: extended with another schedule than it began with: up to step 8: ' in text
    entry = project.directory.lock().stages['rpn_1']
    assert len(entry.extended) == 1 and entry.result['extended'] == list(entry.extended)
    notes = [line for line in project.directory.ledger.read() if line['event'] == 'note' and line['job'] == 'rpn_1']
    assert notes[-1]['extended'] == list(entry.extended)
    action, _, reason = planned(project, COSINE.format(12), LONGER)
    assert action == 'skip' and 'extended with another schedule than it began with' in reason
    project.run(COSINE.format(12), 'stages.rpn_1.train.steps=16', select=ONLY)
    assert project.directory.lock().stages['rpn_1'].extended == entry.extended
    project.run(COSINE.format(12), 'stages.rpn_1.train.steps=16', select=Selection(until='rpn_1', force=('rpn_1',)))
    assert project.directory.lock().stages['rpn_1'].extended == ()


def test_an_extension_by_force_that_was_interrupted_goes_on_without_being_asked_for_again(project: Project) -> None:
    project.run(COSINE.format(8), select=ONLY)
    longer = [COSINE.format(12), 'stages.rpn_1.train.steps=16']
    with pytest.raises(StageFailed):
        project.run(*longer, select=EXTEND, environ={'FAKE_DIE': 'rpn_1:14:SIGKILL'})
    assert planned(project, *longer) == ('resume', 12, 'goes on at step 12')
    project.run(*longer, select=ONLY)
    assert len(project.directory.lock().stages['rpn_1'].extended) == 1


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            [LONGER, 'stages.rpn_1.train.batch_size=3'],
            r'stage rpn_1 cannot be extended: train.batch_size: 2 -> 3; train.steps: 8 -> 12. --extend allows another length',
        ),
        ([COSINE.format(8)], r'stage rpn_1 cannot be extended: .*8 steps and more of it are done. Leave --extend out'),
    ],
)
def test_another_stage_cannot_be_extended(project: Project, overrides: list[str], message: str) -> None:
    project.run(select=ONLY)
    with pytest.raises(ConfigError, match=message):
        planned(project, *overrides, select=EXTEND)


def test_extend_changes_nothing_of_a_stage_that_is_up_to_date_or_not_run(project: Project) -> None:
    assert planned(project, select=EXTEND)[2] == 'not run yet'
    project.run(select=ONLY)
    assert planned(project, select=EXTEND)[0] == 'skip'


@pytest.mark.parametrize(
    ('select', 'message'),
    [
        (Selection(extend=('rpn_9',)), "--extend: no stage 'rpn_9'"),
        (Selection(only='rpn_1', extend=('rpn_2',)), '--extend rpn_2: the stage is not among those selected'),
        (Selection(extend=('rpn_1',), force=('rpn_1',)), '--force rpn_1 --extend rpn_1: one starts it again, the other goes on'),
    ],
)
def test_what_extend_cannot_mean_is_refused(project: Project, select: Selection, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        project.plan(select=select)


# ---- back to fewer steps ------------------------------------------------------------------------------------------------


def test_fewer_steps_go_back_to_a_checkpoint_that_is_kept(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    project.run(select=ONLY)
    reason = 'goes back to its checkpoint of step 4 of 8: the schedule of the steps done is unchanged'
    assert planned(project, SHORTER) == ('extend', 4, reason)
    project.run(SHORTER, select=ONLY)
    straight = make_project(tmp_path_factory.mktemp('straight'))
    straight.run(SHORTER, select=ONLY)
    assert project.weights() == straight.weights()
    assert project.directory.lock().stages['rpn_1'].result['step'] == 4


def test_fewer_steps_go_on_from_the_newest_checkpoint_before_them(project: Project) -> None:
    project.run(select=ONLY)
    six = 'stages.rpn_1.train.steps=6'
    reason = 'goes back to its checkpoint of step 4 of 8 and on to 6: the schedule of the steps done is unchanged'
    assert planned(project, six) == ('extend', 4, reason)


def test_fewer_steps_without_a_checkpoint_are_refused_for_they_would_replace_more(project: Project) -> None:
    project.run(select=ONLY)
    message = (
        r'stage rpn_1 is finished: 8 steps are done and 3 are asked for \(train.steps: 8 -> 3\), of which no checkpoint is kept. '
        r'Put back what has changed, and it is up to date; or train 3 steps from its sources, in place of those, with --force'
    )
    with pytest.raises(ConfigError, match=message):
        planned(project, 'stages.rpn_1.train.steps=3')
    project.run('stages.rpn_1.train.steps=3', select=Selection(until='rpn_1', force=('rpn_1',)))
    assert project.directory.lock().stages['rpn_1'].result['step'] == 3


def test_longer_and_back_while_it_is_under_way_is_the_finished_stage_again(project: Project) -> None:
    project.run(select=ONLY)
    before = project.directory.lock()
    with pytest.raises(StageFailed):
        project.run('stages.rpn_1.train.steps=16', select=ONLY, environ={'FAKE_DIE': 'rpn_1:14:SIGKILL'})
    assert project.directory.lock() == before
    assert planned(project)[0] == 'skip'
    assert planned(project, 'stages.rpn_1.train.steps=16') == ('resume', 12, 'goes on at step 12')


# ---- half-done stages ---------------------------------------------------------------------------------------------------


def test_a_half_done_stage_may_become_longer_or_shorter(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    half_done(project)
    words = 'the schedule of the steps done is unchanged'
    assert planned(project, LONGER) == ('resume', 4, f'goes on at step 4: train.steps: 8 -> 12; {words}')
    assert planned(project, SHORTER) == ('resume', 4, f'goes on at step 4: train.steps: 8 -> 4; {words}')
    project.run(LONGER, select=ONLY)
    straight = make_project(tmp_path_factory.mktemp('straight'))
    straight.run(LONGER, select=ONLY)
    assert project.weights() == straight.weights()


def test_a_half_done_stage_beyond_its_new_end_goes_back_or_is_refused(project: Project) -> None:
    with pytest.raises(StageFailed):
        project.run(LONGER, select=ONLY, environ={'FAKE_DIE': 'rpn_1:10:SIGKILL'})
    words = 'train.steps: 12 -> 6; the schedule of the steps done is unchanged'
    six = 'stages.rpn_1.train.steps=6'
    assert planned(project, six) == ('resume', 4, f'goes back to its checkpoint of step 4 and on from there: {words}')
    with pytest.raises(
        ConfigError, match=r'half-done \(step 8\) .*: train.steps: 12 -> 3. It has more steps than that, and no chec'
    ):
        planned(project, 'stages.rpn_1.train.steps=3')
    project.run(six, select=ONLY)
    assert project.calls()[-1] == ('train', 'rpn_1', 4)
    assert project.directory.lock().stages['rpn_1'].result['step'] == 6


def test_another_schedule_of_a_half_done_stage_is_refused_and_can_be_gone_on_with(project: Project) -> None:
    half_done(project, COSINE.format(8))
    differs = 'train.learning_rate.cosine.decay_steps: 8 -> 20: the learning rate of step 2 was 0.09619, would be 0.09938'
    with pytest.raises(ConfigError, match=f'{differs}. Going on would mix the two. .* --extend rpn_1 goes on all the same'):
        planned(project, COSINE.format(20))
    assert planned(project, COSINE.format(20), select=EXTEND) == ('resume', 4, f'goes on at step 4: {differs}')
    project.run(COSINE.format(20), select=EXTEND)
    assert project.directory.lock().stages['rpn_1'].extended == (f'up to step 4: {differs}',)


# ---- pure ---------------------------------------------------------------------------------------------------------------


def parts(**more: Any) -> dict[str, Any]:
    constant = {'train.learning_rate.type': 'constant', 'train.learning_rate.constant.learning_rate': 0.1}
    return {
        'train.steps': 4,
        'train.warmup': None,
        **constant,
        **{name.replace('__', '.'): value for name, value in more.items()},
    }


def test_no_step_done_means_no_step_that_would_differ() -> None:
    other = parts() | {'train.learning_rate.constant.learning_rate': 0.2}
    assert extension.compare(parts(), other, 0).deviations == ()
    assert extension.compare(parts(), other, 1).deviations != ()


def test_a_schedule_without_a_formula_is_another_one_when_any_of_it_differs() -> None:
    old, new = ({'train.learning_rate.type': 'of a plugin', 'train.learning_rate.of a plugin.x': x} for x in (1, 2))
    assert extension.compare(old, new, 4).deviations == ('train.learning_rate.of a plugin.x: 1 -> 2',)


def test_settings_of_early_stopping_count_as_a_schedule() -> None:
    change = extension.compare(parts(train__early_stopping__patience=2), parts(train__early_stopping__patience=9), 4)
    assert change.deviations == ('train.early_stopping.patience: 2 -> 9',)
    assert change.forbids == ()


@pytest.mark.parametrize(
    ('kept', 'num_steps', 'expected'), [((4, 8), 12, 8), ((4, 8), 8, 8), ((4, 8), 6, 4), ((4, 8), 3, None), ((), 3, None)]
)
def test_the_newest_checkpoint_that_is_not_beyond_the_end_is_the_start(
    kept: tuple[int, ...], num_steps: int, expected: int | None
) -> None:
    assert extension.start(kept, num_steps) == expected


def test_millions_of_steps_are_compared_in_parts() -> None:
    old = parts() | {
        'train.learning_rate.type': 'stepwise',
        'train.learning_rate.stepwise.boundaries': [2_000_000],
        'train.learning_rate.stepwise.values': [0.1, 0.01],
    }
    new = old | {'train.learning_rate.stepwise.boundaries': [2_000_001]}
    assert extension.compare(old, new, 2_000_001).deviations == ()
    (text,) = extension.compare(old, new, 2_000_002).deviations
    assert text.endswith('the learning rate of step 2000002 was 0.01, would be 0.1')


def test_status_tells_of_the_result_and_of_what_is_to_replace_it(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from stagetrain.cli import main

    project.run(select=ONLY)
    with pytest.raises(StageFailed):
        project.run('stages.rpn_1.train.steps=16', select=ONLY, environ={'FAKE_DIE': 'rpn_1:14:SIGKILL'})
    assert main.main(['status', str(project.directory.path)]) == 0
    out = capsys.readouterr().out
    assert 'rpn_1: goes on at step 12; trained again, at step 12 of 16' in out
    assert '0.250' in out  # The former result's AP.


def test_the_command_line_knows_extend(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from stagetrain.cli import main

    project.run(COSINE.format(8), select=ONLY)
    options = ['--run_dir', str(project.directory.path), '--set', COSINE.format(12), '--set', LONGER, '--only', 'rpn_1']
    assert main.main(['plan', str(project.config), *options, '--extend', 'rpn_1']) == 0
    assert 'rpn_1  extend: extends from step 8 to 12: ' in capsys.readouterr().out
    assert files.read_json_lines(pathlib.Path(project.folder, 'calls.jsonl'))[-1]['step'] == 0
