"""The Python face, with fake workers where something is trained: no TensorFlow."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import threading

import pytest

import stagetrain as st
from stagetrain.errors import BadInput, ConfigError, Interrupted, RunDirectoryError
from stagetrain.pipeline.events import Event, Finished, Planned, Progress, Skipped, Started
from stagetrain.pipeline.stopping import Stopper
from stagetrain.workers import process
from tests.fakes.project import Project, in_this_process, make_project


@pytest.fixture
def project(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose stages are trained by fakes."""
    monkeypatch.setattr(process, 'starter', lambda in_process: in_this_process)
    return make_project(tmp_path)


def test_importing_and_planning_import_no_tensorflow(project: Project) -> None:
    script = (
        'import sys, stagetrain as st\n'
        f'print(st.load({str(project.config)!r}).plan({str(project.directory.path)!r}))\n'
        "assert not {'tensorflow', 'tf_keras', 'official'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'rpn_1  run: not run yet' in done.stdout


def test_a_mapping_is_a_pipeline_and_equals_its_file(project: Project) -> None:
    loaded = st.load(project.config, ['stages.rpn_1.train.steps=4'])
    assert loaded.config.stages[0].train.steps == 4
    assert st.Pipeline(loaded.resolved).resolved == loaded.resolved
    with pytest.raises(ConfigError, match=r'pipeline: stages\[0\]\.name'):
        st.Pipeline({**loaded.resolved, 'stages': [{**loaded.resolved['stages'][0], 'name': 'A b'}]})


def test_a_run_in_a_thread_emits_events_and_is_opened_again(project: Project) -> None:
    pipeline, events = st.load(project.config), list[Event]()
    runs: list[st.Run] = []
    thread = threading.Thread(target=lambda: runs.append(pipeline.run(project.directory.path, on_event=events.append)))
    thread.start()
    thread.join()
    assert isinstance(events[0], Planned) and events[0].run_dir == project.directory.path
    assert [event.job for event in events if isinstance(event, Started)][:2] == ['rpn_1', 'proposals of rpn_1']
    assert [event.step for event in events if isinstance(event, Progress) and event.job == 'rpn_1'] == list(range(1, 9))
    assert [event.metrics.get('AP') for event in events if isinstance(event, Finished) and event.job == 'rpn_1'] == [0.25]
    run = st.open_run(project.directory.path)
    assert list(run.stages) == list(runs[0].stages) == ['rpn_1', 'detector_1', 'rpn_2', 'detector_2']
    assert run.stages['detector_2'].metrics == {'AP': 0.25, 'AP50': 0.5}
    assert run.stages['detector_2'].checkpoint.is_dir() and run.stages['rpn_1'].step == 8
    assert run.stages['rpn_1'].lineage()['backbone/layer/kernel']['kind'] == 'keras_h5'
    assert {stage.state for stage in run.status().stages} == {'done', 'missing'}  # The variant was not asked for.
    assert run.verify().wrong == ()
    again = list[Event]()
    pipeline.run(project.directory.path, on_event=again.append)
    assert len([event for event in again if isinstance(event, Skipped)]) == 4


def test_what_is_selected_alone_runs(project: Project) -> None:
    pipeline = st.load(project.config)
    with pytest.raises(ConfigError, match=r'stage rpn_2 starts from detector_1, which is not up to date'):
        pipeline.run(project.directory.path, only='rpn_2')
    run = pipeline.run(project.directory.path, until='detector_1')
    assert list(run.stages) == ['rpn_1', 'detector_1']
    plan = pipeline.plan(project.directory.path, only='rpn_2', force=['rpn_2'])
    assert [(stage.id, stage.action) for stage in plan.stages if stage.selected] == [('rpn_2', 'run')]


def test_a_run_that_is_asked_to_stop_raises_and_the_same_call_continues(project: Project) -> None:
    pipeline, stopper = st.load(project.config), Stopper()

    def stop_in_the_second_stage(event: Event) -> None:
        if isinstance(event, Progress) and event.job == 'detector_1' and event.step == 2:
            stopper.ask()

    with pytest.raises(Interrupted):
        pipeline.run(project.directory.path, on_event=stop_in_the_second_stage, stopper=stopper)
    assert list(st.open_run(project.directory.path).stages) == ['rpn_1']
    assert list(pipeline.run(project.directory.path).stages) == ['rpn_1', 'detector_1', 'rpn_2', 'detector_2']


def test_what_is_no_run_is_refused(tmp_path: pathlib.Path, project: Project) -> None:
    with pytest.raises(RunDirectoryError, match=r'no such folder; expected a run directory'):
        st.open_run(tmp_path / 'nowhere')
    with pytest.raises(RunDirectoryError, match=r'no such folder; expected a run directory'):
        st.Predictor(tmp_path / 'nowhere')
    run = st.load(project.config).run(project.directory.path, until='rpn_1')
    with pytest.raises(BadInput, match=r"stage 'rpn_1' holds backbone, decoder, rpn_head but not detection_head"):
        st.Predictor(run.path, stage='rpn_1')
    with pytest.raises(ConfigError, match=r"stage: no stage 'rpn_9'. Known here: .*rpn_1"):
        st.build_detector(st.load(project.config), stage='rpn_9')
    with pytest.raises(AttributeError, match=r"no attribute 'lod'. Known here: .*load"):
        _ = st.lod  # type: ignore[attr-defined]
