"""Faults of disks and machines under a run: nothing is lost, nothing is overwritten, and one paragraph says what to do."""

from __future__ import annotations

import pathlib
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest

from stagetrain import files
from stagetrain.cli.main import main
from stagetrain.errors import ConfigError, RunDirectoryError
from stagetrain.pipeline.file_checks import verify
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.rundir import RunDirectory
from tests.fakes.project import ROOT, Project, environ_of, make_project


@pytest.fixture(scope='module')
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The weights of an undisturbed run."""
    project = make_project(tmp_path_factory.mktemp('reference'))
    project.run()
    return dict(project.weights())


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Project:
    return make_project(tmp_path)


def start(project: Project, *arguments: str, limit: int | None = None, **environ: str) -> subprocess.Popen[str]:
    """Starts the real `stagetrain run` with fake children; `limit` is the largest file in bytes that it may write."""

    def apply_limit() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.Popen(
        [*project.command, *arguments],
        cwd=ROOT,
        env=environ_of(environ),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=apply_limit,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Returns exit code and standard error."""
    _, error = process.communicate(timeout=120)
    return process.returncode, error


@pytest.mark.parametrize('limit', [100, 6000])
def test_files_that_cannot_grow_stop_the_run_and_lose_nothing(project: Project, reference: dict[str, object], limit: int) -> None:
    code, error = ended(start(project, limit=limit))
    assert code == 2
    assert 'Traceback' not in error
    assert 'File too large' in error and 'What was saved before is intact; raise the limit on the size of files' in error
    project.run()
    assert project.weights() == reference
    assert verify(project.directory).wrong == ()


def test_where_nothing_can_be_written_is_bad_input(project: Project) -> None:
    with (
        pytest.raises(RunDirectoryError, match=r'/sys/stagetrain.*: cannot be written: .*--run_dir'),
        RunDirectory(pathlib.Path('/sys/stagetrain/run')).writing(),
    ):
        pass


def test_a_run_directory_deleted_under_the_run_is_an_error_and_not_a_traceback(project: Project) -> None:
    process = start(project, FAKE_SECONDS='0.3')
    job = project.directory.stage('rpn_1') / 'job.json'
    while not job.exists():
        time.sleep(0.02)
        assert process.poll() is None
    time.sleep(0.5)
    gone = project.directory.path.rename(project.folder / 'gone')  # At once; deleting file by file would race with the run.
    shutil.rmtree(gone, ignore_errors=True)
    code, error = ended(process)
    assert code == 2
    assert 'Traceback' not in error and 'the run directory was deleted or moved while this run wrote into it' in error


def test_a_flipped_byte_in_the_newest_checkpoint_is_told_and_the_data_kept(project: Project) -> None:
    code, _ = ended(start(project, FAKE_DIE='rpn_1:6:SIGKILL'))
    assert code == 1
    damaged = project.directory.stage('rpn_1') / 'checkpoints' / 'step-00000004' / 'state.json'
    damaged.write_bytes(damaged.read_bytes().replace(b'step', b'stup'))
    code, error = ended(start(project))
    assert code == 2
    assert 'step-00000004/state.json: digest is' in error
    assert b'stup' in damaged.read_bytes()


def change_data(project: Project) -> None:
    """Adds an image, removes one, replaces the file of one and edits the annotation of another."""
    project.add_image('new', 'trainval')
    project.remove_image('b', 'trainval')
    shutil.copy(project.folder / 'data' / 'JPEGImages' / 'new.jpg', project.folder / 'data' / 'JPEGImages' / 'a.jpg')
    project.annotate('d', x=11)


NAMED = r'training data changed \(\w{8} -> \w{8}\): 1 added \(new\), 1 removed \(b\), 1 with another image \(a\), '
NAMED += r'1 with other annotations \(d\)'


def test_changed_data_makes_stages_stale_by_the_names_of_images(project: Project) -> None:
    project.add_image('d', 'trainval')
    project.run(select=Selection(until='rpn_1'))
    change_data(project)
    reason = project.plan().stages[0].reason.text
    assert re.fullmatch(f'stale: {NAMED}', reason), reason
    project.run(select=Selection(until='rpn_1'))
    assert re.fullmatch(f'stale: {NAMED}', project.directory.ledger.read()[-2]['text'])
    project.annotate('new', x=12)
    assert project.plan().stages[0].reason.text.endswith('): 1 with other annotations (new)')
    project.run(select=Selection(until='rpn_1'))
    assert len(list(project.directory.data.iterdir())) == 3  # The validation set, the former training set and the present one.
    assert verify(project.directory).wrong == ()


def test_changed_data_in_a_half_done_stage_is_refused_with_the_names_of_images(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.add_image('d', 'trainval')
    ended(start(project, FAKE_DIE='rpn_1:6:SIGKILL'))
    change_data(project)
    with pytest.raises(ConfigError, match=rf'rpn_1 is half-done \(step 4\) and has changed since: {NAMED}\. Going on'):
        project.plan()
    assert main(['status', str(project.directory.path)]) == 0
    assert re.search(f'rpn_1: at step 4 of 8; changed since: {NAMED}', capsys.readouterr().out)


def test_a_changed_validation_set_is_told_by_the_names_of_images(project: Project) -> None:
    project.run()
    project.annotate('c', x=12)
    stages = project.plan().stages
    told = r'validation data changed \(\w{8} -> \w{8}\): 1 with other annotations \(c\)'
    assert re.fullmatch(f'trained, but its metrics are stale: {told}', stages[0].reason.text), stages[0].reason.text


def test_without_the_names_of_images_changed_data_is_told_by_digests(project: Project) -> None:
    project.run(select=Selection(until='rpn_1'))
    shutil.rmtree(project.directory.data)
    project.annotate('a', x=12)
    assert re.fullmatch(r'stale: training data changed \(\w{8} -> \w{8}\)', project.plan().stages[0].reason.text)


def test_a_config_changed_in_a_half_done_stage_is_refused_with_both_ways_on(project: Project) -> None:
    ended(start(project, FAKE_DIE='rpn_1:6:SIGKILL'))
    with pytest.raises(ConfigError, match=r'half-done \(step 4\).*train.batch_size: 2 -> 3.*--force rpn_1, or put back'):
        project.plan('stages.rpn_1.train.batch_size=3')


def test_a_clock_that_was_set_back_changes_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.run()
    monkeypatch.setattr('stagetrain.pipeline.ledger.utc_now', lambda: '1999-01-01T00:00:00Z')
    project.run()
    assert project.directory.ledger.read()[-1]['time'] == '1999-01-01T00:00:00Z'
    assert set(project.actions().values()) == {'skip'}
    assert verify(project.directory).wrong == ()


def test_sigterm_saves_and_ends(project: Project, reference: dict[str, object]) -> None:
    process = start(project, FAKE_SECONDS='0.5')
    while not files.read_json_lines(project.folder / 'calls.jsonl'):
        time.sleep(0.02)
    time.sleep(0.75)
    process.send_signal(signal.SIGTERM)
    code, _ = ended(process)
    assert code == 130
    assert project.directory.state().partial['rpn_1'].step > 0
    project.run()
    assert project.weights() == reference
