"""A finished stage that is trained again: its result stays until the new one is whole, wherever the process dies."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from stagetrain import files
from stagetrain.errors import DamagedFile, RunDirectoryError, StageFailed
from stagetrain.pipeline import file_checks, replacing
from stagetrain.pipeline.plan import Selection
from tests.fakes.project import ROOT, Project, make_project

ONLY = Selection(until='rpn_1')
OTHER = 'stages.rpn_1.train.batch_size=1'


@pytest.mark.parametrize(
    ('overrides', 'select'),
    [
        ([OTHER], ONLY),
        (['seed=3'], ONLY),
        ([], Selection(until='rpn_1', force=('rpn_1',))),
        (['stages.rpn_1.train.steps=16'], ONLY),
    ],
)
def test_a_stage_that_is_trained_again_keeps_its_result_until_then(
    project: Project, overrides: list[str], select: Selection
) -> None:
    project.run(select=ONLY)
    lock, result = project.directory.lock(), content(project.directory.stage('rpn_1'))
    step = 14 if 'steps' in str(overrides) else 6
    with pytest.raises(StageFailed):
        project.run(*overrides, select=select, environ={'FAKE_DIE': f'rpn_1:{step}:SIGKILL'})
    assert project.directory.lock() == lock
    assert content(project.directory.stage('rpn_1')) == result
    if not select.force:
        assert project.actions(select=ONLY) == {'rpn_1': 'skip'}
    assert project.actions(*overrides, select=ONLY) == {'rpn_1': 'resume'}
    assert file_checks.verify(project.directory).wrong == ()
    project.run(*overrides, select=ONLY)
    assert project.calls()[-1] == ('train', 'rpn_1', 12 if step == 14 else 4)
    assert project.directory.lock().stages['rpn_1'].finished >= lock.stages['rpn_1'].finished
    assert not replacing.folder_of(project.directory.path, 'rpn_1').exists()
    assert file_checks.verify(project.directory).wrong == ()


def test_the_former_result_can_be_used_meanwhile(project: Project) -> None:
    project.run()
    with pytest.raises(StageFailed):
        project.run(OTHER, environ={'FAKE_DIE': 'rpn_1:6:SIGKILL'})
    report = file_checks.verify(project.directory)
    assert report.wrong == ()
    assert 'stages.rpn_1: trained again, not finished; its former result stays until then' in report.remarks
    project.run()
    assert project.events()[-4:] == [('skipped', name) for name in ('rpn_1', 'detector_1', 'rpn_2', 'detector_2')]


def content(folder: pathlib.Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): files.sha256_file(path) for path in sorted(folder.rglob('*')) if path.is_file()}


TRAIN_AGAIN = """
import os, pathlib, signal, sys
folder, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])
from stagetrain.pipeline import replacing
from stagetrain.pipeline.plan import Selection
from tests.fakes.project import Project

calls = 0

def killing(function):
    def wrapped(*arguments, **keys):
        global calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **keys)
    return wrapped

install = replacing.commit

def commit(*arguments):
    for name in ('rename', 'replace', 'fsync', 'unlink', 'rmdir', 'mkdir', 'open', 'write'):
        setattr(os, name, killing(getattr(os, name)))
    install(*arguments)
    print(calls, flush=True)
    os._exit(0)

replacing.commit = commit
Project(folder).run(*sys.argv[3:], select=Selection(until='rpn_1'))
"""


def train_again(folder: pathlib.Path, number: int, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-c', TRAIN_AGAIN, str(folder), str(number), *overrides]
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_process_killed_before_any_call_of_the_replacement_leaves_the_old_or_the_new_result(tmp_path: pathlib.Path) -> None:
    finished = make_project(tmp_path / 'finished')
    finished.run(select=ONLY)
    old = finished.weights()
    shutil.copytree(finished.folder, tmp_path / 'counted')
    counted = train_again(tmp_path / 'counted', 0, OTHER)
    num_calls, new = int(counted.stdout), Project(tmp_path / 'counted').weights()
    assert num_calls > 10 and new != old
    seen = set()
    for number in range(1, num_calls + 1):
        shutil.rmtree(tmp_path / 'killed', ignore_errors=True)
        shutil.copytree(finished.folder, tmp_path / 'killed')
        project = Project(tmp_path / 'killed')
        died = train_again(project.folder, number, OTHER)
        assert died.returncode == -9, died.stderr
        num_jobs = len(project.calls())
        with project.directory.writing():
            pass
        assert project.weights() in (old, new), number
        assert file_checks.verify(project.directory).wrong == (), number
        seen.add(project.weights() == new)
        project.run(OTHER, select=ONLY)
        assert project.weights() == new
        # What was trained is not trained again; at most it is evaluated.
        assert [call[2] for call in project.calls()[num_jobs:]] in ([], [8])
        assert not list((project.directory.path / 'next').glob('*'))
    assert seen == {False, True}


def test_a_damaged_checkpoint_is_not_extended(project: Project) -> None:
    project.run(select=ONLY)
    state = project.directory.stage('rpn_1') / 'checkpoints' / 'step-00000008' / 'state.json'
    state.write_bytes(state.read_bytes()[:-2])
    with pytest.raises(DamagedFile, match='state.json: size is .*. It cannot be extended; --force rpn_1 trains it anew'):
        project.run('stages.rpn_1.train.steps=12', select=ONLY)
    assert not replacing.folder_of(project.directory.path, 'rpn_1').exists()


def test_what_a_stage_judged_at_its_former_end_is_left_out(tmp_path: pathlib.Path) -> None:
    former = tmp_path / 'stages' / 'rpn'
    for name in ('checkpoints/step-00000004', 'best/step-00000003', 'best/step-00000004'):
        files.commit_folder(former / name, lambda folder: (folder / 'x').touch())
    for step, more in ((1, {}), (3, {'evaluation': {'AP': 0.1}}), (4, {}), (4, {'evaluation': {'AP': 0.2}})):
        files.append_json_line(former / 'metrics.jsonl', {'step': step, **more})

    def kept(evaluated_every: int | None) -> tuple[list[str], list[int]]:
        replacing.begin_at(tmp_path, 'rpn', 4, evaluated_every)
        new = replacing.folder_of(tmp_path, 'rpn')
        lines = files.read_json_lines(new / 'metrics.jsonl')
        assert [line['step'] for line in lines if 'evaluation' not in line] == [1, 4]
        return sorted(path.name for path in new.glob('best/*')), [line['step'] for line in lines if 'evaluation' in line]

    assert kept(None) == ([], [])
    assert kept(3) == (['step-00000003'], [3])
    assert kept(1) == (['step-00000003', 'step-00000004'], [3, 4])


def test_a_full_disk_keeps_the_former_result(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run(select=ONLY)
    before = project.weights()

    write = files.write_sealed_json

    def full(path: pathlib.Path, value: object) -> None:
        if path.name == 'entry.json':
            raise OSError(28, 'No space left on device')
        write(path, value)

    monkeypatch.setattr(replacing.files, 'write_sealed_json', full)
    with pytest.raises(RunDirectoryError, match='No space left on device'):
        project.run(OTHER, select=ONLY)
    monkeypatch.undo()
    assert project.weights() == before
    project.run(OTHER, select=ONLY)
    assert project.calls()[-1] == ('train', 'rpn_1', 8)
    assert project.weights() != before
