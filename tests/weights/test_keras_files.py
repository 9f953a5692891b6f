"""Files that Keras itself saved, and files that were made to harm; all are read as arrays alone."""

from __future__ import annotations

import json
import pathlib
import zipfile
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras

from stagetrain.errors import WeightsError
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.weights import assign, keras_files, names


def network(*, prefix: str = '', width: int = 4) -> tf_keras.Model:
    """Two convolutions of equal shape, so that mixing them up is not seen by shape alone."""
    tf_keras.backend.clear_session()
    inputs = tf_keras.Input((8, 8, width))
    outputs = tf_keras.layers.Conv2D(width, 3, name=f'{prefix}first')(inputs)
    outputs = tf_keras.layers.BatchNormalization(name=f'{prefix}norm')(outputs)
    return tf_keras.Model(inputs, tf_keras.layers.Conv2D(width, 3, name=f'{prefix}second')(outputs))


def scrambled(model: tf_keras.Model) -> tf_keras.Model:
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def values(model: tf_keras.Model) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in names.named_variables({'net': model}).items()}


def load(model: tf_keras.Model, path: pathlib.Path, **origin: Any) -> dict[str, dict[str, Any]]:
    return assign.initialise({'net': model}, {'net': ModuleOrigin('keras_h5', str(path), **origin)})


@pytest.mark.parametrize('suffix', ['.h5', '.weights.h5', '.keras'])
def test_all_files_of_keras_load_into_a_network_built_anew(suffix: str, tmp_path: pathlib.Path) -> None:
    saved = scrambled(network())
    path = tmp_path / f'net{suffix}'
    saved.save(path) if suffix == '.keras' else saved.save_weights(path)
    expected = values(saved)
    found = network()
    lineage = load(found, path)
    assert set(lineage) == set(expected)
    for name, value in values(found).items():
        np.testing.assert_array_equal(value, expected[name])


