"""A run directory has one writer, and is never mistaken for another folder."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

from stagetrain import files
from stagetrain.errors import DamagedFile, RunDirectoryError
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.rundir import RunDirectory, explained
from tests.fakes.project import ROOT, Project

HOLDER = """
import pathlib, sys, time
from stagetrain.pipeline.rundir import RunDirectory
with RunDirectory(pathlib.Path(sys.argv[1])).writing():
    print('held', flush=True)
    time.sleep(60)
"""


def _hold(path: pathlib.Path) -> subprocess.Popen[str]:
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    holder = subprocess.Popen([sys.executable, '-c', HOLDER, str(path)], stdout=subprocess.PIPE, text=True, env=environ)
    assert holder.stdout is not None
    assert holder.stdout.readline() == 'held\n'
    return holder


def test_a_second_process_is_told_who_holds_it_and_a_dead_holder_holds_nothing(tmp_path: pathlib.Path) -> None:
    directory = RunDirectory(tmp_path / 'run')
    with _hold(directory.path) as holder:
        message = rf'run: in use by process {holder.pid} on .* since 20\d\d-.*One process writes a run directory'
        with pytest.raises(RunDirectoryError, match=message), directory.writing():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with directory.writing():
            assert f'process {os.getpid()} on ' in str(directory.owner())
    assert directory.owner() is None


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'photo.jpg').write_text('x')
    with (
        pytest.raises(RunDirectoryError, match=r'no run\.yaml but 1 other entries \(photo\.jpg\)'),
        RunDirectory(tmp_path).writing(),
    ):
        pass
    assert os.listdir(tmp_path) == ['photo.jpg']


def test_a_file_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'run').write_text('x')
    with pytest.raises(RunDirectoryError, match='found a file; expected a folder'), RunDirectory(tmp_path / 'run').writing():
        pass


def test_a_missing_run_directory_is_told_as_that(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RunDirectoryError, match='nowhere: no such folder; expected a run directory'):
        RunDirectory(tmp_path / 'nowhere').require()
    with pytest.raises(RunDirectoryError, match=r'a folder without a run\.yaml'):
        RunDirectory(tmp_path).config()


def test_the_config_is_kept_and_changes_are_noted(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    assert project.directory.config().resolved == project.load().resolved
    project.run('stages.rpn_2.train.steps=9', select=Selection(until='rpn_1'))
    assert project.directory.config().pipeline == project.load('stages.rpn_2.train.steps=9').pipeline
    notes = [line for line in project.directory.ledger.read() if line['event'] == 'note']
    assert [note['changes'] for note in notes] == [['stages.rpn_2.train.steps: 8 -> 9']]


def test_what_a_crash_left_half_written_is_swept(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    left = project.directory.stage('rpn_1') / 'checkpoints' / '.tmp-step-00000012-ab'
    left.mkdir()
    project.run(select=Selection(until='rpn_1'))
    assert not left.exists()


def test_a_damaged_lock_is_refused_and_kept_and_runs_go_on_after_it_was_moved(project: Project) -> None:
    project.run(select=Selection(until='detector_1'))
    lock = project.directory.lock_file
    lock.write_bytes(lock.read_bytes().replace(b'0', b'1', 1))
    damaged = lock.read_bytes()
    with pytest.raises(DamagedFile, match='the lock is damaged'):
        project.run()
    assert lock.read_bytes() == damaged
    lock.rename(lock.with_suffix('.damaged'))
    project.run(select=Selection(until='detector_1'))
    assert project.calls()[3:] == [('train', 'rpn_1', 8), ('proposals', 'detector_1', 0), ('train', 'detector_1', 8)]


def test_a_damaged_job_file_is_named(project: Project) -> None:
    project.directory.stage('rpn_1').mkdir(parents=True)
    (project.directory.stage('rpn_1') / 'job.json').write_text('{')
    with pytest.raises(DamagedFile, match=r'rpn_1/job\.json: found 1 bytes that are not JSON'):
        project.directory.state()


@pytest.mark.parametrize('content', ['{}', '[1]', '{"fingerprint": "f", "parts": {}, "stage": {}, "artefacts": 3}'])
def test_a_job_file_of_something_else_is_named_with_what_to_do(project: Project, content: str) -> None:
    project.directory.stage('rpn_1').mkdir(parents=True)
    (project.directory.stage('rpn_1') / 'job.json').write_text(content)
    with pytest.raises(DamagedFile, match=r'rpn_1/job\.json: not the job file of a stage: .*remove the folder .*rpn_1'):
        project.directory.state()


@pytest.mark.parametrize(
    ('code', 'remedy'),
    [(errno.ENOSPC, 'free some space'), (errno.EROFS, 'on a disk that can be written'), (errno.EIO, 'healthy')],
)
def test_disk_errors_are_one_paragraph_with_a_remedy(tmp_path: pathlib.Path, code: int, remedy: str) -> None:
    message = rf'/run/x: cannot be written: {re.escape(os.strerror(code))}\. What was saved before is intact; .*{remedy}'
    with pytest.raises(RunDirectoryError, match=message), explained(tmp_path):
        raise OSError(code, os.strerror(code), '/run/x')


def test_a_full_disk_keeps_the_former_lock(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run(select=Selection(until='rpn_1'))
    before = project.directory.lock()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(files.os, 'fsync', full)
    with pytest.raises(RunDirectoryError, match='No space left on device'):
        project.directory.write_lock(before.with_stage('rpn_1', None))
    assert project.directory.lock() == before
