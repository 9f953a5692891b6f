"""Every variable gets its value by name and its origin in the lineage; a load that does not fit is refused."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stagetrain import files
from stagetrain.config.builtin import keras_backbones as keras_options
from stagetrain.config.builtin.faster_rcnn import SPEC
from stagetrain.detectors import keras_backbones
from stagetrain.detectors.faster_rcnn import FasterRcnn
from stagetrain.errors import WeightsError
from stagetrain.images.normalization import normalize
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.weights import assign, names
from tests.tiny import Trained
from tests.weights.test_names import MODULES, build

pytestmark = pytest.mark.numbers

H5 = 'mobilenet_2_5_224_tf_no_top.h5'


def values(detector: FasterRcnn, module: str) -> dict[str, np.ndarray]:
    """Returns the present values of a module's variables."""
    return {name: v.numpy() for name, v in names.named_variables({module: detector.modules[module]}).items()}


def randomise(module: Any) -> None:
    """Gives every variable other values than a fresh one has."""
    random = np.random.default_rng(0)
    for variable in module.variables:
        variable.assign(random.uniform(0.5, 1.5, size=variable.shape))


@pytest.fixture
def h5(tmp_path: pathlib.Path) -> tuple[pathlib.Path, dict[str, np.ndarray]]:
    """A `.h5` of a MobileNet with values of its own, its layers in reverse order, and these values by name."""
    network = tf_keras.applications.MobileNet(input_shape=(64, 64, 3), alpha=0.25, include_top=False, weights=None)
    randomise(network)
    network.save_weights(tmp_path / 'w.h5')
    with h5py.File(tmp_path / 'w.h5', 'r+') as file:
        file.attrs['layer_names'] = file.attrs['layer_names'][::-1]
    return tmp_path / 'w.h5', {
        f'{layer.name}/{v.name.rsplit("/", 1)[1][:-2]}': v.numpy() for layer in network.layers for v in layer.variables
    }


def test_h5_is_assigned_by_name_into_a_frozen_network(h5: tuple[pathlib.Path, dict[str, np.ndarray]]) -> None:
    path, expected = h5
    detector = build(('backbone', 'decoder'))
    for leaf in names.leaves({'backbone': detector.modules['backbone']})[::2]:
        leaf.layer.trainable = False
    lineage = assign.initialise(detector.modules, {'backbone': ModuleOrigin('keras_h5', str(path), digest='abc')})
    found = values(detector, 'backbone')
    assert len(found) == len(expected) == 135
    for name, value in expected.items():
        np.testing.assert_array_equal(found[f'backbone/{name}'], value)
    assert lineage['backbone/conv1/kernel'] == {'kind': 'keras_h5', 'path': str(path), 'digest': 'abc', 'key': 'conv1/kernel'}
    assert sorted(lineage) == sorted(names.named_variables(detector.modules))
    assert all(lineage[name] == {'kind': 'fresh'} for name in values(detector, 'decoder'))


@pytest.mark.slow
def test_published_weights_give_the_published_networks_features(weights: pathlib.Path) -> None:
    options = keras_options.KerasMobileNetV1(alpha=0.25)
    network = keras_backbones.mobilenet_v1(tf_keras.layers.InputSpec(shape=[None, 224, 224, 3]), options, 4e-5)
    assign.initialise({'backbone': network}, {'backbone': ModuleOrigin('keras_h5', str(weights / H5))})
    published = tf_keras.applications.MobileNet(
        input_shape=(224, 224, 3), alpha=0.25, include_top=False, weights=str(weights / H5)
    )
    image = np.random.default_rng(0).uniform(0, 255, size=[1, 224, 224, 3]).astype(np.float32)
    theirs = published(tf_keras.applications.mobilenet.preprocess_input(image.copy()), training=False)
    ours = network(normalize(tf.constant(image), 'scale_to_one'), training=False)['5']
    assert float(tf.reduce_max(theirs)) > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def faults(path: pathlib.Path, **origin: Any) -> tuple[FasterRcnn, dict[str, Any]]:
    """Loads a quarter-width `.h5` into a half-width backbone."""
    wide = {'type': 'keras_mobilenet_v1', 'keras_mobilenet_v1': {'alpha': 0.5}}
    detector = build(('backbone', 'decoder'), backbone=wide)
    return detector, assign.initialise(detector.modules, {'backbone': ModuleOrigin('keras_h5', str(path), **origin)})


