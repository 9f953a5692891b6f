"""Checkpoints of TensorFlow 1, SavedModels, and telling what a file is."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stagetrain.errors import WeightsError
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.weights import assign, recognise, sources

ARRAYS = {
    'Scope/Conv2d_1/weights': np.arange(36, dtype=np.float32).reshape(3, 3, 2, 2),
    'Scope/Conv2d_1/biases': np.array([5.0, 6.0], np.float32),
    'Scope/Conv2d_1/weights/Momentum': np.zeros([3, 3, 2, 2], np.float32),
    'global_step': np.array(7, np.int64),
}


def save_tf1(prefix: pathlib.Path, write_version: int) -> None:
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {name: tf.compat.v1.Variable(value) for name, value in ARRAYS.items()}
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver(variables, write_version=write_version).save(session, str(prefix), write_meta_graph=False)


def network() -> tf_keras.Model:
    tf_keras.backend.clear_session()
    return tf_keras.Sequential([tf_keras.Input((4, 4, 2)), tf_keras.layers.Conv2D(2, 3, name='conv_1')])


def load(model: Any, kind: str, path: pathlib.Path, **origin: Any) -> dict[str, dict[str, Any]]:
    return assign.initialise({'backbone': model}, {'backbone': ModuleOrigin(kind, str(path), **origin)})


@pytest.mark.parametrize('write_version', [tf.compat.v1.train.SaverDef.V1, tf.compat.v1.train.SaverDef.V2])
def test_a_checkpoint_of_tensorflow_1_loads_by_rules(write_version: int, tmp_path: pathlib.Path) -> None:
    save_tf1(tmp_path / 'model.ckpt', write_version)
    model = network()
    rules = {
        r'Scope/Conv2d_(\d+)/weights': r'backbone/conv_\1/kernel',
        r'Scope/Conv2d_(\d+)/biases': r'backbone/conv_\1/bias',
    }
    lineage = load(model, 'tf1_checkpoint', tmp_path / 'model.ckpt', rules=rules)
    np.testing.assert_array_equal(model.layers[0].kernel, ARRAYS['Scope/Conv2d_1/weights'])
    assert model.layers[0].bias.numpy().tolist() == [5.0, 6.0]
    assert lineage['backbone/conv_1/kernel']['key'] == 'Scope/Conv2d_1/weights'


def test_without_rules_names_must_be_those_of_the_network(tmp_path: pathlib.Path) -> None:
    save_tf1(tmp_path / 'model.ckpt', tf.compat.v1.train.SaverDef.V2)
    with pytest.raises(WeightsError, match=r'backbone: 2 of 2 variables cannot be loaded .*conv_1/bias: not in the source'):
        load(network(), 'tf1_checkpoint', tmp_path / 'model.ckpt')


def test_an_object_based_checkpoint_is_not_one_of_tensorflow_1(tmp_path: pathlib.Path) -> None:
    prefix = tf.train.Checkpoint(backbone=network()).write(str(tmp_path / 'ckpt'))
    with pytest.raises(WeightsError, match='an object-based checkpoint, not one of TensorFlow 1; name it as `checkpoint`'):
        sources.read_tf1_checkpoint(prefix)


def test_a_saved_model_loads_by_the_variables_own_names(tmp_path: pathlib.Path) -> None:
    saved = network()
    saved.save(tmp_path / 'saved', save_format='tf')
    model = network()
    model.layers[0].kernel.assign(tf.zeros_like(model.layers[0].kernel))
    lineage = load(model, 'saved_model', tmp_path / 'saved')
    np.testing.assert_array_equal(model.layers[0].kernel, saved.layers[0].kernel)
    assert lineage['backbone/conv_1/kernel']['key'] == 'conv_1/kernel'


def test_a_saved_model_of_a_whole_detector_loads_by_path(tmp_path: pathlib.Path) -> None:
    whole = tf.Module()
    whole.model = tf.Module()
    whole.model.backbone = network()
    tf.saved_model.save(whole, str(tmp_path / 'saved'))
    model = network()
    lineage = load(model, 'saved_model', tmp_path / 'saved')
    np.testing.assert_array_equal(model.layers[0].kernel, whole.model.backbone.layers[0].kernel)
    assert re.fullmatch(r'model/backbone/layer.*/kernel', lineage['backbone/conv_1/kernel']['key'])


def test_a_folder_without_variables_is_no_saved_model(tmp_path: pathlib.Path) -> None:
    with pytest.raises(WeightsError, match=r'no SavedModel \(.*variables\.index is missing\); expected the folder that holds'):
        sources.read_saved_model(tmp_path)


def test_a_checkpoint_that_claims_more_than_it_holds_is_refused(tmp_path: pathlib.Path) -> None:
    save_tf1(tmp_path / 'big.ckpt', tf.compat.v1.train.SaverDef.V2)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.Variable(np.ones([2**23], np.float32))
        session.run(variable.initializer)
        tf.compat.v1.train.Saver([variable]).save(session, str(tmp_path / 'big.ckpt'), write_meta_graph=False)
    (tmp_path / 'big.ckpt.data-00000-of-00001').write_bytes(bytes(10))
    with pytest.raises(WeightsError, match=r'big\.ckpt claims 33554432 bytes in a file of 10; it is damaged or forged'):
        sources.read_tf1_checkpoint(tmp_path / 'big.ckpt')


def test_what_a_file_is_shows_in_it(tmp_path: pathlib.Path) -> None:
    save_tf1(tmp_path / 'model.ckpt', tf.compat.v1.train.SaverDef.V2)
    model = network()
    model.save_weights(tmp_path / 'net.weights.h5')
    model.save(tmp_path / 'saved', save_format='tf')
    prefix = pathlib.Path(tf.train.Checkpoint(backbone=model).write(str(tmp_path / 'ckpt')))
    found = {
        path.name: recognise.read_any(path)
        for path in (tmp_path / 'model.ckpt', tmp_path / 'net.weights.h5', tmp_path / 'saved', prefix)
    }
    assert {name: kind for name, (kind, _) in found.items()} == {
        'model.ckpt': 'checkpoint',
        'net.weights.h5': 'keras_h5',
        'saved': 'saved_model',
        'ckpt': 'checkpoint',
    }
    assert sorted(found['model.ckpt'][1]) == sorted(ARRAYS)
    assert 'conv_1/kernel' in found['saved'][1]
    assert [name for name in found['ckpt'][1] if name.endswith('kernel')] == ['backbone/layer_with_weights-0/kernel']


def test_nothing_and_a_stage_without_checkpoints_are_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'checkpoints').mkdir()
    with pytest.raises(WeightsError, match='this stage has no checkpoint yet'):
        recognise.read_any(tmp_path)
    with pytest.raises(WeightsError, match=r'gone: no such weights; expected a \.h5'):
        recognise.read_any(tmp_path / 'gone')


STRANGE = ('lr[0.1]', 'a*b?', 'back\\slash')


@pytest.mark.parametrize('name', STRANGE)
@pytest.mark.parametrize('write_version', [tf.compat.v1.train.SaverDef.V1, tf.compat.v1.train.SaverDef.V2])
def test_a_checkpoint_of_tensorflow_1_may_have_any_name(write_version: int, name: str, tmp_path: pathlib.Path) -> None:
    save_tf1(tmp_path / 'model.ckpt', write_version)
    (tmp_path / name).mkdir()
    for file in tmp_path.glob('model.ckpt*'):
        file.rename(tmp_path / name / file.name.replace('model', name))
    assert set(sources.read_tf1_checkpoint(tmp_path / name / f'{name}.ckpt')) == set(ARRAYS)


@pytest.mark.parametrize('name', STRANGE)
def test_checkpoints_and_saved_models_lie_in_folders_of_any_name(name: str, tmp_path: pathlib.Path) -> None:
    model = network()
    folder = tmp_path / name
    tf.saved_model.save(model, str(tmp_path / 'saved'))
    (tmp_path / 'saved').rename(folder)
    assert 'conv_1/kernel' in sources.read_saved_model(folder)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(backbone=model), str(tmp_path / 'several'), max_to_keep=2)
    for number in (1, 2):
        manager.save(number)
    (tmp_path / 'several').rename(folder / 'several')
    newest = sources.checkpoint_prefix(folder / 'several')  # Named in the file `checkpoint`, by its former place.
    assert newest == str(folder / 'several' / 'ckpt-2')
    np.testing.assert_array_equal(sources.read_checkpoint(newest)['backbone/layer_with_weights-0/bias'], model.layers[0].bias)
    assert load(network(), 'checkpoint', folder / 'several')['backbone/conv_1/kernel']['kind'] == 'checkpoint'
    assert recognise.read_any(folder / 'several' / 'ckpt-1')[0] == 'checkpoint'


def test_an_index_that_names_more_bytes_than_there_is_memory_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a campaign of damaged files found: TensorFlow's reader of the index ends in `std::bad_alloc`."""
    prefix = tf.train.Checkpoint(a=tf.Variable([1.0])).write(str(tmp_path / 'ckpt'))

    def exhausted(_: object) -> None:
        raise MemoryError('std::bad_alloc')

    monkeypatch.setattr(sources, 'open_checkpoint', exhausted)
    with pytest.raises(WeightsError, match=r'ckpt: cannot be read as a TensorFlow checkpoint \(MemoryError: std::bad_alloc\)'):
        sources.read_checkpoint(prefix)
