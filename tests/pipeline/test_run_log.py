"""The log of a run in a program that is not ours."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fakes.project import ROOT, Project

PROGRAM = """
import logging, os, pathlib, sys
from absl import logging as absl_logging
from tests.fakes.project import Project

if sys.argv[2:]:
    absl_logging.set_verbosity(sys.argv[2])
Project(pathlib.Path(sys.argv[1])).run(environ=os.environ if sys.argv[3:] else None)
assert not logging.root.handlers and not absl_logging.get_absl_logger().handlers, 'its logging is as it was'
"""


@pytest.mark.parametrize(('words', 'is_full'), [([], False), (['info'], True), (['info', 'in children'], True)])
def test_it_holds_what_absls_verbosity_lets_through(project: Project, words: list[str], is_full: bool) -> None:
    command = [sys.executable, '-c', PROGRAM, str(project.folder), *words]
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    text = (project.directory.path / 'logs' / 'run.log').read_text()
    assert ('rpn_1: finished in' in text) == is_full
