"""Ctrl-C and SIGTERM at every kind of work: what is said, what is saved, and how the command ends. Without TensorFlow."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from stagetrain import files
from tests.fakes.project import ROOT, Project, make_project

SECOND = 'A second Ctrl-C, 2 s from now or later, ends without saving.'


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Project:
    """A project that has not run yet."""
    return make_project(tmp_path)


class Run:
    """The real `stagetrain run` with fake children, in a session of its own."""

    def __init__(self, project: Project, *options: str, **environ: str) -> None:
        self._project = project
        command = [*project.command, *options]
        environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'FAKE_SECONDS': '0.5', **environ}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)

    def wait_for(self, kind: str, stage_id: str = '') -> None:
        """Waits until a worker is in the midst of a step, an evaluation, proposals or the check."""
        for _ in range(1200):
            if {'kind': kind, 'id': stage_id} in files.read_json_lines(self._project.folder / 'begun.jsonl'):
                return
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.05)
        raise AssertionError(f'{kind} {stage_id} never began')

    def signal(self, *numbers: signal.Signals, pause: float = 0.05) -> None:
        """Sends signals one after the other."""
        for number in numbers:
            if self.process.poll() is None:
                self.process.send_signal(number)
            time.sleep(pause)

    def end(self) -> tuple[int, str]:
        """Returns the exit code and what was said to standard error."""
        return self.process.wait(60), self.process.communicate()[1]


def test_three_nervous_presses_save_and_end_with_130(project: Project) -> None:
    run = Run(project)
    run.wait_for('step', 'rpn_1')
    run.signal(signal.SIGINT, signal.SIGINT, signal.SIGINT, pause=0.01)
    code, said = run.end()
    assert code == 130
    assert said.count('stagetrain: saving rpn_1') == 1
    assert SECOND in said
    assert 'rpn_1: saved at step ' in said
    assert project.directory.state().partial['rpn_1'].step >= 1


def test_what_happens_is_said_before_it_has_happened(project: Project) -> None:
    run = Run(project, FAKE_SECONDS='5')
    run.wait_for('step', 'rpn_1')
    run.signal(signal.SIGINT)
    assert run.process.stderr is not None
    assert 'saving rpn_1' in run.process.stderr.readline()
    assert run.process.poll() is None
    time.sleep(2.1)
    run.signal(signal.SIGINT, signal.SIGINT)
    code, said = run.end()
    assert code == 130
    assert 'ending without saving; the same command goes on from the last checkpoint' in said
    assert project.directory.state().partial['rpn_1'].step == 0


def test_the_check_of_names_has_nothing_to_save_and_ends_at_once(project: Project) -> None:
    run = Run(project, FAKE_CHECK_SECONDS='60')
    run.wait_for('check')
    started = time.monotonic()
    run.signal(signal.SIGINT)
    code, said = run.end()
    assert (code, time.monotonic() - started < 10) == (130, True)
    assert 'stopping in the check of names; nothing was begun yet.' in said
    assert project.events() == [('interrupted', None)]


def test_proposals_keep_what_is_made(project: Project) -> None:
    run = Run(project, FAKE_SECONDS='0', FAKE_PROPOSAL_SECONDS='3')
    run.wait_for('proposals', 'detector_1')
    run.signal(signal.SIGTERM)
    code, said = run.end()
    assert code == 130
    assert 'proposals of rpn_1: stopping when their present part is saved' in said
    assert project.events()[-1] == ('interrupted', 'proposals of rpn_1')


def test_an_evaluation_behind_the_last_step_is_made_when_the_stage_goes_on(project: Project) -> None:
    run = Run(project, FAKE_SECONDS='0', FAKE_EVALUATION_SECONDS='3')
    run.wait_for('evaluation', 'rpn_1')
    run.signal(signal.SIGINT)
    code, said = run.end()
    assert code == 130
    assert 'saving step 8 of rpn_1, its last one; it is evaluated when it goes on.' in said
    project.run()
    assert [call for call in project.calls() if call[1] == 'rpn_1'][-1] == ('train', 'rpn_1', 8)


@pytest.mark.parametrize('presses', [1, 3])
def test_within_the_process_it_is_the_same(project: Project, presses: int) -> None:
    run = Run(project, '--in_process')
    run.wait_for('step', 'rpn_1')
    run.signal(*[signal.SIGINT] * presses, pause=0.01)
    code, said = run.end()
    assert code == 130
    assert 'stagetrain: saving rpn_1' in said
    assert project.events()[-1] == ('interrupted', 'rpn_1')
    assert project.directory.state().partial['rpn_1'].step >= 1


def test_within_the_process_a_second_one_leaves_the_job_where_it_is(project: Project) -> None:
    run = Run(project, '--in_process', FAKE_SECONDS='20')
    run.wait_for('step', 'rpn_1')
    run.signal(signal.SIGINT)
    time.sleep(2.1)
    run.signal(signal.SIGINT)
    code, said = run.end()
    assert code == 130
    assert 'ended at once; the same command goes on from the last checkpoint' in said
    assert project.events()[-1] == ('interrupted', 'rpn_1')


CTRL_C_AS_IT_ENDS = """
import os, signal, sys
from stagetrain.cli import main

class Late:
    def __del__(self): os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGTERM)

late = Late()
code = main.main()
os.kill(os.getpid(), signal.SIGINT)
sys.exit(code)
"""


def test_signals_while_the_interpreter_ends_do_not_change_how_the_process_ends() -> None:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-c', CTRL_C_AS_IT_ENDS, 'status', '/nowhere']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('stagetrain status: /nowhere: no such folder')


TWICE = """
import os, signal, sys
from stagetrain.cli import main

def interrupted(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)

class Stream:
    encoding = 'utf-8'
    def __init__(self, stream): self._stream = stream
    def write(self, text): os.kill(os.getpid(), signal.SIGINT)
    def flush(self): pass
    def fileno(self): return self._stream.fileno()

main.json.dumps = interrupted
sys.stderr = Stream(sys.stderr)
sys.exit(main.main())
"""


def test_a_second_ctrl_c_while_the_first_is_told_is_no_traceback() -> None:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', TWICE, 'schema'], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, 'stagetrain: ended by SIGINT; what was saved before is intact\n')
