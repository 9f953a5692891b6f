"""Gives every variable of a stage its one origin, and records it.

    lineage = initialise(modules, origins)       # {'backbone/conv1/kernel': {'kind': 'keras_h5', 'key': 'conv1/kernel', ...}}

Loading is by name, never by position: `layer.trainable = False` changes the order of a layer's variables. A module that surgery
changed says so by `new_layers`, the names of the layers that no published file has (None, or no such attribute: it is unchanged).
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.errors import WeightsError, suggestion
from stagetrain.files import read_json
from stagetrain.pipeline import run_files
from stagetrain.pipeline.jobs import FRESH, ModuleOrigin
from stagetrain.pipeline.records import VariableOrigin
from stagetrain.weights import class_order, keras_files, names, renaming, sources

Lookup = Callable[[str, tf.Variable], tuple[str, np.ndarray] | None]
"""(name within the module, variable) -> (key in the source, value), or None when the source lacks it."""
Keys = Callable[[str, tf.Variable], tuple[str, ...]]
"""(name within the module, variable) -> the keys under which a source may hold it, the best first."""


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


def initialise(modules: Mapping[str, object], origins: Mapping[str, ModuleOrigin]) -> dict[str, VariableOrigin]:
    """Loads every module from its origin; one without an origin keeps its initial values.

    Args:
      modules: module name -> layer or list of layers, already built.
      origins: module name -> where its weights are.

    Returns:
      Canonical name -> where the variable came from.

    Raises:
      WeightsError: the source cannot be read, lacks a variable, or has it in another shape.
    """
    lineage: dict[str, VariableOrigin] = {}
    for module, root in modules.items():
        origin = origins.get(module, FRESH)
        variables = names.named_variables({module: root})
        if origin.kind == FRESH.kind:
            lineage.update({name: {'kind': 'fresh'} for name in variables})
            continue
        found = matched(module, root, origin, read_origin(origin))
        for name, (_, value) in found.values.items():
            variables[name].assign(value)
        lineage.update(_lineage(origin, found))
    return lineage


@dataclasses.dataclass(frozen=True)
class Matched:
    """What a source has for the variables of a module, by canonical name."""

    values: Mapping[str, tuple[str, np.ndarray]]
    """Key in the source, and value."""
    faults: Mapping[str, str]
    """Variables that the source lacks or has in another shape, and which of both."""
    new: tuple[str, ...]
    """Variables of layers that surgery put in, which the source need not have."""


def read_origin(origin: ModuleOrigin) -> dict[str, np.ndarray]:
    """Returns all that a module's origin, other than `fresh`, holds: canonical name -> value of a stage, key -> value of a file.

    Raises:
      WeightsError: it cannot be read.
    """
    assert origin.path is not None
    return read_stage_checkpoint(pathlib.Path(origin.path)) if origin.is_checkpoint else sources.read(origin.kind, origin.path)


def matched(module: str, root: object, origin: ModuleOrigin, arrays: Mapping[str, Any]) -> Matched:
    """Finds every variable of a module in its source; nothing is assigned.

    Args:
      module: its name.
      root: layer or list of layers, already built.
      origin: as in `initialise`.
      arrays: what `read_origin` gives; of the values only the shapes count here.

    Raises:
      WeightsError: the source lacks a variable, or has it in another shape, and the origin does not allow for that.
    """
    lookup, known = _lookup(module, root, origin, arrays)
    values: dict[str, tuple[str, np.ndarray]] = {}
    faults: dict[str, str] = {}
    new = []
    for name, variable in names.named_variables({module: root}).items():
        found = lookup(_local(name), variable)
        if found is not None and origin.class_order:
            found = found[0], class_order.of_variable(name, found[1], origin.class_order)
        if found is None and is_new(root, name):
            new.append(name)
        elif found is None:
            faults[name] = f'{name}: not in the source.{suggestion(_local(name), known)}'
        elif tuple(found[1].shape) != tuple(variable.shape):
            faults[name] = f'{name}: shape {tuple(found[1].shape)} in the source ({found[0]}), {tuple(variable.shape)} expected'
        else:
            values[name] = found
    _require_enough(module, origin, len(values), list(faults.values()))
    return Matched(values, faults, tuple(new))


def is_new(root: object, name: str) -> bool:
    """Returns whether a variable of a module, by canonical name, belongs to a layer that surgery put in."""
    return name.split('/')[1] in (getattr(root, 'new_layers', None) or ())


def _local(name: str) -> str:
    """Returns a canonical name without its module."""
    return name.partition('/')[2]


def _require_enough(module: str, origin: ModuleOrigin, loaded: int, faults: list[str]) -> None:
    asked, path = loaded + len(faults), origin.path
    shown = '; '.join(faults[:5]) + ('; ...' if len(faults) > 5 else '')
    if faults and not origin.skip_mismatch:
        raise WeightsError(
            f'{module}: {len(faults)} of {asked} variables cannot be loaded from {path}: {shown}. Set `skip_mismatch: true` '
            f'beside `from` to leave them at their initial values.'
        )
    required = origin.require or 0.0
    if loaded < required * asked:
        raise WeightsError(
            f'{module}: {loaded} of {asked} variables can be loaded from {path}; its `require` asks for {required:.0%} at least: '
            f'{shown}'
        )
    if not loaded:
        raise WeightsError(f'{module}: no variable at all could be loaded from {path}: {faults[0]}')


def _lineage(origin: ModuleOrigin, found: Matched) -> dict[str, VariableOrigin]:
    lineage: dict[str, VariableOrigin] = {name: {'kind': 'fresh', 'new': True} for name in found.new}
    lineage |= {name: _origin(name, origin, key) for name, (key, _) in found.values.items()}
    return lineage | {name: {'kind': 'fresh', 'skipped': fault} for name, fault in found.faults.items()}


def _origin(name: str, origin: ModuleOrigin, key: str) -> VariableOrigin:
    described = VariableOrigin(kind=origin.kind, key=key)
    for given in ('stage', 'path', 'digest'):
        if (value := getattr(origin, given)) is not None:
            described[given] = value
    if origin.class_order and class_order.numbers_of_a_class(name, origin.class_order) is not None:
        described['class_order'] = origin.class_order
    return described


def _lookup(module: str, root: object, origin: ModuleOrigin, arrays: Mapping[str, Any]) -> tuple[Lookup, list[str]]:
    """Returns how variables of a module are found in their source, and the names that a person may have meant."""
    if origin.is_checkpoint:
        known = [name.removeprefix(f'{module}/') for name in arrays]
        return _first_key(arrays, lambda local, _: (f'{module}/{local}',)), known
    if origin.rules:
        renamed = renaming.apply(origin.rules, arrays, str(origin.path))
        return _renamed(module, renamed, arrays), [name.removeprefix(f'{module}/') for name in renamed]
    return _first_key(arrays, _KEYS.get(origin.kind, _named_keys)(module, root)), list(arrays)


def _first_key(arrays: Mapping[str, np.ndarray], keys: Keys) -> Lookup:
    def lookup(local: str, variable: tf.Variable) -> tuple[str, np.ndarray] | None:
        return next(((key, arrays[key]) for key in keys(local, variable) if key in arrays), None)

    return lookup


def _renamed(module: str, renamed: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> Lookup:
    def lookup(local: str, _: tf.Variable) -> tuple[str, np.ndarray] | None:
        key = renamed.get(f'{module}/{local}')
        return None if key is None else (key, arrays[key])

    return lookup


def _keras_keys(_: str, root: object) -> Keys:
    """By the names of layer and attribute, or layer and variable (they differ in a few layers), or layer and number."""
    numbered = keras_files.numbered_paths(root) if _is_as_published(root) else {}
    return lambda local, variable: (*_own_names(local, variable), *numbered.get(id(variable), ()))


def _checkpoint_keys(module: str, root: object) -> Keys:
    """By object path, as `tf.train.Checkpoint.read` does, at the root or below the Model Garden's `model`."""
    paths = {**sources.object_paths(root, module)} if _is_as_published(root) else {}
    if not isinstance(root, (list, tuple)):  # The Model Garden keeps its detection heads in a list.
        paths = {key: value + tuple(f'{module}/0{path.removeprefix(module)}' for path in value) for key, value in paths.items()}
    return lambda _, variable: tuple(key for path in paths.get(id(variable), ()) for key in (path, f'model/{path}'))


