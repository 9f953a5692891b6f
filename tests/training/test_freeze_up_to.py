"""A stage on a Keras backbone whose first layers are frozen, from a file that Keras saved."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
import tf_keras

from stagetrain.config import schema
from stagetrain.config.builtin import keras_backbones as keras_options
from stagetrain.detectors import keras_backbones
from stagetrain.errors import ConfigError
from stagetrain.files import read_json
from stagetrain.pipeline.jobs import ModuleOrigin, StageJob
from stagetrain.stages.roles import select_variables
from stagetrain.weights import assign, keras_files
from tests import tiny

NARROW = {'width': 0.0625}
VGG16 = {'type': 'keras_vgg16', 'keras_vgg16': NARROW}
FROZEN = {f'backbone/block{block}_conv{number}' for block, last in ((1, 2), (2, 2), (3, 3)) for number in range(1, last + 1)}


def rpn(**keys: Any) -> dict[str, Any]:
    return tiny.stage('rpn', tiny.RPN, {'steps': 2}, init={'backbone': 'imagenet'}, **keys)


def job(folder: pathlib.Path, data: pathlib.Path, **keys: Any) -> StageJob:
    document = tiny.pipeline(data, [rpn(**keys)], backbone=VGG16)
    document['sources'] = {'imagenet': {'keras_h5': str(folder / 'vgg.h5')}}
    return tiny.job(folder, document, 'rpn', origins={'backbone': ModuleOrigin('keras_h5', str(folder / 'vgg.h5'))})


@pytest.mark.slow
def test_all_before_the_layer_stays_bit_equal_and_the_rest_trains(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    shape = tf_keras.layers.InputSpec(shape=[None, 64, 64, 3])
    keras_backbones.vgg16(shape, keras_options.KerasVgg(width=0.0625), 0.0).save_weights(tmp_path / 'vgg.h5')
    saved = keras_files.read_keras_h5(tmp_path / 'vgg.h5')
    tiny.train(job(tmp_path, tiny_data, freeze_up_to='block3_pool'))
    trained = assign.read_stage_checkpoint(tiny.last_checkpoint(tmp_path, 'rpn'))
    equal = {name for name in saved if saved[name].tobytes() == trained[f'backbone/{name}'].tobytes()}
    assert {f'backbone/{name.split("/")[0]}' for name in equal} == FROZEN
    frozen = read_json(tmp_path / 'stages/rpn/frozen.json')
    assert {name.rpartition('/')[0] for name in frozen} >= FROZEN
    lineage = read_json(tmp_path / 'stages/rpn/lineage.json')
    assert lineage['backbone/block1_conv1/kernel']['key'] == 'block1_conv1/kernel'


@pytest.fixture(scope='module')
def detector(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> Any:
    return tiny.context(job(tmp_path_factory.mktemp('vgg'), tiny_data)).build_detector(('backbone', 'decoder', 'rpn_head'))


def select(detector: Any, **keys: Any) -> tuple[str, ...]:
    stage = schema.Stage.model_validate(rpn(**keys))
    return select_variables(detector, stage, tuple(detector.modules), 'stages.rpn', lambda name: False).frozen


def test_a_layer_before_all_others_freezes_one_convolution(detector: Any) -> None:
    assert select(detector, freeze_up_to='block1_conv1') == ('backbone/block1_conv1/bias', 'backbone/block1_conv1/kernel')


def test_an_unknown_layer_is_refused_with_the_nearest(detector: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"stages\.rpn\.freeze_up_to: no layer 'block3_pol' among .*Did you mean 'block3_pool'\?"
    ):
        select(detector, freeze_up_to='block3_pol')


def test_a_layer_without_variables_before_it_is_refused(detector: Any) -> None:
    name = detector.modules['backbone'].layers[0].name
    with pytest.raises(ConfigError, match=rf"no variable stands in '{name}' or before it; name a later layer"):
        select(detector, freeze_up_to=name)
