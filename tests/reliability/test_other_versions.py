"""A stage that was begun with other versions of packages goes on, says so, and stays marked."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

import pytest

from stagetrain import files
from stagetrain.cli.main import main
from stagetrain.errors import ConfigError, StageFailed
from stagetrain.pipeline.file_checks import verify
from stagetrain.pipeline.planned import Selection
from tests.fakes.project import Project, make_project

OLD = {'tensorflow': '2.19.0', 'tf-models-official': '2.19.1', 'tf_keras': '2.19.0'}
NEW = {**OLD, 'tensorflow': '2.20.0'}
NEWEST = {**NEW, 'tensorflow': '2.21.0', 'tf_keras': '2.21.0'}
CHANGE = 'tensorflow 2.19.0 -> 2.20.0'
MIXED = f'trained with mixed versions: {CHANGE} at step 4'
FIRST = Selection(until='rpn_1')


@dataclasses.dataclass
class Machine:
    """A project, and the versions that are installed."""

    project: Project
    patch: pytest.MonkeyPatch

    def install(self, versions: dict[str, str]) -> None:
        self.patch.setattr('stagetrain.config.versions.package_versions', lambda: versions)

    def fail(self, stage_id: str, step: int, select: Selection = FIRST) -> None:
        """Runs until a stage fails at a step; its newest checkpoint is of the last multiple of four."""
        self.patch.setenv('FAKE_DIE', f'{stage_id}:{step}:fail')
        with pytest.raises(StageFailed):
            self.project.run(select=select)
        self.patch.delenv('FAKE_DIE')


@pytest.fixture
def machine(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with the old versions."""
    machine = Machine(make_project(tmp_path), monkeypatch)
    machine.install(OLD)
    return machine


def test_a_half_done_stage_goes_on_and_says_with_what(machine: Machine) -> None:
    machine.fail('rpn_1', 6)
    machine.install(NEW)
    (stage,) = (stage for stage in machine.project.plan(select=FIRST).stages if stage.selected)
    assert (stage.action, stage.step, stage.reason.text) == ('resume', 4, f'goes on at step 4 with {CHANGE}')
    said = machine.project.run(select=FIRST)
    assert machine.project.calls()[-1] == ('train', 'rpn_1', 4)
    assert f'rpn_1: WARNING: {MIXED}. Equal bits with an undisturbed run are no longer promised' in said
    note = machine.project.directory.ledger.read()[-3]
    assert (note['event'], note['job'], note['mixed_versions']) == ('note', 'rpn_1', [f'{CHANGE} at step 4'])


