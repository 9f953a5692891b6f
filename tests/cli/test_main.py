"""The command line: verbs, messages and exit codes."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from stagetrain import files
from stagetrain.cli import main
from tests.fakes.project import ROOT, Project


def _command(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the real command line; its children need no TensorFlow."""
    command = [sys.executable, '-m', 'tests.fakes.main', *map(str, arguments)]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'COLUMNS': '160', **environ}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


def _run(project: Project, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return _command('run', project.config, '--run_dir', project.directory.path, *options, **environ)


def test_run_then_status_then_run_again(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    first = _run(project)
    assert (first.returncode, first.stderr) == (0, '')
    assert '4 of 4 stages to do; 2 training and 1 validation images' in first.stdout
    assert main.main(['status', str(project.directory.path)]) == 0
    status = capsys.readouterr().out
    assert status.count('done') == 4
    assert '0.250' in status
    again = _run(project)
    assert again.returncode == 0
    assert 'all 4 stages are up to date' in again.stdout
    assert again.stdout.count('up to date since') == 4


@pytest.mark.parametrize(('given', 'is_on'), [('', 'on'), ('1', 'on'), ('false', 'off')])
def test_the_version_names_the_packages_that_decide_numbers_and_whether_onednn_is_on(
    given: str, is_on: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', given)
    with pytest.raises(SystemExit) as ended:
        main.main(['--version'])
    assert ended.value.code == 0
    versions = r'stagetrain \d+\.\d+\.\d+ \(tensorflow [\d.]+, tf-models-official .+, tf_keras .+, onednn '
    assert re.fullmatch(rf'{versions}{is_on}\)\n', capsys.readouterr().out)


def test_a_value_that_tensorflow_would_ignore_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', 'yes')
    with pytest.raises(SystemExit) as ended:
        main.main(['--version'])
    refused = "the environment's TF_ENABLE_ONEDNN_OPTS: found 'yes'; expected 1, true, 0 or false"
    assert ended.value.code == 2 and capsys.readouterr().err.startswith(f'stagetrain --version: {refused}')


def test_a_failed_stage_ends_with_1_and_one_paragraph(project: Project) -> None:
    failed = _run(project, FAKE_DIE='rpn_1:2:fail')
    assert failed.returncode == 1
    assert failed.stderr == 'stagetrain run: rpn_1: the loss is not finite at step 2\n'


def test_bad_input_found_by_a_child_ends_with_2(project: Project) -> None:
    failed = _run(project, FAKE_DIE='rpn_1:2:bad')
    assert (failed.returncode, failed.stderr) == (2, 'stagetrain run: rpn_1: the file does not fit\n')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['run', '{config}', '--set', 'stages.rpn_9.train.steps=5'], 'rpn_9'),
        (['run', '{config}', '--only', 'rpn_9'], "no stage 'rpn_9'"),
        (['plan', '{folder}/none.yaml'], r'none.yaml'),
        (['check', '{config}', '--set', 'stages.rpn_1.loss_weights.rpn_boxes=1.0'], 'rpn_boxes'),
        (['status', '{folder}'], 'expected a run directory'),
        (['eval', '{folder}'], 'expected a run directory'),
        (['detect', '{folder}', 'x.jpg', '--out', 'y'], 'expected a run directory'),
        (['clean', '{folder}'], 'expected a run directory'),
        (['compare', '{folder}'], 'expected a run directory'),
        (['compare', '{config}', '{config}'], 'not a run directory; expected one pipeline file, or run directories only'),
        (['compare', '{folder}', '--seeds', '2'], 'these go with a pipeline file'),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    project: Project, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    texts = [argument.format(config=project.config, folder=project.folder) for argument in arguments]
    assert main.main(texts) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith(f'stagetrain {arguments[0]}: ')
    assert 'Traceback' not in captured.err


def test_an_unexpected_exception_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main.json, 'dumps', lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main.main(['schema'])


@pytest.mark.parametrize(('number', 'is_told'), [(errno.EACCES, True), (errno.ENOSPC, True), (errno.EBADF, False)])
def test_what_a_path_does_not_allow_is_told_and_other_errors_keep_their_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, is_told: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), '/data/x')

    monkeypatch.setattr(main.json, 'dumps', fail)
    if is_told:
        assert main.main(['schema']) == 2
        assert capsys.readouterr().err == f'stagetrain schema: /data/x: {os.strerror(number)}\n'
    else:
        with pytest.raises(OSError, match='/data/x'):
            main.main(['schema'])


def test_a_working_directory_that_is_gone_is_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'gone').mkdir()
    monkeypatch.chdir(tmp_path / 'gone')
    (tmp_path / 'gone').rmdir()
    assert main.main(['plan', '../four.yaml']) == 2
    assert capsys.readouterr().err.startswith('stagetrain plan: the working directory is gone')


