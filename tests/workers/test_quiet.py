"""What libraries print goes to a log and our own messages to the person, in processes with real file descriptors."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

from stagetrain.workers import quiet
from tests.fakes.project import ROOT

SCRIPT = """
import logging, os, pathlib, signal, sys, warnings
from stagetrain.errors import DataError
from stagetrain.pipeline import stopping
from stagetrain.workers import quiet

log = pathlib.Path(sys.argv[1]) if sys.argv[1] else None

def libraries():
    os.write(2, b'cuInit failed\\n')
    warnings.warn('keys ignored')
    logging.getLogger('absl').warning('deprecated')

{body}
"""
BLOCK = """
with quiet.printing_to(log{keep}):
    libraries()
    {last}
print('done', file=sys.stderr)
"""


def said(log: pathlib.Path | None, last: str = 'pass', keep: str = '', body: str = '') -> tuple[int, str]:
    """Runs a process whose libraries print inside a block; returns its exit code and what came out of it."""
    script = SCRIPT.replace('{body}', body or BLOCK.replace('{last}', last).replace('{keep}', keep))
    command = [sys.executable, '-c', script, str(log or '')]
    environ = {**os.environ, 'PYTHONPATH': str(ROOT), 'TMPDIR': tempfile.gettempdir()}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def test_native_output_warnings_and_logging_go_to_the_log_and_our_messages_do_not(tmp_path: pathlib.Path) -> None:
    log = tmp_path / 'logs' / 'detect.log'
    assert said(log) == (0, 'done\n')
    lines = log.read_text().splitlines()
    assert lines[0] == 'cuInit failed' and 'UserWarning: keys ignored' in lines[1] and lines[-1] == 'deprecated'


def test_a_log_holds_the_last_call_or_all_of_them(tmp_path: pathlib.Path) -> None:
    log = tmp_path / 'log'
    for keep, count in (('', 1), ('', 1), (', keep=True', 2)):
        said(log, keep=keep)
        assert log.read_text().count('cuInit failed') == count


def test_an_error_of_ours_is_told_alone(tmp_path: pathlib.Path) -> None:
    body = BLOCK.replace('{keep}', '').replace('{last}', "raise DataError('a.jpg: no image')").replace('\n', '\n    ')
    body = f'try:{body}\nexcept DataError as error:\n    print(error, file=sys.stderr)\n'
    assert said(tmp_path / 'log', body=body) == (0, 'a.jpg: no image\n')


def test_an_unexpected_exception_names_the_log_and_keeps_its_traceback(tmp_path: pathlib.Path) -> None:
    code, text = said(tmp_path / 'log', '1 / 0')
    first, second, *_, last = text.splitlines()
    assert code == 1 and first == f'stagetrain: what TensorFlow and other libraries printed is in {tmp_path / "log"}'
    assert (second, last) == ('Traceback (most recent call last):', 'ZeroDivisionError: division by zero')


def test_without_a_place_for_it_the_log_is_kept_only_when_it_is_needed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    assert said(None) == (0, 'done\n') and not list(tmp_path.iterdir())
    (tmp_path / 'file').touch()
    assert said(tmp_path / 'file' / 'log') == (0, 'done\n') and len(list(tmp_path.iterdir())) == 1  # It cannot be written.
    _, text = said(None, '1 / 0')
    (log,) = tmp_path.glob('stagetrain-*.log')
    assert text.startswith(f'stagetrain: what TensorFlow and other libraries printed is in {log}\n')
    assert log.read_text().startswith('cuInit failed\n')


def test_a_crash_in_native_code_leaves_a_traceback(tmp_path: pathlib.Path) -> None:
    code, text = said(tmp_path / 'log', 'os.abort()')
    assert code == -signal.SIGABRT
    assert text.startswith('Fatal Python error: Aborted\n') and 'cuInit' not in text


def test_what_a_signal_has_us_say_reaches_the_person_inside_blocks_and_behind(tmp_path: pathlib.Path) -> None:
    body = """
with quiet.printing_to(log):
    with quiet.printing_to(log, keep=True):
        stopping.say('inside')
    libraries()
stopping.say('behind')
"""
    assert said(tmp_path / 'log', body=body) == (0, 'stagetrain: inside\nstagetrain: behind\n')


def test_a_process_without_standard_error_computes_all_the_same(tmp_path: pathlib.Path) -> None:
    block = BLOCK.replace('{last}', 'pass').replace('{keep}', '').replace('libraries()', 'pass').replace(', file=sys.stderr', '')
    command = ['sh', '-c', 'exec "$@" 2>&-', 'sh', sys.executable, '-c', SCRIPT.replace('{body}', block), str(tmp_path / 'log')]
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, 'done\n')


def test_computing_sets_what_tensorflow_reads(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('TF_USE_LEGACY_KERAS', raising=False)
    with quiet.computing(tmp_path / 'log'):
        assert os.environ['TF_USE_LEGACY_KERAS'] == '1'
    monkeypatch.delenv('TF_USE_LEGACY_KERAS')
