"""A backbone, a detector and a kind of weight file from outside the package, one file each, trained by the command line."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import numpy as np
import pytest

from stagetrain import files
from stagetrain.config import check, load
from stagetrain.errors import ConfigError
from stagetrain.weights import assign
from tests import tiny

OUTSIDE = pathlib.Path(__file__).parents[1] / 'outside'
PLUGINS = ('two_blocks', 'places', 'npz')


def document(data: pathlib.Path) -> dict[str, Any]:
    losses = {'class': 1.0, 'size': 0.1}
    stages = [
        tiny.stage('head', losses, init={'backbone': 'arrays'}, freeze_variables=['backbone/.*']),
        tiny.stage('all', losses, init={'backbone': 'head', 'head': 'head'}),
    ]
    model = {
        'type': 'places',
        'input_size': [64, 64, 3],
        'backbone': {'type': 'two_blocks', 'two_blocks': {'num_filters': 4}},
        'parser': {'aug_rand_hflip': True},
    }
    pipeline = {**tiny.pipeline(data, stages), 'model': model}
    return {**pipeline, 'plugins': list(PLUGINS), 'sources': {'arrays': {'npz': 'weights.npz'}}}


def write_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    random, depths = np.random.default_rng(0), (3, 8, 16, 32)
    values = {}
    for level, (above, depth) in enumerate(zip(depths, depths[1:], strict=False), 1):
        values[f'backbone/down_{level}/kernel'] = random.normal(0, 0.1, (3, 3, above, depth)).astype(np.float32)
        values[f'backbone/down_{level}/bias'] = np.zeros(depth, np.float32)
    np.savez(path, **values)
    return values


def test_a_detector_that_tells_no_limit_of_its_detections_cannot_be_lifted(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    for plugin in PLUGINS:
        shutil.copy(OUTSIDE / f'{plugin}.py', tmp_path)
    config = tiny.write_config(tmp_path / 'outside.yaml', document(tiny_data) | {'evaluation': {'max_detections': 300}})
    with pytest.raises(ConfigError, match=r'evaluation\.max_detections: places does not tell which option limits its detections'):
        check.check_pipeline(load.load_pipeline(config))


@pytest.mark.slow
def test_one_file_each_is_enough_to_train_in_stages_and_detect(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    for plugin in PLUGINS:
        shutil.copy(OUTSIDE / f'{plugin}.py', tmp_path)
    given = write_weights(tmp_path / 'weights.npz')
    config = tiny.write_config(tmp_path / 'outside.yaml', document(tiny_data))
    run = tmp_path / 'run'
    code, output = tiny.run_command('run', config, '--run_dir', run, '--in_process')
    assert code == 0, output
    lineage = files.read_json(run / 'stages/head/lineage.json')
    assert {origin['kind'] for name, origin in lineage.items() if name.startswith('backbone/')} == {'npz'}
    head, everything = (assign.read_stage_checkpoint(tiny.last_checkpoint(run, stage)) for stage in ('head', 'all'))
    assert all(head[name].tobytes() == value.tobytes() for name, value in given.items())
    assert [name for name in given if everything[name].tobytes() == given[name].tobytes()] == []
    assert len(files.read_json(run / 'stages/all/detections.json')) == 6 * 20
    image = next((tiny_data / 'JPEGImages').iterdir())
    code, output = tiny.run_command('detect', run, image, '--out', tmp_path / 'pictures')
    assert code == 0, output