def test_ctrl_c_outside_of_a_stage_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.json, 'dumps', interrupt)
    assert main.main(['schema']) == 130
    assert capsys.readouterr().err == 'stagetrain schema: interrupted\n'


def test_plan_tells_what_happens_to_each_stage(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['plan', str(project.config), '--run_dir', str(project.directory.path)]) == 0
    out = capsys.readouterr().out
    assert 'rpn_1  run: not run yet' in out
    assert f'starts from backbone <- imagenet ({project.folder}/weights.h5); decoder, rpn_head <- fresh' in out
    assert 'freezes     backbone/.*, decoder/.*, rpn_head/.*' in out
    assert 'masked      rpn_score, rpn_box' in out
    assert 'idle        rpn_head: carried along, no loss reaches it' in out
    assert '8 steps, 16 images' in out
    assert not project.directory.path.exists()


def test_check_says_correct(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['check', str(project.config)]) == 0
    assert 'four.yaml: correct; 4 stages' in capsys.readouterr().out.replace('\n', '')


def test_schema_is_json_that_knows_the_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['schema']) == 0
    assert 'stages' in json.loads(capsys.readouterr().out)['properties']


def test_the_default_run_directory_is_named_after_the_file(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project.folder)
    (project.folder / 'runs' / 'four').mkdir(parents=True)
    (project.folder / 'runs' / 'four' / 'photo.jpg').touch()
    assert main.main(['run', str(project.config)]) == 2
    assert 'runs/four: found a folder with no run.yaml' in capsys.readouterr().err


def test_eval_prints_the_metrics_and_trains_nothing(project: Project) -> None:
    project.run()
    done = _command('eval', project.directory.path, '--stage', 'detector_2')
    assert done.returncode == 0
    assert project.calls()[-1] == ('train', 'detector_2', 8)
    assert 'AP50' in done.stdout
    unknown = _command('eval', project.directory.path, '--stage', 'detector_3')
    assert (unknown.returncode, "Did you mean 'detector_" in unknown.stderr) == (2, True)


def test_compare_runs_the_variants_and_writes_the_report(project: Project) -> None:
    done = _command('compare', project.config, '--run_dir', project.directory.path)
    assert (done.returncode, done.stderr) == (0, '')
    report = files.read_json(project.directory.path / 'report' / 'compare.json')['variants']
    assert sorted(report) == ['four', 'joint', 'unshared']
    assert report['unshared']['stages'] == ['rpn_1', 'detector_1']
    assert 'index.html' in done.stdout
    calls = project.calls()
    again = _command('compare', project.directory.path)
    assert (again.returncode, project.calls()) == (0, calls)


def test_compare_with_seeds_has_a_run_for_each(project: Project) -> None:
    done = _command('compare', project.config, '--run_dir', project.directory.path, '--seeds', '2')
    assert (done.returncode, done.stderr) == (0, '')
    assert (project.folder / 'run.seed1' / 'run.yaml').is_file()
    report = files.read_json(project.directory.path / 'report' / 'compare.json')['variants']
    assert report['four']['seeds'] == 2


def test_comparing_an_unfinished_run_says_what_is_missing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with project.directory.writing():
        project.directory.create_or_open(project.load())
    assert main.main(['compare', str(project.directory.path)]) == 2
    assert 'nothing to compare yet: four lacks rpn_1, detector_1, rpn_2, detector_2' in capsys.readouterr().err


def test_clean_removes_what_no_stage_reads(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.run()
    project.run('stages.detector_1.proposals.nms_iou=0.5')
    stores = sorted(project.directory.store('proposals').glob('*[0-9a-f]'))
    assert len(stores) == 4
    assert main.main(['clean', str(project.directory.path)]) == 0
    assert 'removed 2 stores' in capsys.readouterr().out
    assert len(sorted(project.directory.store('proposals').glob('*[0-9a-f]'))) == 2
    assert len(project.directory.lock().artefacts['proposals']) == 2
    assert set(project.actions('stages.detector_1.proposals.nms_iou=0.5').values()) == {'skip'}


def test_status_without_the_data_says_that_it_cannot_judge(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.run()
    (project.folder / 'data').rename(project.folder / 'elsewhere')
    assert main.main(['status', str(project.directory.path)]) == 0
    out = capsys.readouterr().out
    assert 'Whether stages are up to date is not known: ' in out
    assert out.count('done') == 4


def test_a_reader_that_has_seen_enough_is_no_error(project: Project) -> None:
    command = f'{sys.executable} -m stagetrain.cli.main schema | head -1; echo ${{PIPESTATUS[0]}}'
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(['bash', '-c', command], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.splitlines() == ['{', '0']


def test_a_read_only_place_is_one_paragraph(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    place = pathlib.Path('/proc/stagetrain')
    assert main.main(['run', str(project.config), '--run_dir', str(place)]) == 2
    assert '/proc/stagetrain: cannot be written: ' in capsys.readouterr().err
