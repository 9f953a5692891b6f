"""Budgets of time: measured once by a worker, divided, kept in the run. Fake workers, no TensorFlow."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

import stagetrain as st
from stagetrain import files
from stagetrain.cli import main
from stagetrain.config import recipe_budgets
from stagetrain.config.load import load_pipeline
from stagetrain.errors import ConfigError, DamagedFile
from stagetrain.pipeline import file_checks, run_files, speed
from stagetrain.workers import process
from tests.fakes.project import PIPELINE, Project, in_this_process, make_project

RECIPE = """\
recipe: {name: four_step, init: {backbone: imagenet}, budget: 28s}
compare: {joint: {recipe: {name: end_to_end, init: {backbone: imagenet}, budget: 28s}}}
"""
# Each stage: tracing and evaluation 1 s; both detectors: proposals 2 s. A step takes 200 ms: 20 s are left for 100 steps.
STEPS = recipe_budgets.divided('four_step', 20.0, dict.fromkeys(['rpn_1', 'detector_1', 'rpn_2', 'detector_2'], 0.2))


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a budget of time, trained by fakes, and a cache of its own."""
    monkeypatch.setattr(process, 'starter', lambda in_process: in_this_process)
    monkeypatch.setenv('STAGETRAIN_CACHE', str(tmp_path / 'user'))
    monkeypatch.setenv('FAKE_MILLISECONDS', '200')
    made = make_project(tmp_path)
    made.config.write_text(PIPELINE[: PIPELINE.index('stages:\n')] + RECIPE)
    return made


def run(project: Project, *options: str) -> int:
    return main.main(['run', str(project.config), '--run_dir', str(project.directory.path), *options])


def measured(project: Project) -> list[list[str]]:
    path = project.folder / 'measured.jsonl'
    return files.read_json_lines(path) if path.exists() else []


def trained(project: Project) -> dict[str, int]:
    return {stage_id: entry.result['step'] for stage_id, entry in project.directory.lock().stages.items()}