def test_a_finished_stage_of_mixed_versions_stays_marked(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fail('rpn_1', 6)
    machine.install(NEW)
    project = machine.project
    project.run(select=FIRST)
    assert project.directory.lock().stages['rpn_1'].mixed_versions == (f'{CHANGE} at step 4',)
    assert project.plan(select=FIRST).stages[0].reason.text.endswith(f'is unchanged; {MIXED}')
    assert main(['status', str(project.directory.path)]) == 0
    assert f'rpn_1: {MIXED}\n' in capsys.readouterr().out
    report = verify(project.directory)
    assert report.wrong == () and f'stages.rpn_1: {MIXED}; equal bits with an undisturbed run are not promised' in report.remarks
    project.annotate('c', x=12)  # Other metrics do not make other weights.
    project.run(select=FIRST)
    assert project.directory.lock().stages['rpn_1'].mixed_versions == (f'{CHANGE} at step 4',)
    project.run(select=Selection(until='rpn_1', force=('rpn_1',)))
    assert project.directory.lock().stages['rpn_1'].mixed_versions == ()


def test_every_change_of_versions_is_remembered(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fail('rpn_1', 6)
    machine.install(NEW)
    machine.fail('rpn_1', 5)
    machine.project.config.write_text(machine.project.config.read_text().replace('batch_size: 2', 'batch_size: 3'))
    with pytest.raises(ConfigError, match=r'train\.batch_size: 2 -> 3'):
        machine.project.plan()
    machine.project.config.write_text(machine.project.config.read_text().replace('batch_size: 3', 'batch_size: 2'))
    machine.install(NEWEST)
    assert main(['status', str(machine.project.directory.path)]) == 0
    second = 'tensorflow 2.20.0 -> 2.21.0, tf_keras 2.19.0 -> 2.21.0 at step 4'
    assert f'rpn_1: at step 4 of 8; {MIXED}; changed since: {second}; failed: rpn_1: the loss' in capsys.readouterr().out
    machine.project.run(select=FIRST)
    assert machine.project.directory.lock().stages['rpn_1'].mixed_versions == (f'{CHANGE} at step 4', second)


def test_another_change_beside_the_versions_is_refused(machine: Machine) -> None:
    machine.fail('rpn_1', 6)
    machine.install(NEW)
    with pytest.raises(ConfigError, match=rf'half-done.*train\.batch_size: 2 -> 3; versions\.{CHANGE.replace(" ", ": ", 1)}'):
        machine.project.plan('stages.rpn_1.train.batch_size=3')


def test_a_half_done_stage_whose_source_trains_anew_to_other_weights_is_refused(machine: Machine) -> None:
    machine.fail('detector_1', 6, Selection(until='detector_1'))
    machine.install(NEW)
    first, second, *_ = machine.project.plan().stages
    assert (first.action, first.reason.text) == ('run', f'stale: versions.{CHANGE.replace(" ", ": ", 1)}')
    assert (second.action, second.reason.text) == ('run', 'decided after rpn_1, which it starts from')
    with pytest.raises(ConfigError, match=r"detector_1 is half-done \(step 4\).*rpn_1's weights of backbone changed"):
        machine.project.run()


def test_proposals_are_made_anew_for_a_stage_that_goes_on(machine: Machine) -> None:
    """The source counts as trained with the new versions already, to the same bits."""
    machine.fail('detector_1', 6, Selection(until='detector_1'))
    machine.install(NEW)
    project = machine.project
    lock, planned = project.directory.lock(), project.plan().stages[0]
    entry = dataclasses.replace(lock.stages['rpn_1'], fingerprint=str(planned.fingerprint), parts=planned.parts)
    project.directory.write_lock(lock.with_stage('rpn_1', entry))
    project.run(select=Selection(until='detector_1'))
    assert project.calls()[-2:] == [('proposals', 'detector_1', 0), ('train', 'detector_1', 4)]
    assert len(project.directory.lock().artefacts['proposals']) == 2
    assert project.directory.lock().stages['detector_1'].mixed_versions == (f'{CHANGE} at step 4',)


def test_a_lock_from_before_knows_no_mixed_versions(machine: Machine) -> None:
    machine.project.run(select=FIRST)
    file = machine.project.directory.lock_file
    value = files.read_json(file)
    body = {table: value[table] for table in value if table != 'digest'}
    del body['stages']['rpn_1']['mixed_versions']
    files.write_json(file, {'digest': files.digest_of(body), **body})
    assert machine.project.directory.lock().stages['rpn_1'].mixed_versions == ()
    assert machine.project.actions(select=FIRST) == {'rpn_1': 'skip'}


# ---- run directories from before oneDNN was recorded ------------------------------------------------------------------------

PROCESSOR_LEFT_IT_OFF = (
    'versions.onednn: off -> on: not recorded then; off is what TensorFlow chooses by itself on this processor, and '
    'TF_ENABLE_ONEDNN_OPTS=0 in the environment keeps it'
)


@pytest.fixture
def processor(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Puts this stagetrain in place of an older one, where TensorFlow chooses oneDNN `on` or `off`, or nobody knows (None)."""

    def update(choice: str | None) -> None:
        machine.install({**OLD, 'onednn': 'on'})
        monkeypatch.setattr('stagetrain.config.onednn.tensorflows_choice', lambda: choice)

    return update


@pytest.mark.parametrize('choice', ['on', None])
def test_a_run_that_recorded_no_onednn_stays_up_to_date_where_it_was_on(
    machine: Machine, processor: Callable[[str | None], None], choice: str | None
) -> None:
    machine.project.run()
    num_calls = len(machine.project.calls())
    processor(choice)
    assert set(machine.project.actions().values()) == {'skip'}
    machine.project.run()
    assert len(machine.project.calls()) == num_calls
    assert verify(machine.project.directory).wrong == ()


def test_where_the_processor_left_onednn_off_the_reason_says_so(
    machine: Machine, processor: Callable[[str | None], None]
) -> None:
    machine.project.run(select=FIRST)
    processor('off')
    assert machine.project.plan(select=FIRST).stages[0].reason.text == f'stale: {PROCESSOR_LEFT_IT_OFF}'
    machine.install({**OLD, 'onednn': 'off'})  # TF_ENABLE_ONEDNN_OPTS=0.
    assert machine.project.actions(select=FIRST) == {'rpn_1': 'skip'}


def test_a_half_done_stage_from_before_goes_on_marked_only_where_the_value_changed(
    machine: Machine, processor: Callable[[str | None], None]
) -> None:
    machine.fail('rpn_1', 6)
    processor('off')
    stage = machine.project.plan(select=FIRST).stages[0]
    assert (stage.action, stage.mixed_versions) == ('resume', ('onednn off -> on at step 4',))
    processor('on')
    stage = machine.project.plan(select=FIRST).stages[0]
    assert (stage.action, stage.reason.text, stage.mixed_versions) == ('resume', 'goes on at step 4', ())
    machine.project.run(select=FIRST)
    entry = machine.project.directory.lock().stages['rpn_1']
    assert (entry.parts['versions.onednn'], entry.mixed_versions) == ('on', ())


def test_proposals_from_before_are_read_where_the_value_is_the_same(
    machine: Machine, processor: Callable[[str | None], None]
) -> None:
    machine.fail('detector_1', 6, Selection(until='detector_1'))
    (store,) = machine.project.directory.lock().artefacts['proposals']
    processor('on')
    machine.project.run(select=Selection(until='detector_1'))
    assert machine.project.calls()[-1] == ('train', 'detector_1', 4) and machine.project.calls()[-2][0] == 'train'
    assert list(machine.project.directory.lock().artefacts['proposals']) == [store]
    assert verify(machine.project.directory).wrong == ()


def test_onednn_switched_off_and_on_is_told_as_a_version(machine: Machine) -> None:
    machine.install({**OLD, 'onednn': 'on'})
    machine.project.run(select=FIRST)
    machine.install({**OLD, 'onednn': 'off'})
    assert machine.project.plan(select=FIRST).stages[0].reason.text == 'stale: versions.onednn: on -> off'