def test_other_shapes_are_refused(h5: tuple[pathlib.Path, dict[str, np.ndarray]]) -> None:
    message = r'backbone: 135 of 135 variables cannot be loaded from .*w\.h5: backbone/conv1/kernel|shape \(8,\) in the source'
    with pytest.raises(WeightsError, match=message):
        faults(h5[0])
    with pytest.raises(WeightsError, match='skip_mismatch: true'):
        faults(h5[0])


def test_skipping_everything_is_refused(h5: tuple[pathlib.Path, dict[str, np.ndarray]]) -> None:
    with pytest.raises(WeightsError, match='no variable at all could be loaded'):
        faults(h5[0], skip_mismatch=True)


def test_what_skip_mismatch_leaves_out_is_recorded(tmp_path: pathlib.Path) -> None:
    source = build(MODULES)
    randomise(source.modules['detection_head'])
    prefix = tf.train.Checkpoint(detection_head=source.modules['detection_head']).write(str(tmp_path / 'ckpt'))
    other = FasterRcnn(source.model, num_classes=7, modules=MODULES, seed=1)
    origin = ModuleOrigin('checkpoint', prefix)
    with pytest.raises(WeightsError, match=r'detection_head: 4 of 10 variables.*shape \(4,\) in the source.*\(8,\) expected'):
        assign.initialise(other.modules, {'detection_head': origin})
    before = values(FasterRcnn(source.model, num_classes=7, modules=MODULES, seed=1), 'detection_head')
    lineage = assign.initialise(other.modules, {'detection_head': dataclasses.replace(origin, skip_mismatch=True)})
    skipped = {name: entry for name, entry in lineage.items() if 'skipped' in entry}
    assert len(skipped) == 4 and {entry['kind'] for entry in skipped.values()} == {'fresh'}
    after, wanted = values(other, 'detection_head'), values(source, 'detection_head')
    for name, value in after.items():
        np.testing.assert_array_equal(value, before[name] if name in skipped else wanted[name])


def test_a_variable_that_the_source_lacks_is_named_with_the_nearest(tmp_path: pathlib.Path) -> None:
    network = tf_keras.Sequential([tf_keras.layers.Conv2D(8, 3, use_bias=False, name='conv1', input_shape=(64, 64, 3))])
    network.save_weights(tmp_path / 'w.h5')
    detector = build(('backbone', 'decoder'))
    with pytest.raises(WeightsError, match=r'134 of 135 variables.*backbone/conv1_bn/beta: not in the source\.'):
        assign.initialise(detector.modules, {'backbone': ModuleOrigin('keras_h5', str(tmp_path / 'w.h5'))})


@pytest.mark.parametrize('root', ['items', 'model'])
def test_a_model_garden_checkpoint_is_matched_by_object_path(tmp_path: pathlib.Path, root: str) -> None:
    source, target = build(MODULES), build(MODULES)
    for module in source.modules.values():
        randomise(module)
    items = {
        name: [module] if root == 'model' and name == 'detection_head' else module for name, module in source.modules.items()
    }
    holder = tf.train.Checkpoint(**items) if root == 'items' else tf.train.Checkpoint(model=tf.train.Checkpoint(**items))
    prefix = holder.write(str(tmp_path / 'ckpt'))
    lineage = assign.initialise(target.modules, {name: ModuleOrigin('checkpoint', prefix) for name in MODULES})
    for module in MODULES:
        wanted = values(source, module)
        for name, value in values(target, module).items():
            np.testing.assert_array_equal(value, wanted[name])
    assert {entry['kind'] for entry in lineage.values()} == {'checkpoint'}
    assert lineage['detection_head/fcs/0/kernel']['key'].startswith(
        'detection_head/' if root == 'items' else 'model/detection_head/0/'
    )


