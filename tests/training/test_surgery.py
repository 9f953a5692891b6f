"""A stage on a backbone after surgery: published weights for what stays, a fresh layer that trains and is told apart."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain.config import load
from stagetrain.errors import ConfigError
from stagetrain.files import read_json
from stagetrain.pipeline.jobs import CheckJob
from stagetrain.training import variables
from stagetrain.weights import assign, keras_files
from tests import tiny

NEW = {'type': 'Conv2D', 'name': 'block1_conv5x5', 'filters': 4, 'kernel_size': 5, 'activation': 'relu'}
OPTIONS = {'width': 0.0625, 'surgery': [{'replace': ['block1_conv1', 'block1_conv2'], 'layers': [NEW]}]}
BACKBONE = {'type': 'keras_vgg16', 'keras_vgg16': OPTIONS}


def document(data: pathlib.Path, path: pathlib.Path, **keys: Any) -> dict[str, Any]:
    stages = [tiny.stage('rpn', tiny.RPN, {'steps': 2}, init={'backbone': 'imagenet'}, **keys)]
    return {**tiny.pipeline(data, stages, backbone=BACKBONE), 'sources': {'imagenet': {'keras_h5': str(path)}}}


@pytest.mark.slow
def test_new_layers_train_behind_published_ones_that_rest_and_then_all(tmp_path: pathlib.Path, places: dict[str, str]) -> None:
    stages = tiny.train_in_turn(tmp_path, tiny.shipped('bccd/surgery.yaml', places, *tiny.FEW_ROIS))
    lineage = read_json(stages['new_layers'].folder / 'lineage.json')
    new = {name for name, origin in lineage.items() if origin.get('new')}
    assert {name.rpartition('/')[0] for name in new} == {'backbone/top', 'backbone/top_bn'}
    first, last = (assign.read_stage_checkpoint(stages[name].checkpoint) for name in ('new_layers', 'all'))
    saved = keras_files.read_keras_h5(stages['new_layers'].job.origins['backbone'].path)
    kept = [name for name in saved if f'backbone/{name}' in first]
    assert kept == [name for name in saved if not name.startswith(('conv_dw_12', 'conv_pw_12', 'conv_dw_13', 'conv_pw_13'))]
    assert all(saved[name].tobytes() == first[f'backbone/{name}'].tobytes() for name in kept)
    assert all((first[name] != last[name]).any() for name in [*new, 'backbone/conv1/kernel'])
    assert {entry['kind'] for entry in read_json(stages['all'].folder / 'lineage.json').values()} == {'stage'}


def test_the_table_of_variables_and_the_check_know_what_is_new(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    pipeline = document(tiny_data, tmp_path / 'vgg.h5')
    rows = {row['variable']: row['rpn'] for row in variables.variable_table(load.load_resolved(pipeline).pipeline)}
    assert rows['backbone/block1_conv5x5/kernel'] == 'new: trained'
    assert rows['backbone/block2_conv1/kernel'] == 'imagenet: trained'
    frozen = document(tiny_data, tmp_path / 'vgg.h5', freeze_variables=['backbone/.*'])
    with pytest.raises(ConfigError, match=r'2 variables would be frozen at.*backbone/block1_conv5x5'):
        variables.check_model(CheckJob('', frozen), lambda event: None, lambda: False)
