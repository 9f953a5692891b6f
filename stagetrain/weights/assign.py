"""Gives every variable of a stage its one origin, and records it.

    lineage = initialise(modules, origins)       # {'backbone/conv1/kernel': {'kind': 'keras_h5', 'key': 'conv1/kernel', ...}}

Loading is by name, never by position: `layer.trainable = False` changes the order of a layer's variables.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.errors import WeightsError, suggestion
from stagetrain.files import read_json
from stagetrain.weights import names, sources

VARIABLES_FILE = 'variables.json'
CHECKPOINT_NAME = 'ckpt'
Lookup = Callable[[str, tf.Variable], tuple[str, np.ndarray] | None]
"""(name within the module, variable) -> (key in the source, value), or None when the source lacks it."""


def digest(value: np.ndarray) -> str:
    """Returns a SHA-256 over dtype, shape and bytes; equal for bit-identical arrays only."""
    header = f'{value.dtype.str}{value.shape}'.encode()
    return hashlib.sha256(header + np.ascontiguousarray(value).tobytes()).hexdigest()


def digests(variables: Mapping[str, tf.Variable]) -> dict[str, str]:
    """Returns canonical name -> `digest` of each variable's present value."""
    return {name: digest(variable.numpy()) for name, variable in variables.items()}


def module_digests(variable_digests: Mapping[str, str]) -> dict[str, str]:
    """Returns module -> one digest over the names and digests of its variables."""
    hashes: dict[str, Any] = {}
    for name, value in sorted(variable_digests.items()):
        hashes.setdefault(name.split('/')[0], hashlib.sha256()).update(f'{name}={value}\n'.encode())
    return {module: value.hexdigest() for module, value in hashes.items()}


def initialise(modules: Mapping[str, object], origins: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Loads every module from its origin; one without an origin keeps its initial values.

    Args:
      modules: module name -> layer or list of layers, already built.
      origins: module name -> `{"kind", "path", "stage", "skip_mismatch"}` as in a job file.

    Returns:
      Canonical name -> `{"kind", "source", "key"}`; `kind` is `fresh` for a variable that keeps its initial value, with
      `skipped` saying why when the source was asked for it.

    Raises:
      WeightsError: the source cannot be read, lacks a variable, or has it in another shape.
    """
    lineage: dict[str, dict[str, Any]] = {}
    for module, root in modules.items():
        origin = origins.get(module, {'kind': 'fresh'})
        variables = names.named_variables({module: root})
        if origin['kind'] == 'fresh':
            lineage.update({name: {'kind': 'fresh'} for name in variables})
            continue
        lookup, known = _lookup(module, root, origin)
        lineage.update(_load(module, variables, lookup, known, origin))
    return lineage


def _load(
    module: str, variables: Mapping[str, tf.Variable], lookup: Lookup, known: list[str], origin: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    described = {key: origin[key] for key in ('kind', 'stage', 'step', 'path', 'digest') if origin.get(key) is not None}
    lineage: dict[str, dict[str, Any]] = {}
    faults: list[str] = []
    for name, variable in variables.items():
        local = name.removeprefix(f'{module}/')
        found = lookup(local, variable)
        fault = None
        if found is None:
            fault = f'{name}: not in the source.{suggestion(local, known)}'
        elif tuple(found[1].shape) != tuple(variable.shape):
            fault = f'{name}: shape {tuple(found[1].shape)} in the source ({found[0]}), {tuple(variable.shape)} expected'
        if fault is None and found is not None:
            variable.assign(found[1])
            lineage[name] = {**described, 'key': found[0]}
        else:
            faults.append(str(fault))
            lineage[name] = {'kind': 'fresh', 'skipped': fault}
    loaded = len(variables) - len(faults)
    if faults and not origin.get('skip_mismatch'):
        raise WeightsError(
            f'{module}: {len(faults)} of {len(variables)} variables cannot be loaded from {origin["path"]}: '
            f'{"; ".join(faults[:5])}{"; ..." if len(faults) > 5 else ""}. Set `skip_mismatch: true` beside `from` to leave them '
            f'at their initial values.'
        )
    if not loaded:
        raise WeightsError(f'{module}: no variable at all could be loaded from {origin["path"]}: {faults[0]}')
    return lineage


def _lookup(module: str, root: object, origin: Mapping[str, Any]) -> tuple[Lookup, list[str]]:
    if origin['kind'] == 'keras_h5':
        arrays = sources.read_keras_h5(origin['path'])
        return (lambda local, _: (local, arrays[local]) if local in arrays else None), list(arrays)
    if origin['kind'] == 'stage':
        arrays = read_stage_checkpoint(pathlib.Path(origin['path']))
        return (lambda local, _: (f'{module}/{local}', arrays[f'{module}/{local}']) if f'{module}/{local}' in arrays else None), [
            name.removeprefix(f'{module}/') for name in arrays
        ]
    if origin['kind'] == 'checkpoint':
        return _checkpoint_lookup(module, root, sources.read_checkpoint(origin['path']))
    raise AssertionError(f'unknown origin {origin}')


def _checkpoint_lookup(module: str, root: object, arrays: Mapping[str, np.ndarray]) -> tuple[Lookup, list[str]]:
    """Matches by object path, as `tf.train.Checkpoint.read` does, at the root or below the Model Garden's `model`."""
    paths = {**sources.object_paths(root, module)}
    if not isinstance(root, (list, tuple)):  # The Model Garden keeps its detection heads in a list.
        paths = {key: value + tuple(f'{module}/0{path.removeprefix(module)}' for path in value) for key, value in paths.items()}

    def lookup(_: str, variable: tf.Variable) -> tuple[str, np.ndarray] | None:
        for path in paths.get(id(variable), ()):
            for key in (path, f'model/{path}'):
                if key in arrays:
                    return key, arrays[key]
        return None

    return lookup, list(arrays)


def read_stage_checkpoint(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a stage's committed checkpoint as canonical name -> value, each checked against its recorded digest.

    Raises:
      WeightsError: a variable cannot be read or has other bits than were committed.
    """
    described = read_json(folder / VARIABLES_FILE)
    try:
        reader = tf.train.load_checkpoint(str(folder / CHECKPOINT_NAME))
        values = {name: reader.get_tensor(entry['key']) for name, entry in described.items()}
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise WeightsError(f'{folder}: cannot be read ({type(error).__name__}: {error}); run the stage again') from error
    changed = [name for name, value in values.items() if digest(value) != described[name]['digest']]
    if changed:
        raise WeightsError(
            f'{folder}: {len(changed)} variables have other bits than were committed, e.g. {changed[0]}; run the stage again'
        )
    return values
