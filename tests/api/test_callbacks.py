"""A callback from outside the package listens to a run, and costs nothing when it fails."""

from __future__ import annotations

import pathlib

import pytest

import stagetrain as st
from stagetrain.errors import ConfigError
from stagetrain.workers import process
from tests.fakes.project import Project, in_this_process, make_project

pytestmark = pytest.mark.usefixtures('plugins_forgotten')
PLUGIN = pathlib.Path(__file__).parents[1] / 'outside' / 'csv_log'


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with the callback, whose stages are trained by fakes."""
    monkeypatch.setattr(process, 'starter', lambda in_process: in_this_process)
    made = make_project(tmp_path)
    made.config.write_text(f'{made.config.read_text()}plugins: [{PLUGIN}]\ncallbacks: {{csv_log: {{}}}}\n')
    return made


def test_it_sees_every_step_and_makes_no_stage_stale(project: Project) -> None:
    run = st.load(project.config).run(project.directory.path, until='rpn_1')
    assert (run.path / 'report/steps.csv').read_text().splitlines() == [f'rpn_1,{step},8' for step in range(1, 9)]
    plan = st.load(project.config, ['callbacks.csv_log.file=other.csv']).plan(run.path, until='rpn_1')
    assert [stage.action for stage in plan.stages if stage.selected] == ['skip']
    assert run.verify().wrong == ()


def test_one_that_fails_is_named_and_the_stages_go_on(project: Project) -> None:
    run = st.load(project.config, ['callbacks.csv_log.fail_at=3']).run(project.directory.path, until='rpn_1')
    assert run.stages['rpn_1'].step == 8
    assert (run.path / 'report/steps.csv').read_text().splitlines() == ['rpn_1,1,8', 'rpn_1,2,8']
    said = [line['text'] for line in project.directory.ledger.read() if 'csv_log' in line['text']]
    assert said == [
        'callbacks.csv_log: ZeroDivisionError: by zero. It is not called again in this run; the stages are not touched by that'
    ]


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('callbacks.csv_lgo={}', r"callbacks\.csv_lgo: unknown key.*Did you mean 'csv_log'\?"),
        ('callbacks.csv_log.fail_at=soon', r'callbacks\.csv_log\.fail_at'),
    ],
)
def test_its_settings_are_checked(project: Project, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        st.load(project.config, [override])
