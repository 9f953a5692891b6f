"""Flags of absl and of plugins on the command line, and the log that they show."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from absl import logging as absl_logging

from stagetrain import files, flags
from stagetrain.cli import main
from tests import tiny
from tests.fakes.project import ROOT, Project

pytestmark = pytest.mark.usefixtures('plugins_forgotten')
OUTSIDE = ROOT / 'tests' / 'outside'
ABSL_LINE = re.compile(absl_logging.ABSL_LOGGING_PREFIX_REGEX)


def _run(project: Project, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the real command line; its children need no TensorFlow."""
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'COLUMNS': '160', **environ}
    command = [*project.command, *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


def _log(project: Project) -> list[str]:
    return (project.directory.path / 'logs' / 'run.log').read_text().splitlines()


def _job_log(project: Project) -> list[str]:
    return (project.directory.stage('rpn_1') / 'job.log').read_text().splitlines()


@pytest.fixture
def with_plugin(project: Project) -> Project:
    """The project with the plugin of tests/outside that defines a flag."""
    project.config.write_text(f'plugins: [{OUTSIDE / "calm"}]\n{project.config.read_text()}')
    return project


def test_parent_and_child_log_with_times_and_the_terminal_shows_none_of_it(project: Project) -> None:
    done = _run(project, '--until', 'rpn_1')
    assert (done.returncode, done.stderr) == (0, '')
    log, job_log, printed = _log(project), _job_log(project), done.stdout.splitlines()
    assert all(map(ABSL_LINE.match, [*log, *job_log])) and not any(map(ABSL_LINE.match, printed))
    assert [line.partition('] ')[2] for line in log[1:]] == [*printed[:3], printed[-1], 'done']
    assert any(line.endswith('rpn_1: 5/8 loss 0.2') for line in job_log)
    again = _run(project, '--until', 'rpn_1', '--stderrthreshold=info')
    shown = again.stderr.splitlines()
    assert again.stdout.splitlines()[1].startswith('rpn_1: up to date since') and _log(project) == [*log, *shown]


def test_verbosity_shows_the_lines_of_parent_and_child_and_reaches_the_child(project: Project) -> None:
    done = _run(project, '--until', 'rpn_1', '--verbosity=1')
    shown = done.stderr.splitlines()
    assert done.returncode == 0 and sorted(shown) == sorted({*_log(project), *_job_log(project)} | set(_check_log(shown)))
    assert files.read_json(project.directory.stage('rpn_1') / 'job.json')['flags'] == ['--verbosity=1']


def _check_log(shown: list[str]) -> list[str]:
    """Returns the lines of the job that checks all stages, whose log is removed with it."""
    return [line for line in shown if '] all stages: ' in line]


def test_only_what_was_asked_for_is_logged(project: Project, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / 'absl'
    done = _run(project, '--until', 'rpn_1', '--verbosity=-1', f'--log_dir={folder}', FAKE_DIE='rpn_1:2:fail')
    error = 'rpn_1: the loss is not finite at step 2'
    assert [line.partition('] ')[2] for line in _log(project)] == [error]
    assert (folder / 'stagetrain.INFO').read_text().splitlines() == _log(project)
    assert (folder / 'stagetrain_child.INFO').read_text().splitlines() == _job_log(project)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == f'stagetrain run: {error}'


def test_a_log_that_cannot_be_written_costs_no_run(project: Project) -> None:
    assert _run(project, '--until', 'rpn_1').returncode == 0
    logs = project.directory.path / 'logs'
    shutil.rmtree(logs)
    logs.touch()
    done = _run(project, '--until', 'rpn_1', '--force', 'rpn_1')
    assert (done.returncode, done.stderr, logs.read_text()) == (0, '', '')
    logs.unlink()
    logs.mkdir()
    os.mkfifo(logs / 'run.log')  # Nobody reads it.
    done = _run(project, '--until', 'rpn_1', '--stderrthreshold=warning')
    assert (done.returncode, done.stderr) == (0, '')


def test_a_full_disk_loses_lines_and_nothing_else(project: Project) -> None:
    assert _run(project, '--until', 'rpn_1').returncode == 0
    log = project.directory.path / 'logs' / 'run.log'
    log.unlink()
    log.symlink_to('/dev/full')
    done = _run(project, '--until', 'rpn_1', FAKE_DIE='')
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize(
    ('flag', 'message'),
    [
        ('--verbosity=loud', 'flag --verbosity=loud: invalid literal'),
        ('--stderrthreshold=some', '--stderrthreshold must be one of'),
        ('--logtostderr=perhaps', 'error: flag --logtostderr=perhaps: expected true or false'),
        ('--flagfile=none.flags', 'none.flags'),
        ('--logger_levels=x', '--logger_levels=x'),
        ('--verbositi=1', "unrecognized arguments: --verbositi=1. Did you mean '--verbosity'?"),
    ],
)
def test_what_is_wrong_with_a_flag_is_one_message(flag: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(['schema', flag])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and message in said and 'Traceback' not in said and said.startswith('usage: stagetrain ')


@pytest.mark.parametrize('place', ['/proc/none', '{config}'])
def test_a_place_for_logs_that_cannot_be_is_refused(project: Project, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['check', str(project.config), '--log_dir', place.format(config=project.config)]) == 2
    assert capsys.readouterr().err.startswith('stagetrain check: --log_dir ')


@pytest.mark.parametrize('words', [['--v=1'], ['-v', '1'], ['-verbosity=1'], ['--alsologtostderr=true'], ['--alsologtostderr']])
def test_flags_are_taken_in_absls_forms_before_and_behind_the_verb(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for command in ([*words, 'schema'], ['schema', *words]):
        assert main.main(command) == 0
    assert flags.given() == (), 'a command leaves no flag behind in its process'


def test_flags_are_read_from_files(tmp_path: pathlib.Path, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'my.flags').write_text('# Comment\n--verbosity=1\n--set=seed=7\n')
    assert main.main(['plan', str(project.config), '--expand', f'--flagfile={tmp_path / "my.flags"}']) == 0
    assert 'seed: 7' in capsys.readouterr().out


def test_every_help_names_the_place_of_flags_and_only_the_full_one_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    texts = {}
    for option in ('--help', '--helpfull'):
        with pytest.raises(SystemExit) as ended:
            main.main(['plan', option])
        assert ended.value.code == 0
        texts[option] = capsys.readouterr().out
    assert texts['--help'].count('--verbosity') == 1 and texts['--help'].endswith('and of plugins: --helpfull\n')
    assert '--stderrthreshold: log messages' in texts['--helpfull'] and '--stderrthreshold' not in texts['--help']


# ---- flags of plugins --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('words', [['--calm_report=a b'], ['--calm_report', 'a b']])
def test_the_flag_of_a_plugin_is_taken_and_reaches_the_child(with_plugin: Project, words: list[str]) -> None:
    done = _run(with_plugin, '--until', 'rpn_1', *words)
    assert (done.returncode, done.stderr) == (0, '')
    assert files.read_json(with_plugin.directory.stage('rpn_1') / 'job.json')['flags'] == ['--calm_report=a b']
    assert _job_log(with_plugin)[0].endswith('flags: --calm_report=a b')


def _said(words: list[str]) -> tuple[int, str]:
    """Runs a command in a process of its own, for plugins stay imported; returns its exit code and what it said."""
    command = [sys.executable, '-m', 'stagetrain.cli.main', *words]
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_a_misspelt_flag_of_a_plugin_gets_the_nearest(with_plugin: Project) -> None:
    config = str(with_plugin.config)
    code, said = _said(['plan', config, '--calm_reprot=x'])
    assert code == 2 and said.endswith("unrecognized arguments: --calm_reprot=x. Did you mean '--calm_report'?\n")
    code, said = _said(['--calm_report', 'x', 'check', config, '--helpfull'])
    assert code == 0 and '--calm_report: Words that the log puts' in said


def test_flags_of_the_plugins_of_a_run_directory_are_known(with_plugin: Project) -> None:
    with with_plugin.directory.writing():
        with_plugin.directory.create_or_open(with_plugin.load())
    assert _said(['status', str(with_plugin.directory.path), '--calm_report=x'])[0] == 0


@pytest.mark.parametrize(
    ('plugin', 'words', 'message'),
    [
        (
            "flags.DEFINE_string('only', '', '')",
            [],
            'plugins: bad defines the flag --only, which is an option of stagetrain; rename',
        ),
        (
            "flags.DEFINE_string('depth', None, '', required=True)",
            [],
            'plugins: flag --depth=None: Flag --depth must have a value',
        ),
        (
            "flags.DEFINE_string('verbosity', '', '')",
            [],
            "bad' cannot be imported: DuplicateFlagError: The flag 'verbosity' is defined twice",
        ),
        ("flags.DEFINE_integer('depth', 1, '')", ['--depth=deep'], 'error: flag --depth=deep: invalid literal for int()'),
        (
            'import no_such_module',
            ['--depth=1'],
            ' Flags of the plugins of {config} are not known: {config}:1: plugins: ',
        ),
    ],
)
def test_what_is_wrong_with_the_flag_of_a_plugin_is_told(project: Project, plugin: str, words: list[str], message: str) -> None:
    (project.folder / 'bad.py').write_text(f'from absl import flags\n{plugin}\n')
    project.config.write_text(f'plugins: [bad]\n{project.config.read_text()}')
    code, said = _said(['check', str(project.config), *words])
    assert code == 2 and message.format(config=project.config) in said and 'Traceback' not in said


def test_all_kinds_of_flags_are_given_to_a_child_as_they_are(tmp_path: pathlib.Path) -> None:
    """The words that the parent makes set the same values in another process."""
    script = """
import json, sys
from absl import flags as absl, logging
from stagetrain import flags
absl.DEFINE_multi_string('names', ['x'], '')
absl.DEFINE_list('words', [], '')
absl.DEFINE_boolean('deep', True, '')
absl.DEFINE_enum('kind', 'a', ['a', 'b'], '')
absl.DEFINE_float('rate', None, '')
if sys.argv[1] == 'give':
    absl.FLAGS(['me', '--names=a\\nb', '--names=--c', '--words=d,e', '--nodeep', '--kind=b', '--rate=1e-9', '--verbosity=1'])
    print(json.dumps(flags.given()))
else:
    flags.take(['--unknown=1', *json.loads(sys.argv[2]), '--another'])
    print(json.dumps([absl.FLAGS[name].value for name in ('names', 'words', 'deep', 'kind', 'rate', 'verbosity')]))
"""
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}

    def run(*words: str) -> str:
        command = [sys.executable, '-c', script, *words]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environ, check=True).stdout

    assert json.loads(run('take', run('give'))) == [['a\nb', '--c'], ['d', 'e'], False, 'b', 1e-9, 1]


@pytest.mark.slow
def test_the_job_log_of_a_real_stage_has_absls_lines_and_what_the_flag_of_a_plugin_asks_for(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    stage = tiny.stage('rpn', tiny.RPN | {'calm': 0.1}, {'steps': 2}, losses={'calm': {'bound': 0.5}})
    config = tiny.write_config(tmp_path / 'calm.yaml', {**tiny.pipeline(tiny_data, [stage]), 'plugins': [str(OUTSIDE / 'calm')]})
    code, output = tiny.run_command('run', config, '--run_dir', tmp_path / 'run', '--calm_report=so far')
    assert code == 0 and not any(map(ABSL_LINE.match, output.splitlines())), output
    lines = (tmp_path / 'run/stages/rpn/job.log').read_text().splitlines()
    logged = [line.partition('] ')[2] for line in lines if ABSL_LINE.match(line)]
    assert 'so far: features above 0.5 cost' in logged
    assert any(line.startswith('rpn: 1/2 ') for line in logged) and any(
        'checkpoint of step 2 saved in' in line for line in logged
    )
