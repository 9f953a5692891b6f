"""A damaged heap of texts is refused before the HDF5 library walks it forever."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest

from stagetrain.errors import WeightsError
from stagetrain.weights.hdf5_heaps import require_sound_heaps
from stagetrain.weights.keras_files import read_keras_h5


@pytest.fixture
def weight_file(tmp_path: pathlib.Path) -> pathlib.Path:
    """A `.h5` whose names of layers and weights are texts of variable length."""
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.attrs['layer_names'] = ['conv1']
        file.create_group('conv1').attrs['weight_names'] = ['conv1/kernel:0']
        file['conv1'].create_dataset('conv1/kernel:0', data=np.ones(3, np.float32))
    return tmp_path / 'a.h5'


def first_free_object(content: bytes) -> int:
    """Returns where the free space in the first heap begins."""
    place = content.index(b'GCOL') + 16
    while content[place : place + 2] != b'\0\0':
        place += 16 + (int.from_bytes(content[place + 8 : place + 16], 'little') + 7) // 8 * 8
    return place


def test_a_sound_file_is_read(weight_file: pathlib.Path) -> None:
    assert weight_file.read_bytes().count(b'GCOL') >= 1
    assert list(read_keras_h5(weight_file)) == ['conv1/kernel']


@pytest.mark.parametrize('size', [0, 8, 2**63, 2**64 - 1])
def test_an_object_that_leads_nowhere_is_refused(weight_file: pathlib.Path, size: int) -> None:
    content = bytearray(weight_file.read_bytes())
    place = first_free_object(content) + 8
    content[place : place + 8] = size.to_bytes(8, 'little')
    weight_file.write_bytes(content)
    with pytest.raises(WeightsError, match=rf'a\.h5: not a readable .*its global heap at byte .* has an object of {size} bytes'):
        read_keras_h5(weight_file)


def test_numbers_that_look_like_a_heap_by_chance_are_no_heap() -> None:
    require_sound_heaps(b'GCOL' + bytes(200))
