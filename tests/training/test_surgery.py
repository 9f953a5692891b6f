"""A stage on a backbone after surgery: published weights for what stays, a fresh layer that trains and is told apart."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import tf_keras

from stagetrain.config import load, specs
from stagetrain.detectors import keras_backbones
from stagetrain.errors import ConfigError
from stagetrain.files import read_json
from stagetrain.training import inspect
from stagetrain.weights import assign, keras_files
from tests import tiny

NEW = {'type': 'Conv2D', 'name': 'block1_conv5x5', 'filters': 4, 'kernel_size': 5, 'activation': 'relu'}
OPTIONS = {'width': 0.0625, 'surgery': [{'replace': ['block1_conv1', 'block1_conv2'], 'layers': [NEW]}]}
BACKBONE = {'type': 'keras_vgg16', 'keras_vgg16': OPTIONS}


def document(data: pathlib.Path, path: pathlib.Path, **keys: Any) -> dict[str, Any]:
    stages = [tiny.stage('rpn', tiny.RPN, {'steps': 2}, init={'backbone': 'imagenet'}, **keys)]
    return {**tiny.pipeline(data, stages, backbone=BACKBONE), 'sources': {'imagenet': {'keras_h5': str(path)}}}


@pytest.mark.slow
def test_the_new_layer_trains_in_front_of_frozen_published_ones(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    shape = tf_keras.layers.InputSpec(shape=[None, 64, 64, 3])
    keras_backbones.vgg16(shape, specs.KerasVgg(width=0.0625), 0.0).save_weights(tmp_path / 'vgg.h5')
    saved = keras_files.read_keras_h5(tmp_path / 'vgg.h5')
    pipeline = document(tiny_data, tmp_path / 'vgg.h5', freeze_variables=['backbone/block[2-5]_.*'])
    job = tiny.job(tmp_path, pipeline, 'rpn', origins={'backbone': {'kind': 'keras_h5', 'path': str(tmp_path / 'vgg.h5')}})
    tiny.train(job)
    lineage = read_json(tmp_path / 'stages/rpn/lineage.json')
    new = {name for name, origin in lineage.items() if origin.get('new')}
    assert new == {'backbone/block1_conv5x5/bias', 'backbone/block1_conv5x5/kernel'}
    trained = assign.read_stage_checkpoint(tiny.last_checkpoint(tmp_path, 'rpn'))
    kept = {name for name in saved if f'backbone/{name}' in trained}
    assert kept == {name for name in saved if not name.startswith('block1_')}
    assert all(saved[name].tobytes() == trained[f'backbone/{name}'].tobytes() for name in kept)


def test_the_table_of_variables_and_the_check_know_what_is_new(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    pipeline = document(tiny_data, tmp_path / 'vgg.h5')
    rows = {row['variable']: row['rpn'] for row in inspect.variable_table(load.load_resolved(pipeline).pipeline)}
    assert rows['backbone/block1_conv5x5/kernel'] == 'new: trained'
    assert rows['backbone/block2_conv1/kernel'] == 'imagenet: trained'
    frozen = document(tiny_data, tmp_path / 'vgg.h5', freeze_variables=['backbone/.*'])
    with pytest.raises(ConfigError, match=r'2 variables would be frozen at.*backbone/block1_conv5x5'):
        inspect.check_model({'pipeline': frozen}, lambda event: None, lambda: False)