# ---- from a stage's checkpoint ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_stages_checkpoint_is_read_by_canonical_name_and_checked(joint: Trained, tmp_path: pathlib.Path) -> None:
    checkpoint = joint.checkpoint
    detector = build(MODULES)
    origin = ModuleOrigin('stage', str(checkpoint), 'joint')
    lineage = assign.initialise(detector.modules, dict.fromkeys(MODULES, origin))
    digests = assign.digests(names.named_variables(detector.modules))
    described = files.read_json(checkpoint / 'variables.json')
    assert digests == {name: entry['digest'] for name, entry in described.items()}
    assert lineage['backbone/conv1/kernel'] == {
        'kind': 'stage',
        'path': origin.path,
        'stage': 'joint',
        'key': 'backbone/conv1/kernel',
    }
    shutil.copytree(checkpoint, tmp_path / 'copy')
    described['backbone/conv1/kernel']['digest'] = '0' * 64
    files.write_json(tmp_path / 'copy' / 'variables.json', described)
    with pytest.raises(WeightsError, match='1 variables have other bits than were committed, e.g. backbone/conv1/kernel'):
        assign.read_stage_checkpoint(tmp_path / 'copy')
    (tmp_path / 'copy' / 'ckpt.index').write_bytes(b'')
    with pytest.raises(WeightsError, match='copy: cannot be read .*run the stage again'):
        assign.read_stage_checkpoint(tmp_path / 'copy')
    with pytest.raises(WeightsError, match='gone: cannot be read .*run the stage again'):
        assign.read_stage_checkpoint(tmp_path / 'gone')


def test_digests_tell_bits_types_and_shapes_apart() -> None:
    zero = np.zeros([2], np.float32)
    assert assign.digest(zero) == assign.digest(zero.copy())
    assert len({assign.digest(array) for array in (zero, -zero, zero.reshape(1, 2), zero.astype(np.int32))}) == 4


def test_module_digests_change_with_any_variable() -> None:
    one = assign.module_digests({'a/x': '1', 'a/y': '2', 'b/x': '3'})
    other = assign.module_digests({'a/x': '1', 'a/y': '4', 'b/x': '3'})
    assert one['b'] == other['b'] and one['a'] != other['a']


def test_classes_are_taken_by_their_names_from_a_stages_checkpoint(joint: Trained) -> None:
    order = {'take': [0, 3, 1, 2], 'num_classes': 4, 'layers': SPEC.class_layers}
    detector = build(MODULES)
    origin = ModuleOrigin('run', str(joint.checkpoint), 'joint', class_order=order)
    stored = assign.read_stage_checkpoint(joint.checkpoint)
    lineage = assign.initialise(detector.modules, {'detection_head': origin})
    found = values(detector, 'detection_head')
    kernel, boxes = 'detection_head/classifier/kernel', 'detection_head/box_regressor/bias'
    np.testing.assert_array_equal(found[kernel], stored[kernel][:, [0, 3, 1, 2]])
    np.testing.assert_array_equal(found[boxes].reshape(4, 4), stored[boxes].reshape(4, 4)[[0, 3, 1, 2]])
    np.testing.assert_array_equal(found['detection_head/fcs/0/kernel'], stored['detection_head/fcs/0/kernel'])
    assert lineage[kernel]['class_order'] == order and 'class_order' not in lineage['detection_head/fcs/0/kernel']


def test_a_stages_checkpoint_has_its_classes_beside_it(joint: Trained) -> None:
    assert files.read_json(joint.checkpoint / 'classes.json') == ['circle', 'square', 'triangle']