def test_keras_3_says_the_names_of_layers_in_its_files(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'net.weights.h5'
    with h5py.File(path, 'w') as file:
        for number, layer in enumerate(['second', 'first']):
            group = file.create_group(f'layers/conv2d_{number}/vars' if number else 'layers/conv2d/vars')
            group.attrs['name'] = layer
            group['0'] = np.full([3, 3, 4, 4], number, np.float32)
            group['1'] = np.full([4], number, np.float32)
    found = network()
    load(found, path, skip_mismatch=True)
    assert values(found)['net/first/bias'].tolist() == [1, 1, 1, 1]
    assert values(found)['net/second/bias'].tolist() == [0, 0, 0, 0]


def test_an_archive_with_other_names_is_not_taken_by_position(tmp_path: pathlib.Path) -> None:
    scrambled(network(prefix='other_')).save(tmp_path / 'net.keras')
    with pytest.raises(WeightsError, match=r'net: 8 of 8 variables cannot be loaded.*net/first/bias: not in the source'):
        load(network(), tmp_path / 'net.keras')


def test_the_optimizer_is_left_out(tmp_path: pathlib.Path) -> None:
    model = network()
    model.compile('sgd', 'mse')
    model.save(tmp_path / 'net.keras')
    found = keras_files.read_keras_h5(tmp_path / 'net.keras')
    assert sorted(found)[:3] == ['first/vars/0', 'first/vars/1', 'norm/vars/0']
    assert len(found) == 8


def test_rules_take_names_as_they_stand_in_the_file(tmp_path: pathlib.Path) -> None:
    scrambled(network(prefix='other_')).save_weights(tmp_path / 'net.h5')
    found = network()
    lineage = load(found, tmp_path / 'net.h5', rules={r'other_(\w+)/(\w+)': r'net/\1/\2'})
    assert lineage['net/first/kernel']['key'] == 'other_first/kernel'
    np.testing.assert_array_equal(
        values(found)['net/norm/gamma'], keras_files.read_keras_h5(tmp_path / 'net.h5')['other_norm/gamma']
    )


def test_least_coverage_is_enforced(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / 'net.h5', 'w') as file:
        write_layer(file, 'first', {'kernel': np.zeros([3, 3, 4, 4], np.float32), 'bias': np.zeros([4], np.float32)})
    with pytest.raises(
        WeightsError, match=r'net: 2 of 8 variables can be loaded from .*net\.h5; its `require` asks for 90% at least'
    ):
        load(network(), tmp_path / 'net.h5', skip_mismatch=True, require=0.9)
    lineage = load(network(), tmp_path / 'net.h5', skip_mismatch=True, require=0.25)
    assert [name for name, entry in lineage.items() if entry['kind'] == 'keras_h5'] == ['net/first/bias', 'net/first/kernel']


# ---- files that were damaged, or made to harm ----


def write_layer(file: h5py.File, layer: str, arrays: dict[str, np.ndarray]) -> h5py.Group:
    file.attrs['layer_names'] = [layer]
    group = file.create_group(layer)
    group.attrs['weight_names'] = [f'{layer}/{name}:0' for name in arrays]
    for name, value in arrays.items():
        group[f'{layer}/{name}:0'] = value
    return group


def refused(path: pathlib.Path, match: str) -> None:
    with pytest.raises(WeightsError, match=match):
        keras_files.read_keras_h5(path)


def test_a_shape_that_the_file_cannot_hold_is_refused_before_it_is_read(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        group = write_layer(file, 'x', {'bias': np.zeros([1])})
        group.attrs['weight_names'] = ['x/kernel:0']
        group.create_dataset('x/kernel:0', shape=[2**20, 2**20], dtype='f4')
    refused(tmp_path / 'a.h5', r'a\.h5: /x/x/kernel:0 claims 4398046511104 bytes in a file of \d+ that holds 0 of it')


def test_a_compressed_array_beyond_all_reason_is_refused(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        group = write_layer(file, 'x', {})
        group.attrs['weight_names'] = ['kernel']
        group.create_dataset('kernel', shape=[2**16, 2**16], dtype='f4', chunks=(256, 256), compression='gzip')
    refused(tmp_path / 'a.h5', r'a\.h5: /x/kernel claims 17179869184 bytes in a file of \d+; it is damaged or forged')


def test_one_array_under_many_names_counts_many_times(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        group = write_layer(file, 'x', {'kernel': np.zeros([2**20], np.float32)})
        group.attrs['weight_names'] = ['x/kernel:0'] * 100
    refused(tmp_path / 'a.h5', r'claims \d+ bytes in a file of \d+; it is damaged or forged')


def test_a_link_into_another_file_is_refused(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / 'secret.h5', 'w') as file:
        file['data'] = np.zeros([3])
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        group = write_layer(file, 'x', {})
        group.attrs['weight_names'] = ['kernel']
        group['kernel'] = h5py.ExternalLink('secret.h5', '/data')
    refused(tmp_path / 'a.h5', r'/x/kernel is a link into another file')


def test_text_in_place_of_numbers_is_refused(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        write_layer(file, 'x', {'kernel': np.array([b'text'])})
    refused(tmp_path / 'a.h5', r'/x/x/kernel:0 holds \|S4; expected numbers')


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / 'a.keras', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('model.weights.h5', bytes(2**26))
    refused(tmp_path / 'a.keras', r'a\.keras: model\.weights\.h5 claims 67108864 bytes in a file of \d+; it is damaged or forged')


def test_an_archive_without_weights_is_refused(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / 'a.keras', 'w') as archive:
        archive.writestr('config.json', '{}')
    refused(tmp_path / 'a.keras', r"no model\.weights\.h5 in this archive; expected a \.h5.*found: \['config\.json'\]")


@pytest.mark.parametrize('config', ['', '[]', '{"config": 3}', json.dumps({'config': {'layers': [{}]}})])
def test_an_archive_with_a_broken_description_is_named(config: str, tmp_path: pathlib.Path) -> None:
    network().save(tmp_path / 'whole.keras')
    with zipfile.ZipFile(tmp_path / 'whole.keras') as whole, zipfile.ZipFile(tmp_path / 'a.keras', 'w') as archive:
        archive.writestr('model.weights.h5', whole.read('model.weights.h5'))
        archive.writestr('config.json', config)
    refused(tmp_path / 'a.keras', r'a\.keras: not a readable Keras \.h5')


def test_hdf5_of_something_else_is_refused(tmp_path: pathlib.Path) -> None:
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file['measured'] = np.zeros([3])
    refused(tmp_path / 'a.h5', r"a\.h5: no attribute 'layer_names'; expected a \.h5.*found keys: \['measured'\]")


@pytest.mark.parametrize('keep', [0, 100, 3000])
def test_a_truncated_file_is_named(keep: int, tmp_path: pathlib.Path) -> None:
    network().save_weights(tmp_path / 'a.h5')
    (tmp_path / 'a.h5').write_bytes((tmp_path / 'a.h5').read_bytes()[:keep])
    refused(tmp_path / 'a.h5', r'a\.h5: not a readable Keras \.h5')
