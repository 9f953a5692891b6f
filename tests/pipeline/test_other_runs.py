"""A stage of another run directory as a source."""

from __future__ import annotations

import json
import pathlib

import pytest

from stagetrain.config.schema import Source
from stagetrain.errors import WeightsError
from stagetrain.pipeline.other_runs import finished_stage
from tests.fakes.project import Project, make_project


@pytest.fixture(scope='module')
def former(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has run."""
    made = make_project(tmp_path_factory.mktemp('former'))
    made.run()
    return made


def test_a_stage_is_found_with_its_checkpoint(former: Project) -> None:
    run = former.directory.path
    found = finished_stage('former', Source(run=str(run), stage='rpn_1'))
    assert found.stage == 'rpn_1'
    assert found.checkpoint == run / 'stages/rpn_1/checkpoints/step-00000008'
    assert set(found.digests) == {'backbone', 'decoder', 'rpn_head'}


def test_without_a_name_the_last_stage_is_meant(former: Project) -> None:
    assert finished_stage('former', Source(run=str(former.directory.path))).stage == 'detector_2'


def test_an_unknown_stage_is_refused(former: Project) -> None:
    with pytest.raises(WeightsError, match=r"sources\.x: .*stage 'rpn_3' is not done there\. Done: .*rpn_1.*Did you mean"):
        finished_stage('x', Source(run=str(former.directory.path), stage='rpn_3'))


def test_a_folder_that_is_no_run_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(WeightsError, match=r'sources\.x: .*expected a run directory of stagetrain, found no run\.yaml there'):
        finished_stage('x', Source(run=str(tmp_path)))


def test_a_stage_starts_from_another_run_and_is_stale_when_that_changes(former: Project, tmp_path: pathlib.Path) -> None:
    project = make_project(tmp_path)
    override = f'sources.imagenet={{run: {former.directory.path}, stage: detector_1}}'
    project.run(override)
    job = json.loads((project.directory.path / 'stages/rpn_1/job.json').read_text())
    assert job['origins']['backbone']['kind'] == 'run'
    assert job['origins']['backbone']['path'] == str(former.directory.path / 'stages/detector_1/checkpoints/step-00000008')
    assert project.actions(override)['rpn_1'] == 'skip'
    assert project.actions(override.replace('detector_1', 'rpn_2'))['rpn_1'] == 'run'