def test_a_run_measures_once_and_trains_by_that(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(project) == 0
    out = capsys.readouterr().out.replace('\n', ' ')
    assert 'measuring how fast this machine carries out rpn_1, detector_1, rpn_2, detector_2: about 20 s for each' in out
    assert trained(project) == STEPS and sum(STEPS.values()) == 100
    assert 'recipe.budget 28 s, as measured on this machine: rpn_1 19 steps of 200 ms, detector_1 61 steps of 200 ms' in out
    in_run_yaml = {stage.name: stage.train.steps for stage in project.directory.config().pipeline.stages}
    assert in_run_yaml == STEPS
    assert run(project) == 0 and len(measured(project)) == 2  # The pipeline's four, and the variant's one.
    assert project.actions() == dict.fromkeys(STEPS, 'skip')


def test_another_run_of_the_same_user_does_not_measure_again(project: Project) -> None:
    assert run(project) == 0
    before = len(measured(project))
    assert main.main(['run', str(project.config), '--run_dir', str(project.folder / 'other')]) == 0
    assert len(measured(project)) == before
    assert st.open_run(project.folder / 'other').config.stages[0].train.steps == STEPS['rpn_1']


def test_stages_that_are_done_stay_up_to_date_when_the_machine_is_measured_anew(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(project, '--until', 'detector_1') == 0
    (project.folder / 'user' / 'speed.json').unlink()
    monkeypatch.setenv('FAKE_MILLISECONDS', '100')
    assert run(project) == 0
    assert trained(project) == STEPS
    assert [call for call in project.calls() if call[:2] == ('train', 'rpn_1')] == [('train', 'rpn_1', 0)]
    assert main.main(['run', str(project.config), '--run_dir', str(project.folder / 'fast')]) == 0
    faster = st.open_run(project.folder / 'fast').config.stages
    assert [stage.train.steps for stage in faster] == [2 * steps for steps in STEPS.values()]


def test_another_budget_in_the_same_run_is_divided_anew(project: Project) -> None:
    assert run(project) == 0
    assert run(project, '--set', 'recipe.budget=48s') == 0
    assert trained(project) == {stage: 2 * steps for stage, steps in STEPS.items()}
    assert [call[2] for call in project.calls() if call[:2] == ('train', 'rpn_1')] == [0, STEPS['rpn_1']]


def test_plan_says_whether_it_is_measured_measures_nothing_and_leaves_tensorflow_alone(project: Project) -> None:
    plan = [sys.executable, '-m', 'stagetrain.cli.main', 'plan', str(project.config), '--run_dir', str(project.directory.path)]

    def printed() -> str:
        script = f'import sys; from stagetrain.cli.main import main; code = main({plan[3:]!r}); ' + (
            "assert not {'tensorflow', 'tf_keras', 'official'} & set(sys.modules); sys.exit(code)"
        )
        done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = printed()
    assert 'recipe.budget 28 s: not measured yet on this machine with this data and network. `stagetrain run` measures' in out
    assert 'length      decided by recipe.budget, once this machine is measured' in out
    assert measured(project) == []
    assert run(project, '--until', 'rpn_1') == 0
    out = printed()
    assert 'recipe.budget 28 s, as measured on this machine: rpn_1 19 steps' in out and '61 steps, 122 images' in out
    assert 'not measured yet' not in out


def test_the_expanded_file_has_the_measured_steps(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    expand = ['plan', str(project.config), '--run_dir', str(project.directory.path), '--expand']
    assert main.main(expand) == 2
    assert 'recipe.budget 28 s: not measured yet on this machine' in capsys.readouterr().err
    assert run(project, '--until', 'rpn_1') == 0
    capsys.readouterr()
    assert main.main(expand) == 0
    (project.folder / 'expanded.yaml').write_text(capsys.readouterr().out)
    stages = load_pipeline(project.folder / 'expanded.yaml').pipeline.stages
    assert {stage.name: stage.train.steps for stage in stages} == STEPS


def test_the_python_face_measures_too(project: Project) -> None:
    pipeline = st.load(project.config)
    assert 'not measured yet' in str(pipeline.plan(project.directory.path))
    done = pipeline.run(project.directory.path, until='rpn_1')
    assert done.config.stages[0].train.steps == STEPS['rpn_1']


def test_a_budget_that_leaves_no_time_for_steps_is_refused_before_anything_is_trained(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(project, '--set', 'recipe.budget=8s') == 2
    expected = 'found 8 s, but evaluation, tracing, and making proposals and features take 8 s on this machine'
    assert expected in capsys.readouterr().err
    assert project.directory.lock().stages == {} and not project.directory.exists()
    assert run(project, '--until', 'rpn_1') == 0


def test_a_damaged_list_of_lengths_is_refused_and_verify_names_it(project: Project) -> None:
    assert run(project) == 0
    path = project.directory.path / run_files.LENGTHS
    path.write_text(path.read_text().replace('28 s', '29 s'))
    assert any(run_files.LENGTHS in text for text in file_checks.verify(project.directory).wrong)
    with pytest.raises(DamagedFile, match=run_files.LENGTHS):
        project.plan()
    assert run(project) != 0


def test_what_is_kept_of_a_run_is_accounted_for(project: Project) -> None:
    assert run(project) == 0
    report = file_checks.verify(project.directory)
    assert report.wrong == () and not any('nobody accounts for' in remark for remark in report.remarks)


def test_verify_resume_wants_steps(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(project.folder / 'vr')
    assert main.main(['verify-resume', str(project.config), '--stage', 'rpn_1', '--at', '3', '--run_dir', folder]) == 2
    assert 'recipe.budget: found 28 s; expected steps here: --set recipe.budget=2400' in capsys.readouterr().err


def test_the_steps_that_a_time_stands_for_until_then_are_the_files(project: Project) -> None:
    loaded = load_pipeline(project.config, environ={})
    assert [stage.train.steps for stage in loaded.pipeline.stages] == [8] * 4
    assert len(loaded.unmeasured) == 2


def test_a_cache_that_cannot_be_read_or_written_costs_a_measurement_only(project: Project) -> None:
    path = speed.cache_file(project.directory.cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('not json')
    assert run(project, '--until', 'rpn_1') == 0
    assert len(speed.read(path)) >= 4
    with pytest.raises(ConfigError):
        load_pipeline(project.config, ['recipe.budget=never'], environ={})
