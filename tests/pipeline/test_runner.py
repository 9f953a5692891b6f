"""Running a plan with children that have memory: order, skipping, resuming, dying."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from stagetrain import files
from stagetrain.errors import BadInput, ConfigError, Interrupted, StageFailed
from stagetrain.pipeline.jobs import ModuleOrigin, job_from_json
from stagetrain.pipeline.planned import Selection
from tests.fakes.project import ROOT, Project, make_project

STAGES = ['rpn_1', 'detector_1', 'rpn_2', 'detector_2']
EVERYTHING_ONCE = [
    ('train', 'rpn_1', 0),
    ('proposals', 'detector_1', 0),
    ('train', 'detector_1', 0),
    ('train', 'rpn_2', 0),
    ('proposals', 'detector_2', 0),
    ('train', 'detector_2', 0),
]


def test_all_four_steps_run_in_order_with_their_proposals(project: Project) -> None:
    text = project.run(environ={})
    assert project.calls() == EVERYTHING_ONCE
    assert list(project.weights()) == sorted(STAGES)
    assert 'rpn_1: finished in' in text
    assert 'AP 0.250, AP50 0.500' in text


def test_a_second_run_does_nothing_and_says_why(project: Project) -> None:
    project.run()
    text = project.run()
    assert project.calls() == EVERYTHING_ONCE
    assert text.count('up to date since') == 4
    assert project.events()[-4:] == [('skipped', name) for name in STAGES]


def test_a_slip_in_the_last_stage_shows_before_the_first(project: Project) -> None:
    with pytest.raises(BadInput, match='scope .backbone/nonsense. matches no variable'):
        project.run('stages.detector_2.freeze_variables=["backbone/nonsense"]', environ={})
    assert project.calls() == []
    assert project.events() == [('failed', None)]


def test_the_check_against_the_model_is_made_once_for_each_config(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    project.run()
    project.run('seed=1')
    assert len(files.read_json_lines(project.folder / 'checks.jsonl')) == 2


def test_the_ledger_tells_start_end_and_notes(project: Project) -> None:
    project.run(select=Selection(until='detector_1'))
    assert project.events() == [
        ('started', 'rpn_1'),
        ('finished', 'rpn_1'),
        ('started', 'proposals of rpn_1'),
        ('note', 'proposals of rpn_1'),
        ('finished', 'proposals of rpn_1'),
        ('started', 'detector_1'),
        ('finished', 'detector_1'),
    ]


def test_a_job_file_says_all_that_the_child_needs(project: Project) -> None:
    project.run(select=Selection(until='detector_1'))
    job = files.read_json(project.directory.stage('detector_1') / 'job.json')
    weights = project.folder / 'weights.h5'
    assert job['kind'] == 'train'
    assert job['stage']['name'] == 'detector_1'
    assert job['num_steps'] == 8
    assert job['origins']['backbone'] == {
        'kind': 'keras_h5',
        'path': str(weights),
        'stage': None,
        'digest': files.sha256_file(weights),
        'skip_mismatch': False,
        'rules': {},
        'require': None,
        'class_order': {},
    }
    assert files.canonical_json(job_from_json(job).to_json()) == files.canonical_json(job)
    assert job_from_json(job).origins['decoder'] == ModuleOrigin('fresh')
    assert files.verify_folder(pathlib.Path(job['artefacts']['proposals']))


def test_a_stage_that_starts_from_another_gets_its_checkpoint_and_digest(project: Project) -> None:
    project.run(select=Selection(until='rpn_2'))
    origin = files.read_json(project.directory.stage('rpn_2') / 'job.json')['origins']['backbone']
    assert origin == {
        'kind': 'stage',
        'path': str(project.directory.stage('detector_1') / 'checkpoints' / 'step-00000008'),
        'stage': 'detector_1',
        'digest': project.weights()['detector_1']['backbone'],
        'skip_mismatch': False,
        'rules': {},
        'require': None,
        'class_order': {},
    }


def test_force_runs_a_stage_again_and_equal_weights_leave_the_others_alone(project: Project) -> None:
    project.run()
    before = project.weights()
    project.run(select=Selection(force=('rpn_2',)))
    assert project.calls()[len(EVERYTHING_ONCE) :] == [('train', 'rpn_2', 0)]
    assert project.weights() == before


def test_a_changed_stage_reruns_with_what_builds_on_it(project: Project) -> None:
    project.run()
    project.run('stages.rpn_2.train.steps=5')
    assert [call[1] for call in project.calls()[len(EVERYTHING_ONCE) :]] == ['rpn_2', 'detector_2', 'detector_2']


def test_only_from_and_until_run_what_they_say(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    assert [call[1] for call in project.calls()] == ['rpn_1']
    project.run(select=Selection(only='detector_1'))
    assert [call[1] for call in project.calls()[1:]] == ['detector_1', 'detector_1']
    project.run(select=Selection(from_='rpn_2'))
    assert [call[1] for call in project.calls()[3:]] == ['rpn_2', 'detector_2', 'detector_2']


def test_variants_run_only_when_asked_for(project: Project) -> None:
    project.run()
    project.run(select=Selection(variants=True))
    assert project.calls()[len(EVERYTHING_ONCE) :] == [('train', 'joint.all', 0)]


def test_changed_validation_data_costs_an_evaluation_not_a_training(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    before = project.weights()
    project.add_image('d', 'test')
    project.run(select=Selection(until='rpn_1'))
    assert project.calls() == [('train', 'rpn_1', 0), ('train', 'rpn_1', 8)]
    assert project.weights() == before
    assert project.actions(select=Selection(until='rpn_1')) == {'rpn_1': 'skip'}


def test_eval_alone_goes_on_behind_the_last_step(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    project.run(select=Selection(evaluate=('rpn_1',)))
    assert project.calls() == [('train', 'rpn_1', 0), ('train', 'rpn_1', 8)]


def test_a_killed_child_is_explained_and_the_stage_resumes_bit_equal(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    uninterrupted = make_project(tmp_path_factory.mktemp('other'))
    uninterrupted.run()
    with pytest.raises(StageFailed, match='ended by SIGKILL.* memory.*smaller train.batch_size'):
        project.run(environ={'FAKE_DIE': 'rpn_2:6:SIGKILL'})
    assert project.events()[-1] == ('failed', 'rpn_2')
    assert project.actions()['rpn_2'] == 'resume'
    project.run()
    assert project.calls()[-3:] == [('train', 'rpn_2', 4), ('proposals', 'detector_2', 0), ('train', 'detector_2', 0)]
    assert project.weights() == uninterrupted.weights()


@pytest.mark.parametrize(
    ('what', 'error', 'message'),
    [
        ('SIGSEGV', StageFailed, 'ended by SIGSEGV: a crash inside a native library'),
        ('exit', StageFailed, 'exit code 7 before it gave a result; its last words:\n  the library says goodbye'),
        ('fail', StageFailed, 'rpn_1: the loss is not finite at step 2'),
        ('bad', BadInput, 'rpn_1: the file does not fit'),
        ('defect', StageFailed, r'ZeroDivisionError: by zero. The traceback is in .*job\.log'),
        ('SIGTERM', Interrupted, 'rpn_1: saved at step 2'),
    ],
)
def test_every_end_of_a_child_is_told(project: Project, what: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        project.run(environ={'FAKE_DIE': f'rpn_1:2:{what}'})


def test_the_traceback_of_a_defect_is_in_the_log(project: Project) -> None:
    with pytest.raises(StageFailed):
        project.run(environ={'FAKE_DIE': 'rpn_1:2:defect'})
    assert 'ZeroDivisionError: by zero' in (project.directory.stage('rpn_1') / 'job.log').read_text()


def test_a_child_that_cannot_import_shows_its_last_words(project: Project) -> None:
    with pytest.raises(StageFailed, match='exit code 1 before it gave a result.*\n(.*\n)*.*ImportError: no such library'):
        project.run(environ={'FAKE_IMPORT_ERROR': '1'})


def test_a_half_done_stage_that_changed_is_refused_with_both_ways_on(project: Project) -> None:
    with pytest.raises(StageFailed):
        project.run(environ={'FAKE_DIE': 'rpn_1:6:SIGKILL'})
    with pytest.raises(ConfigError, match=r'rpn_1 is half-done \(step 4\).*train.batch_size: 2 -> 3.*--force rpn_1, or put back'):
        project.run('stages.rpn_1.train.batch_size=3')
    project.run('stages.rpn_1.train.batch_size=3', select=Selection(until='rpn_1', force=('rpn_1',)))
    assert project.calls()[-1] == ('train', 'rpn_1', 0)


def test_cosmetic_settings_may_change_in_a_half_done_stage(project: Project) -> None:
    with pytest.raises(StageFailed):
        project.run(environ={'FAKE_DIE': 'rpn_1:6:SIGKILL'})
    project.run('stages.rpn_1.train.summary_interval=3', 'stages.rpn_1.train.max_to_keep=5', select=Selection(until='rpn_1'))
    assert project.calls() == [('train', 'rpn_1', 0), ('train', 'rpn_1', 4)]


def test_a_store_without_its_entry_is_made_again(project: Project) -> None:
    project.run(select=Selection(until='detector_1'))
    lock = project.directory.lock()
    key = next(iter(lock.artefacts['proposals']))
    project.directory.write_lock(lock.with_artefact('proposals', key, None).with_stage('detector_1', None))
    project.run(select=Selection(until='detector_1'))
    assert project.calls()[-2:] == [('proposals', 'detector_1', 0), ('train', 'detector_1', 8)]


def test_a_lost_checkpoint_is_trained_again_and_said(project: Project) -> None:
    project.run()
    files.remove_folder(project.directory.stage('detector_2') / 'checkpoints' / 'step-00000008')
    text = project.run()
    assert project.calls()[-1] == ('train', 'detector_2', 0)
    assert 'is gone' in text


def _start(project: Project, **environ: str) -> subprocess.Popen[str]:
    """Starts the real command line; a step takes half a second, so that a busy machine still meets it at work."""
    command = [sys.executable, '-m', 'tests.fakes.main', 'run', str(project.config), '--run_dir', str(project.directory.path)]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'FAKE_SECONDS': '0.5', **environ}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def _wait_for_call(project: Project, stage_id: str) -> int:
    """Waits until a child works on a stage and returns its process id."""
    for _ in range(1200):
        calls = files.read_json_lines(project.folder / 'calls.jsonl')
        if calls and calls[-1]['id'] == stage_id:
            return int(calls[-1]['pid'])
        time.sleep(0.05)
    raise AssertionError(f'{stage_id} never began')


def _wait_until_gone(pid: int) -> None:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    raise AssertionError(f'process {pid} is still there')


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_one_signal_saves_and_the_same_command_goes_on(project: Project, number: signal.Signals) -> None:
    with _start(project) as parent:
        _wait_for_call(project, 'rpn_1')
        time.sleep(0.75)
        os.killpg(parent.pid, number)
        output = parent.communicate(timeout=60)[0]
    assert parent.returncode == 130
    assert 'rpn_1: saved at step ' in output
    assert project.events()[-1] == ('interrupted', 'rpn_1')
    step = project.directory.state().partial['rpn_1'].step
    assert 1 <= step <= 7
    project.run(select=Selection(until='rpn_1'))
    assert project.calls() == [('train', 'rpn_1', 0), ('train', 'rpn_1', step)]


def test_children_of_a_killed_parent_save_and_stop_and_the_next_parent_goes_on(project: Project) -> None:
    with _start(project) as parent:
        child = _wait_for_call(project, 'rpn_1')
        time.sleep(0.75)
        parent.kill()
    _wait_until_gone(child)
    step = project.directory.state().partial['rpn_1'].step
    assert 1 <= step <= 7
    project.run(select=Selection(until='rpn_1'))
    assert project.calls() == [('train', 'rpn_1', 0), ('train', 'rpn_1', step)]


def test_no_child_is_left_behind(project: Project) -> None:
    project.run(environ={})
    assert [child for child in psutil.Process().children(recursive=True) if 'fake_worker' in ' '.join(child.cmdline())] == []


def test_the_next_child_is_started_while_the_present_one_works(project: Project) -> None:
    project.run('stages.detector_1.train.steps=1', select=Selection(until='detector_1'), environ={'FAKE_SECONDS': '2'})
    calls = files.read_json_lines(project.folder / 'calls.jsonl')
    assert len({call['pid'] for call in calls}) == 3
    assert calls[1]['born'] < project.directory.lock().stages['rpn_1'].result['ended']
