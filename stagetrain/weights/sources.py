"""Weight files as arrays: nothing is deserialised, no layer is built, no code in a file runs.

For example:

    arrays = read_keras_h5('mobilenet_2_5_224_tf_no_top.h5')       # {'conv1/kernel': array, ...}
    arrays = read_checkpoint('run/ckpt-100')                        # {'backbone/layer_with_weights-0/kernel': array, ...}
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

import h5py
import numpy as np
import tensorflow as tf

from stagetrain.errors import WeightsError

_VALUE = '/.ATTRIBUTES/VARIABLE_VALUE'


def read_keras_h5(path: pathlib.Path | str) -> dict[str, np.ndarray]:
    """Reads a Keras `.h5` of weights, or of a whole model, as `layer/variable` -> array.

    Raises:
      WeightsError: no such file, no HDF5 file, or no Keras weights in it.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise WeightsError(f'{path}: no such file; expected a Keras .h5 of weights')
    try:
        with h5py.File(path, 'r') as file:
            root = file.get('model_weights', file)
            return dict(_layer_arrays(root, path))
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(
            f'{path}: not a readable Keras .h5 ({error}); expected a file saved by `model.save_weights`'
        ) from error


def _layer_arrays(root: h5py.Group, path: pathlib.Path) -> Iterator[tuple[str, np.ndarray]]:
    if 'layer_names' not in root.attrs:
        raise WeightsError(
            f"{path}: no attribute 'layer_names'; expected a Keras .h5 of weights (found keys: {sorted(root)[:5]})"
        )
    for layer in (_text(name) for name in root.attrs['layer_names']):
        for weight in (_text(name) for name in root[layer].attrs['weight_names']):
            dataset = root[layer][weight]
            if dataset.nbytes > path.stat().st_size * 1000:
                raise WeightsError(f'{path}: {layer}/{weight} claims {dataset.nbytes} bytes in a file of {path.stat().st_size}')
            yield f'{layer}/{weight.rsplit("/", 1)[-1].split(":")[0]}', np.asarray(dataset)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def checkpoint_prefix(path: pathlib.Path | str) -> str:
    """Returns the prefix of a checkpoint given by prefix, `.index` file or folder.

    Raises:
      WeightsError: nothing there, or a folder with several checkpoints and no `checkpoint` file that names one.
    """
    path = pathlib.Path(str(path).removesuffix('.index'))
    if path.is_dir():
        latest = tf.train.latest_checkpoint(str(path))
        prefixes = sorted(str(p).removesuffix('.index') for p in path.glob('*.index'))
        if latest or len(prefixes) == 1:
            return latest or prefixes[0]
        raise WeightsError(f'{path}: expected one checkpoint in this folder, found {len(prefixes)}; name one of {prefixes[:5]}')
    if not path.with_name(path.name + '.index').is_file():
        raise WeightsError(f'{path}: no such checkpoint ({path.name}.index is missing)')
    return str(path)


def read_checkpoint(path: pathlib.Path | str) -> dict[str, np.ndarray]:
    """Reads the variables of an object-based TensorFlow checkpoint as object path -> array; optimizer slots are left out.

    Raises:
      WeightsError: no such checkpoint, or one that cannot be read.
    """
    prefix = checkpoint_prefix(path)
    try:
        reader = tf.train.load_checkpoint(prefix)
        keys = [key for key in reader.get_variable_to_shape_map() if key.endswith(_VALUE) and '.OPTIMIZER_SLOT' not in key]
        return {key.removesuffix(_VALUE): reader.get_tensor(key) for key in sorted(keys)}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise WeightsError(f'{prefix}: cannot be read as a TensorFlow checkpoint ({type(error).__name__}: {error})') from error


def object_paths(root: object, prefix: str) -> Mapping[int, tuple[str, ...]]:
    """Returns id(variable) -> all paths under which a checkpoint may hold it, below `prefix`.

    A functional model offers each layer as `layer-3` and as `layer_with_weights-1`; which one a checkpoint uses depends on how it
    was written.
    """
    paths: dict[int, list[str]] = {}

    def visit(node: object, path: str, above: frozenset[int]) -> None:
        if isinstance(node, tf.Variable):
            paths.setdefault(id(node), []).append(path)
            return
        has_children = isinstance(node, (tf.Module, tf.train.Checkpoint)) or hasattr(node, '_self_setattr_tracking')
        if id(node) in above or not has_children:
            return
        for name, child in tf.train.TrackableView(node).children(node).items():
            if name not in ('keras_api', '_functional_api_keras'):
                visit(child, f'{path}/{name}', above | {id(node)})

    visit(root, prefix, frozenset())
    return {key: tuple(value) for key, value in paths.items()}
