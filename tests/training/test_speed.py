"""How fast a real network is carried out, measured by a real child."""

from __future__ import annotations

import pathlib

from stagetrain.config import load
from stagetrain.config.stages import all_stages
from stagetrain.pipeline import runner
from stagetrain.pipeline.events import nobody
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import process
from tests import tiny


def test_every_stage_of_the_four_steps_is_measured_and_nothing_of_it_stays(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    loaded = load.load_pipeline(tiny.pipeline(tiny_data, tiny.four_steps(), backbone=tiny.MOBILENET_V2))
    stages = [entry.id for entry in all_stages(loaded.pipeline)]
    directory = RunDirectory(tmp_path / 'run')
    with directory.writing():
        found = runner.measure_speed(loaded, stages, directory, process.start_child, nobody)
    assert list(found) == stages
    assert all(speed.step > 0 and speed.evaluation > 0 and speed.start >= 0 for speed in found.values())
    assert {stage: set(speed.artefacts) for stage, speed in found.items()} == {
        'rpn_1': set(),
        'detector_1': {'proposals'},
        'rpn_2': {'features'},
        'detector_2': {'features', 'proposals'},
    }
    assert found['rpn_2'].step < found['rpn_1'].step  # A head on stored features.
    assert {path.name for path in directory.path.iterdir()} <= {'cache', '.lock', '.children'}
    assert not list(directory.cache.glob('speed.job*'))
