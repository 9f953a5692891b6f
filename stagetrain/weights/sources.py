"""Weight files as arrays: nothing is deserialised, no layer is built, no code in a file runs.

For example:

    arrays = read('keras_h5', 'mobilenet_2_5_224_tf_no_top.h5')    # {'conv1/kernel': array, ...}
    arrays = read_checkpoint('run/ckpt-100')                        # {'backbone/layer_with_weights-0/kernel': array, ...}
"""

from __future__ import annotations

import collections
import contextlib
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorflow.core.protobuf import trackable_object_graph_pb2

from stagetrain.config import specs
from stagetrain.errors import WeightsError
from stagetrain.weights.keras_files import read_keras_h5 as read_keras_h5
from stagetrain.weights.keras_files import require_plausible
from stagetrain.weights.plain_paths import plain_prefix

_VALUE = '/.ATTRIBUTES/VARIABLE_VALUE'
_OBJECT_GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'


def read(kind: str, path: pathlib.Path | str) -> dict[str, np.ndarray]:
    """Reads a weight file as key -> array.

    Args:
      kind: `keras_h5`, `checkpoint`, `saved_model`, `tf1_checkpoint`, or one that a plugin registered.
      path: the file, folder or prefix.

    Raises:
      WeightsError: it is not there, not of that kind, or damaged.
    """
    return specs.load_implementation(specs.source(kind).implementation)(path)


def checkpoint_prefix(path: pathlib.Path | str) -> str:
    """Returns the prefix of a checkpoint given by prefix, `.index` file or folder.

    Raises:
      WeightsError: nothing there, or a folder with several checkpoints and no `checkpoint` file that names one.
    """
    path = pathlib.Path(str(path).removesuffix('.index'))
    if path.is_dir():
        latest = _latest(path)
        prefixes = sorted(str(p).removesuffix('.index') for p in path.glob('*.index'))
        if latest or len(prefixes) == 1:
            return latest or prefixes[0]
        raise WeightsError(f'{path}: expected one checkpoint in this folder, found {len(prefixes)}; name one of {prefixes[:5]}')
    if not path.with_name(path.name + '.index').is_file():
        raise WeightsError(f'{path}: no such checkpoint ({path.name}.index is missing)')
    return str(path)


def _latest(folder: pathlib.Path) -> str | None:
    """Returns the prefix that the file `checkpoint` in a folder names, there or wherever it was written; None without one.

    `tf.train.latest_checkpoint` takes the name for a pattern.
    """
    state = tf.train.get_checkpoint_state(str(folder))
    named = pathlib.Path(state.model_checkpoint_path) if state else None
    places = [] if named is None else [named, folder / named.name]
    return next((str(place) for place in places if _is_checkpoint(place)), None)


def _is_checkpoint(prefix: pathlib.Path) -> bool:
    return prefix.is_file() or prefix.with_name(f'{prefix.name}.index').is_file()


def open_checkpoint(prefix: pathlib.Path | str) -> Any:
    """Returns TensorFlow's reader of a checkpoint whose path may hold any letter; raises what TensorFlow raises."""
    return tf.train.load_checkpoint(plain_prefix(prefix))


def read_checkpoint(path: pathlib.Path | str) -> dict[str, np.ndarray]:
    """Reads the variables of an object-based TensorFlow checkpoint as object path -> array; optimizer slots are left out.

    Raises:
      WeightsError: no such checkpoint, or one that cannot be read.
    """
    return _read_tensors(checkpoint_prefix(path), lambda key: key.endswith(_VALUE) and '.OPTIMIZER_SLOT' not in key)


def read_tf1_checkpoint(path: pathlib.Path | str) -> dict[str, np.ndarray]:
    """Reads the variables of a name-based checkpoint of TensorFlow 1 (in either of its two formats) as name -> array.

    Raises:
      WeightsError: no such checkpoint, an object-based one, or one that cannot be read.
    """
    given = pathlib.Path(path)
    prefix = str(given) if given.is_file() and given.suffix != '.index' else checkpoint_prefix(given)
    if is_object_based(prefix):
        raise WeightsError(f'{prefix}: an object-based checkpoint, not one of TensorFlow 1; name it as `checkpoint` instead')
    return _read_tensors(prefix, lambda _: True)


def is_object_based(prefix: str) -> bool:
    """Returns whether a checkpoint was written by `tf.train.Checkpoint`, not by TensorFlow 1's `Saver`.

    Raises:
      WeightsError: it cannot be read.
    """
    with _explained(prefix):
        return bool(open_checkpoint(prefix).has_tensor(_OBJECT_GRAPH))


def read_saved_model(path: pathlib.Path | str) -> dict[str, np.ndarray]:
    """Reads the variables of a SavedModel, as object path -> array and again as the variable's own name -> array.

    Its functions are neither loaded nor called. A name that several variables have is left out.

    Raises:
      WeightsError: no SavedModel, or one that cannot be read.
    """
    prefix = pathlib.Path(path) / 'variables' / 'variables'
    if not prefix.with_name('variables.index').is_file():
        raise WeightsError(f'{path}: no SavedModel ({prefix}.index is missing); expected the folder that holds saved_model.pb')
    arrays = read_checkpoint(prefix)
    names = _own_names(str(prefix))
    counts = collections.Counter(names.values())
    named = {name: arrays[key] for key, name in names.items() if key in arrays and counts[name] == 1}
    return {**named, **arrays}


@contextlib.contextmanager
def _explained(prefix: str) -> Iterator[None]:
    """Turns what TensorFlow raises on a damaged checkpoint into an error that names it."""
    try:
        yield
    except (tf.errors.OpError, ValueError, RuntimeError, LookupError, OverflowError, MemoryError, message.DecodeError) as error:
        # MemoryError: TensorFlow asks for as many bytes as a damaged index names.
        raise WeightsError(f'{prefix}: cannot be read as a TensorFlow checkpoint ({type(error).__name__}: {error})') from error


def _read_tensors(prefix: str, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    with _explained(prefix):
        reader = open_checkpoint(prefix)
        types, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
        keys = sorted(key for key in shapes if types[key] != tf.string and wanted(key))
        require_plausible(prefix, sum(math.prod(shapes[key]) * types[key].size for key in keys), _stored_bytes(prefix))
        return {key.removesuffix(_VALUE): reader.get_tensor(key) for key in keys}


def _stored_bytes(prefix: str) -> int:
    path = pathlib.Path(prefix)
    parts = [path] if path.is_file() else [part for part in path.parent.iterdir() if part.name.startswith(f'{path.name}.data-')]
    return sum(part.stat().st_size for part in parts)


def _own_names(prefix: str) -> dict[str, str]:
    """Returns object path -> the variable's own name (`conv1/kernel`), as the checkpoint's object graph tells it."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    with _explained(prefix):
        graph.ParseFromString(open_checkpoint(prefix).get_tensor(_OBJECT_GRAPH))
    attributes = [attribute for node in graph.nodes for attribute in node.attributes if attribute.full_name]
    return {attribute.checkpoint_key.removesuffix(_VALUE): attribute.full_name for attribute in attributes}


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

    if isinstance(root, (list, tuple)):
        for number, part in enumerate(root):
            visit(part, f'{prefix}/{number}', frozenset())
    else:
        visit(root, prefix, frozenset())
    return {key: tuple(value) for key, value in paths.items()}
