"""Files of weights, and what reads their arrays."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable

import numpy as np

from scripts.fuzz import templates
from scripts.fuzz.kind import Kind


def make_h5(folder: pathlib.Path) -> pathlib.Path:
    """A Keras `.h5` of two layers."""
    import h5py

    with h5py.File(folder / 'a.h5', 'w') as file:
        file.attrs['layer_names'] = [b'conv1', b'bn']
        for layer, names in (('conv1', ('kernel:0',)), ('bn', ('gamma:0', 'beta:0'))):
            group = file.create_group(layer)
            group.attrs['weight_names'] = [f'{layer}/{name}'.encode() for name in names]
            for name in names:
                group.create_dataset(f'{layer}/{name}', data=np.arange(12, dtype=np.float32))
    return folder / 'a.h5'


def use_h5(damaged: pathlib.Path) -> None:
    """Reads the arrays."""
    from stagetrain.weights import sources

    sources.read_keras_h5(damaged)


def make_checkpoint(suffix: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """A TensorFlow checkpoint whose damaged part is the index or the data."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        shutil.copytree(templates.checkpoint(), folder, dirs_exist_ok=True)
        return folder / f'ckpt{suffix}'

    return make


def use_checkpoint(damaged: pathlib.Path) -> None:
    """Reads the arrays of a checkpoint."""
    from stagetrain.weights import sources

    sources.read_checkpoint(damaged.parent / 'ckpt')


def _h5_bomb(folder: pathlib.Path) -> bytes:
    import h5py

    make_h5(folder)
    with h5py.File(folder / 'a.h5', 'a') as file:
        del file['conv1/conv1/kernel:0']
        file['conv1'].create_dataset(
            'conv1/kernel:0', shape=(1 << 20, 1 << 16), chunks=(1 << 10, 1 << 10), dtype='f4', compression='gzip'
        )
    return (folder / 'a.h5').read_bytes()


def _h5_external(folder: pathlib.Path) -> bytes:
    import h5py

    make_h5(folder)
    with h5py.File(folder / 'a.h5', 'a') as file:
        del file['conv1/conv1/kernel:0']
        file['conv1'].create_dataset('conv1/kernel:0', shape=(8,), dtype='u1', external=[('/etc/passwd', 0, 8)])
    return (folder / 'a.h5').read_bytes()


KINDS = {
    'h5': Kind(make_h5, use_h5, {'false shape': _h5_bomb, 'external file': _h5_external}, needs_tensorflow=True),
    'checkpoint_index': Kind(make_checkpoint('.index'), use_checkpoint, needs_tensorflow=True),
    'checkpoint_data': Kind(make_checkpoint('.data-00000-of-00001'), use_checkpoint, needs_tensorflow=True),
}
