"""A child of a killed parent has stopped before the next parent starts one."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

import pytest

from stagetrain.errors import RunDirectoryError
from stagetrain.pipeline import children
from stagetrain.pipeline.rundir import RunDirectory
from tests.fakes.project import ROOT

HOLD = (
    'import pathlib, sys, time; from stagetrain.pipeline import children\n'
    'with children.attending(pathlib.Path(sys.argv[1])):\n'
    '    print("held", flush=True); time.sleep(float(sys.argv[2]))\n'
)


def hold(run_dir: pathlib.Path, seconds: float) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, '-c', HOLD, str(run_dir), str(seconds)], stdout=subprocess.PIPE, cwd=ROOT)
    assert child.stdout is not None
    assert child.stdout.readline() == b'held\n'
    return child


def test_the_next_parent_waits_until_the_child_has_stopped(tmp_path: pathlib.Path) -> None:
    with hold(tmp_path, 1.0) as child:
        started = time.monotonic()
        with RunDirectory(tmp_path).writing():
            assert time.monotonic() - started > 0.5
            assert child.wait(5) == 0


def test_a_killed_child_holds_nothing(tmp_path: pathlib.Path) -> None:
    with hold(tmp_path, 60) as child:
        child.kill()
        child.wait()
        children.wait_for_leftovers(tmp_path, seconds=5)


def test_a_child_that_does_not_stop_is_named(tmp_path: pathlib.Path) -> None:
    with hold(tmp_path, 60) as child:
        with pytest.raises(RunDirectoryError, match=r'a child of a run that was killed is still at work .* after 0 s'):
            children.wait_for_leftovers(tmp_path, seconds=0.2)
        child.kill()


def test_children_do_not_wait_for_each_other(tmp_path: pathlib.Path) -> None:
    with hold(tmp_path, 60) as child, children.attending(tmp_path):
        child.kill()
