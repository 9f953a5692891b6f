"""`compare --equal` and `plan --equal`: decided before anything runs, kept in the run, the same for all seeds. Fake workers."""

from __future__ import annotations

import json
import pathlib

import pytest

from stagetrain import files
from stagetrain.cli import main
from stagetrain.config import load
from stagetrain.evaluation import compare
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import process
from tests.fakes.project import Project, in_this_process, make_project


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that is trained by fakes, with a cache of its own."""
    monkeypatch.setattr(process, 'starter', lambda in_process: in_this_process)
    monkeypatch.setenv('STAGETRAIN_CACHE', str(tmp_path / 'user'))
    monkeypatch.setenv('FAKE_MILLISECONDS', '500')
    return make_project(tmp_path)


def command(verb: str, project: Project, *options: str) -> int:
    return main.main([verb, str(project.config), '--run_dir', str(project.directory.path), *options])


def trained(project: Project, name: str = 'run') -> dict[str, int]:
    lock = RunDirectory(project.folder / name).lock()
    return {stage_id: entry.result['step'] for stage_id, entry in lock.stages.items()}


EQUAL_STEPS = {
    **dict.fromkeys(['rpn_1', 'detector_1', 'rpn_2', 'detector_2'], 8),
    'joint.all': 32,
    'unshared.rpn_1': 16,
    'unshared.detector_1': 16,
}


def test_plan_shows_the_lengths_and_runs_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert command('plan', project, '--equal', 'steps') == 0
    out = capsys.readouterr().out
    assert '--equal steps: four comes to 32 steps; train.steps and schedules of joint times 2' in out
    assert 'train.steps and schedules of unshared times 2' in out
    assert 'joint.all  run' in out and '32 steps, 64 images' in out and 'unshared.rpn_1  run' in out
    assert not project.directory.path.exists()


def test_the_expanded_file_has_the_equal_lengths(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert command('plan', project, '--equal', 'images', '--expand') == 0
    (project.folder / 'expanded.yaml').write_text(capsys.readouterr().out)
    variants = load.load_pipeline(project.folder / 'expanded.yaml').pipeline.compare
    assert [stage.train.steps for name in ('joint', 'unshared') for stage in variants[name].stages or ()] == [32, 16, 16]


def test_variants_get_the_same_steps_and_are_compared(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert command('compare', project, '--equal', 'steps') == 0
    assert trained(project) == EQUAL_STEPS
    out = capsys.readouterr().out
    assert '--equal steps: four comes to 32 steps' in out
    assert 'four has 0.000 more AP than joint with one seed, which says nothing of the spread' in out.replace('\n', ' ')
    report = json.loads((project.directory.path / 'report' / 'compare.json').read_text())
    assert {row['steps'] for row in report['variants'].values()} == {32}
    assert report['equal']['by'] == 'steps'
    assert command('compare', project, '--equal', 'steps') == 0
    assert len([call for call in project.calls() if call[0] == 'train']) == 7


def test_time_is_measured_first_and_stands_in_the_table_beside_what_it_took(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command('plan', project, '--equal', 'time') == 0
    assert '--equal time: not measured yet on this machine; `stagetrain compare` measures first' in capsys.readouterr().out
    assert command('compare', project, '--equal', 'time') == 0
    # 8 steps of 0.5 s and 1 s beside them in each stage; proposals 2 s each: 24 s.
    assert trained(project)['joint.all'] == round((24 - 1) / 0.5)
    out = capsys.readouterr().out
    assert 'seconds, as planned' in out and '24.0' in out
    assert 'four comes to 24 s, as measured on this machine' in out.replace('\n', ' ')
    (summary,) = compare.load_summaries(project.directory.path)
    assert summary.made_equal is not None and summary.made_equal.target == 24.0
    assert command('plan', project, '--equal', 'time') == 0
    assert 'joint.all  skip' in capsys.readouterr().out


def test_all_seeds_have_the_lengths_of_the_first(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command('compare', project, '--equal', 'time') == 0
    (project.folder / 'user' / 'speed.json').unlink()
    monkeypatch.setenv('FAKE_MILLISECONDS', '50')
    assert command('compare', project, '--equal', 'time', '--seeds', '3') == 0
    assert trained(project, 'run.seed1') == trained(project, 'run.seed2') == trained(project)
    assert len(files.read_json_lines(project.folder / 'measured.jsonl')) == 1
    out = capsys.readouterr().out.replace('\n', ' ')
    assert 'paired t over 3 seeds' in out


def test_a_comparison_without_it_trains_the_files_lengths_and_says_nothing_of_equal_ones(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command('compare', project, '--equal', 'steps') == 0
    capsys.readouterr()
    assert command('compare', project) == 0
    assert trained(project)['joint.all'] == 16
    assert 'comes to' not in capsys.readouterr().out
    assert 'equal' not in json.loads((project.directory.path / 'report' / 'compare.json').read_text())


def test_it_goes_with_a_pipeline_file(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert command('compare', project) == 0
    assert main.main(['compare', str(project.directory.path), '--equal', 'time']) == 2
    assert '--seeds, --equal, --set and --run_dir: these go with a pipeline file' in capsys.readouterr().err
