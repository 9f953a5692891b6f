"""Weight files are read as arrays by name; what cannot be read is told with its path."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stagetrain.errors import WeightsError
from stagetrain.weights import sources


def small_network() -> tf_keras.Model:
    """Returns a convolution and a BatchNorm, with names of their own."""
    layers = [tf_keras.layers.Conv2D(2, 1, name='conv', input_shape=(4, 4, 3)), tf_keras.layers.BatchNormalization(name='bn')]
    return tf_keras.Sequential(layers)


def test_keras_h5_is_read_by_layer_and_variable(tmp_path: pathlib.Path) -> None:
    network = small_network()
    network.save_weights(tmp_path / 'w.h5')
    arrays = sources.read_keras_h5(tmp_path / 'w.h5')
    assert sorted(arrays) == ['bn/beta', 'bn/gamma', 'bn/moving_mean', 'bn/moving_variance', 'conv/bias', 'conv/kernel']
    np.testing.assert_array_equal(arrays['conv/kernel'], network.layers[0].kernel.numpy())


def test_a_whole_model_in_h5_is_read_too(tmp_path: pathlib.Path) -> None:
    network = small_network()
    network.save(tmp_path / 'model.h5')
    np.testing.assert_array_equal(sources.read_keras_h5(tmp_path / 'model.h5')['conv/bias'], [0.0, 0.0])


def test_unusable_h5_files_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(WeightsError, match=r'none\.h5: no such file'):
        sources.read_keras_h5(tmp_path / 'none.h5')
    (tmp_path / 'text.h5').write_text('weights')
    with pytest.raises(WeightsError, match=r'text\.h5: not a readable Keras \.h5'):
        sources.read_keras_h5(tmp_path / 'text.h5')
    with h5py.File(tmp_path / 'other.h5', 'w') as file:
        file['data'] = [1, 2]
    with pytest.raises(WeightsError, match=r"other\.h5: no attribute 'layer_names'.*found keys: \['data'\]"):
        sources.read_keras_h5(tmp_path / 'other.h5')


def test_a_truncated_h5_is_named(tmp_path: pathlib.Path) -> None:
    small_network().save_weights(tmp_path / 'w.h5')
    content = (tmp_path / 'w.h5').read_bytes()
    (tmp_path / 'w.h5').write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=r'w\.h5: not a readable Keras \.h5'):
        sources.read_keras_h5(tmp_path / 'w.h5')


def test_an_array_larger_than_its_file_can_hold_is_refused(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / 'bomb.h5', 'w') as file:
        file.attrs['layer_names'] = [b'a']
        file.create_group('a').attrs['weight_names'] = [b'kernel:0']
        file['a'].create_dataset('kernel:0', shape=(10**6, 10**3), dtype='f4')
    with pytest.raises(WeightsError, match=r'a/kernel:0 claims 4000000000 bytes in a file of'):
        sources.read_keras_h5(tmp_path / 'bomb.h5')


def write_checkpoint(prefix: pathlib.Path, value: float) -> str:
    return tf.train.Checkpoint(model=tf.train.Checkpoint(v=tf.Variable(value))).write(str(prefix))


def test_a_checkpoint_is_found_by_prefix_index_or_folder(tmp_path: pathlib.Path) -> None:
    prefix = write_checkpoint(tmp_path / 'ckpt-7', 3.0)
    for path in (prefix, f'{prefix}.index', tmp_path):
        assert sources.checkpoint_prefix(path) == str(tmp_path / 'ckpt-7')
    assert sources.read_checkpoint(prefix) == {'model/v': 3.0}


def test_optimizer_slots_are_left_out(tmp_path: pathlib.Path) -> None:
    variable = tf.Variable([1.0], name='v')
    optimizer = tf_keras.optimizers.legacy.SGD(0.1, momentum=0.9)
    optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    prefix = tf.train.Checkpoint(v=variable, optimizer=optimizer).write(str(tmp_path / 'ckpt'))
    assert not [key for key in sources.read_checkpoint(prefix) if 'momentum' in key.rsplit('/', 1)[-1] and key.startswith('v/')]


def test_unusable_checkpoints_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(WeightsError, match=r'none: no such checkpoint \(none\.index is missing\)'):
        sources.checkpoint_prefix(tmp_path / 'none')
    for number in (1, 2):
        write_checkpoint(tmp_path / f'ckpt-{number}', 1.0)
    with pytest.raises(WeightsError, match=r'expected one checkpoint in this folder, found 2; name one of'):
        sources.checkpoint_prefix(tmp_path)
    data = tmp_path / 'ckpt-1.data-00000-of-00001'
    data.write_bytes(b'')
    with pytest.raises(WeightsError, match=r'ckpt-1: cannot be read as a TensorFlow checkpoint'):
        sources.read_checkpoint(tmp_path / 'ckpt-1')
