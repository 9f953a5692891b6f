"""`stagetrain verify-resume` kills a stage behind a step and compares what it becomes."""

from __future__ import annotations

import io
import pathlib

import pytest
import rich.console

from stagetrain import files
from stagetrain.cli.verify_resume import verify_resume
from stagetrain.errors import ConfigError, RunDirectoryError
from tests.fakes.project import Project, make_project, start_fake


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Project:
    return make_project(tmp_path)


def values(checkpoint: pathlib.Path) -> dict[str, str]:
    return {key: str(value) for key, value in files.read_json(checkpoint / 'state.json').items()}


def carry_out(project: Project, at: int, read=values) -> tuple[int, str]:
    console = rich.console.Console(file=io.StringIO(), width=200)
    code = verify_resume(
        project.config,
        'rpn_1',
        at,
        overrides=[],
        folder=project.folder / 'resume',
        console=console,
        start_worker=lambda: start_fake({'FAKE_SECONDS': '0.05'}),
        read_values=read,
    )
    return code, console.file.getvalue()


def test_a_killed_and_resumed_stage_is_equal(project: Project) -> None:
    code, said = carry_out(project, at=6)
    assert code == 0
    assert 'rpn_1: killed behind step 6; its newest checkpoint is of step 4' in said
    assert 'rpn_1: all 2 tensors are bit for bit equal, straight and resumed' in said
    assert project.calls() == []  # Its own folders: the usual run directory is not touched.
    steps = [call['step'] for call in files.read_json_lines(project.folder / 'resume' / 'calls.jsonl')]
    assert steps == [0, 0, 4]


def test_a_difference_is_named_and_ends_with_1(project: Project) -> None:
    code, said = carry_out(project, at=6, read=lambda folder: {**values(folder), 'slot': str(folder)})
    assert code == 1
    assert 'rpn_1: 1 of 3 tensors differ after the resume, e.g. slot' in said


def test_a_step_that_the_stage_does_not_have_is_bad_input(project: Project) -> None:
    with pytest.raises(ConfigError, match='--at 8: stage rpn_1 has 8 steps; expected a step between 1 and 7'):
        carry_out(project, at=8)
    assert not (project.folder / 'resume').exists()  # Told before anything was trained.


@pytest.mark.parametrize('name', ['straight', 'resumed'])
def test_a_folder_of_the_users_is_not_removed(project: Project, name: str) -> None:
    photo = project.folder / 'resume' / name / 'photo.jpg'
    photo.parent.mkdir(parents=True)
    photo.touch()
    with pytest.raises(RunDirectoryError, match=f'resume/{name}: found a folder with no run.yaml but 1 other entries'):
        carry_out(project, at=6)
    assert photo.is_file()
