"""A run directory that version 1.0 left, with a stage half-done, is read, verified and gone on with.

`former/run.tar.gz` was made at commit 036d4c1 by `stagetrain run former.yaml`, interrupted in its last stage.
"""

from __future__ import annotations

import pathlib
import tarfile

import pytest

from stagetrain.api.pipeline import load
from stagetrain.config import onednn, versions
from stagetrain.pipeline.file_checks import verify
from stagetrain.pipeline.reasons import Because
from stagetrain.pipeline.rundir import RunDirectory
from tests import tiny

ARCHIVE = pathlib.Path(__file__).parent / 'former' / 'run.tar.gz'


@pytest.fixture
def former(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The folder with `former.yaml`, `data` and `run`; oneDNN is as it was taken to be then, where nobody wrote it down."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter='data')
    monkeypatch.setenv(onednn.VARIABLE, '0' if onednn.tensorflows_choice() == onednn.OFF else '1')
    recorded = RunDirectory(tmp_path / 'run').lock().stages['rpn_1'].parts
    present = versions.package_versions()
    if any(recorded[f'versions.{package}'] != present[package] for package in versions.PACKAGES):
        pytest.skip('the run was made with other versions of TensorFlow or the Model Garden')
    return tmp_path


def test_its_stages_are_up_to_date_and_the_half_done_one_goes_on(former: pathlib.Path) -> None:
    plan = load(former / 'former.yaml').plan(former / 'run')
    assert [(stage.id, stage.action, stage.reason.kind) for stage in plan.stages] == [
        ('rpn_1', 'skip', Because.UP_TO_DATE),
        ('detector_1', 'skip', Because.UP_TO_DATE),
        ('rpn_2', 'resume', Because.HALF_DONE),
    ]
    assert plan.stages[2].step == 2


def test_its_files_are_what_it_claims(former: pathlib.Path) -> None:
    report = verify(RunDirectory(former / 'run'))
    assert report.wrong == ()
    assert report.num_variables == 76


@pytest.mark.slow
def test_it_is_trained_to_its_end_and_verified_with_its_tensors(former: pathlib.Path) -> None:
    code, output = tiny.run_command('run', former / 'former.yaml', '--run_dir', former / 'run')
    assert code == 0 and 'rpn_2: goes on at step 2' in output, output
    code, output = tiny.run_command('verify', former / 'run')
    assert code == 0 and 'all as it was written' in output, output