def _saved_model_keys(module: str, root: object) -> Keys:
    """By object path where the whole detector was saved, by a variable's own name where the network alone was."""
    paths = _checkpoint_keys(module, root)
    return lambda local, variable: (*paths(local, variable), *_own_names(local, variable))


def _named_keys(module: str, _: object) -> Keys:
    return lambda local, variable: (f'{module}/{local}', *_own_names(local, variable))


def _is_as_published(root: object) -> bool:
    """Whether files that count layers can fit: after surgery each number would mean another layer, perhaps of the same shape."""
    return getattr(root, 'new_layers', None) is None


def _own_names(local: str, variable: tf.Variable) -> tuple[str, str]:
    """Returns `layer/attribute` and `layer/name of the variable`."""
    return local, f'{local.rpartition("/")[0]}/{variable.name.rpartition("/")[2].split(":")[0]}'


_KEYS: Mapping[str, Callable[[str, object], Keys]] = {
    'keras_h5': _keras_keys,
    'checkpoint': _checkpoint_keys,
    'saved_model': _saved_model_keys,
}
"""Kind of source -> how its keys are found, where names alone do not tell."""


def read_stage_checkpoint(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a stage's committed checkpoint as canonical name -> value, each checked against its recorded digest.

    Raises:
      WeightsError: a variable cannot be read or has other bits than were committed.
    """
    try:
        described = read_json(folder / run_files.VARIABLES)
        reader = sources.open_checkpoint(folder / run_files.TENSORS)
        values = {name: reader.get_tensor(entry['key']) for name, entry in described.items()}
    except (tf.errors.OpError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise WeightsError(f'{folder}: cannot be read ({type(error).__name__}: {error}); run the stage again') from error
    changed = [name for name, value in values.items() if digest(value) != described[name]['digest']]
    if changed:
        raise WeightsError(
            f'{folder}: {len(changed)} variables have other bits than were committed, e.g. {changed[0]}; run the stage again'
        )
    return values
