"""Surgery on real Keras networks: kept layers keep their published weights to the bit, new ones start fresh and are told."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stagetrain.config import specs
from stagetrain.errors import ConfigError, WeightsError
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.weights import assign, names
from tests.detectors.test_keras_backbones import SHAPE, build, scramble

pytestmark = pytest.mark.numbers

Published = tuple[tf_keras.Model, pathlib.Path]
NARROW = {'width': 0.0625}
CONV5X5 = {'type': 'Conv2D', 'name': 'block1_conv5x5', 'filters': 4, 'kernel_size': 5, 'activation': 'relu'}
CLASSIC = {'replace': ['block1_conv1', 'block1_conv2'], 'layers': [CONV5X5]}


def operated(*operations: dict[str, Any], name: str = 'keras_vgg16', **options: Any) -> tf_keras.Model:
    spec = specs.backbone(name)
    assert spec is not None
    own = NARROW if 'vgg' in name else {}
    read = spec.options.model_validate({**own, 'surgery': list(operations), **options})
    return build(name, **{field: getattr(read, field) for field in read.model_fields_set})


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A narrow VGG16 with values of its own, and the folder of the files that Keras saved it to."""
    folder = tmp_path_factory.mktemp('vgg')
    network = build('keras_vgg16', **NARROW)
    scramble(network)
    network.save_weights(folder / 'vgg.h5')
    network.save_weights(folder / 'vgg.weights.h5')
    tf.train.Checkpoint(backbone=network).write(str(folder / 'ckpt'))
    return network, folder


def load(backbone: tf_keras.Model, path: pathlib.Path, kind: str = 'keras_h5') -> dict[str, dict[str, Any]]:
    return assign.initialise({'backbone': backbone}, {'backbone': ModuleOrigin(kind, str(path))})


def test_two_convolutions_give_way_to_one_and_all_others_keep_their_weights(published: Published) -> None:
    network, folder = published
    backbone = operated(CLASSIC)
    initial = backbone.get_layer('block1_conv5x5').kernel.numpy()
    lineage = load(backbone, folder / 'vgg.h5')
    assert sorted(name for name, origin in lineage.items() if origin.get('new')) == [
        'backbone/block1_conv5x5/bias',
        'backbone/block1_conv5x5/kernel',
    ]
    assert {origin['kind'] for origin in lineage.values() if not origin.get('new')} == {'keras_h5'}
    theirs = {name: value.numpy().tobytes() for name, value in names.named_variables({'backbone': network}).items()}
    ours = {name: value.numpy().tobytes() for name, value in names.named_variables({'backbone': backbone}).items()}
    assert {name for name in ours if ours[name] == theirs.get(name)} == set(theirs) - {
        f'backbone/block1_conv{number}/{kind}' for number in (1, 2) for kind in ('kernel', 'bias')
    }
    np.testing.assert_array_equal(backbone.get_layer('block1_conv5x5').kernel.numpy(), initial)


def test_the_new_layer_stands_where_the_old_ones_stood(published: Published) -> None:
    network, folder = published
    backbone = operated(CLASSIC)
    load(backbone, folder / 'vgg.h5')
    image = tf.constant(np.random.default_rng(0).normal(size=(1, *SHAPE)), tf.float32)
    expected = backbone.get_layer('block1_conv5x5')(image)
    kept = [layer for layer in network.layers if layer.name not in ('block1_conv1', 'block1_conv2')][1:]
    for layer in kept:
        expected = layer(expected)
    np.testing.assert_allclose(backbone(image)['5'], expected, rtol=1e-6)


def test_a_layer_put_in_is_read_by_all_that_read_the_one_before() -> None:
    new = {'type': 'Activation', 'name': 'after_block_4', 'activation': 'relu'}
    backbone = operated({'insert_after': 'block_4_add', 'layers': [new]}, name='keras_mobilenet_v2', alpha=0.35)
    assert backbone.get_layer('block_5_expand').input.node.layer.name == 'after_block_4'
    read = {tensor.node.layer.name for tensor in backbone.get_layer('block_5_add').input}
    assert read == {'after_block_4', 'block_5_project_BN'}


def test_the_usual_endpoint_moves_with_the_layer_put_behind_it() -> None:
    new = {'type': 'BatchNormalization', 'name': 'block4_norm'}
    backbone = operated({'insert_after': 'block4_conv3', 'layers': [new]})
    assert backbone.output['3'].node.layer.name == 'block4_norm'
    assert backbone.output['4'].node.layer.name == 'block5_conv3'


def test_new_layers_stack_on_a_cut() -> None:
    new = {'type': 'Conv2D', 'name': 'extra', 'filters': 6, 'kernel_size': [3, 1], 'strides': 2}
    backbone = operated({'cut_after': 'block3_conv3', 'layers': [new]}, endpoints={'2': 'block3_conv3', '3': 'extra'})
    assert [layer.name for layer in backbone.layers[-2:]] == ['block3_conv3', 'extra']
    assert tuple(backbone.output_specs['3']) == (None, 8, 8, 6)


def test_a_cut_leaves_out_the_endpoints_behind_it(published: Published) -> None:
    backbone = operated({'cut_after': 'block3_conv3'})
    assert list(backbone.output_specs) == ['1', '2']
    assert not any(origin.get('new') for origin in load(backbone, published[1] / 'vgg.h5').values())


def test_a_layer_can_be_taken_out() -> None:
    backbone = operated({'replace': ['block4_conv3']})
    assert backbone.get_layer('block4_pool').input.node.layer.name == 'block4_conv2'
    assert backbone.output['3'].node.layer.name == 'block4_conv2'


@pytest.mark.parametrize(('kind', 'file'), [('keras_h5', 'vgg.weights.h5'), ('checkpoint', 'ckpt')])
def test_files_that_count_layers_are_refused_after_surgery(published: Published, kind: str, file: str) -> None:
    load(operated(), published[1] / file, kind)
    with pytest.raises(WeightsError, match='cannot be loaded'):
        load(operated(CLASSIC), published[1] / file, kind)


@pytest.mark.parametrize(
    ('operation', 'message'),
    [
        ({'cut_after': 'block3_con3'}, r"surgery\[0\]\.cut_after: no layer 'block3_con3' among the 19 of vgg16.*'block3_conv3'"),
        (
            {'replace': ['block1_conv1', 'block2_conv1']},
            r"'block2_conv1' does not follow 'block1_conv1' alone: 'block1_conv2' read",
        ),
        ({**CLASSIC, 'layers': [{**CONV5X5, 'name': 'block1_conv1'}]}, r"layers: 'block1_conv1' is the name of a layer already"),
        ({**CLASSIC, 'layers': [{**CONV5X5, 'activation': 'rellu'}]}, r'the layers do not fit together: .*rellu'),
        (
            {'cut_after': 'block3_conv1', 'layers': [CONV5X5]},
            r"no endpoint reads 'block1_conv5x5'.*endpoints: \{'4': block1_conv5x5\}",
        ),
    ],
)
def test_slips_are_told_with_their_place(operation: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        operated(operation)
