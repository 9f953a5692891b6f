"""Carries out surgery on a functional Keras network, on its own description, so that untouched layers stay what they are.

    changed = operate(network, [Operation(cut_after='block4_conv3')])
    changed.network, changed.new_layers, changed.moved

`config.surgery` says what there is. A layer keeps its name, and so its weights load from the network's published files; new
layers have names that are not in such a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tf_keras

from stagetrain.config.surgery import NewLayer, Operation
from stagetrain.errors import ConfigError, suggestion

PLACE = 'model.backbone: surgery'


@dataclasses.dataclass(frozen=True)
class Changed:
    """A network after surgery."""

    network: tf_keras.Model
    """Built anew: its layers have initial values."""
    new_layers: frozenset[str]
    """Names of the layers that were put in."""
    moved: Mapping[str, str]
    """Layer -> the layer whose output has taken its output's place."""


def operate(network: tf_keras.Model, operations: Sequence[Operation]) -> Changed:
    """Returns the network with `operations` carried out in order; with none, as it is.

    Args:
      network: functional; every layer is called once.
      operations: what to change.

    Raises:
      ConfigError: an operation names a layer that is not there or new names that are, or its layers do not follow each other, or
        do not fit together.
    """
    if not operations:
        return Changed(network, frozenset(), {})
    description = _Description(network.get_config())
    try:
        for number, operation in enumerate(operations):
            description.apply(operation, f'{PLACE}[{number}]')
        rebuilt = tf_keras.Model.from_config(description.config())
    except ValueError as error:  # What Keras says of shapes that do not fit, or of an unknown activation.
        raise ConfigError(f'{PLACE}: the layers do not fit together: {error}') from error
    return Changed(rebuilt, frozenset(description.new_layers), description.moved)


class _Description:
    """The layers of a functional network by name, and who reads whom."""

    def __init__(self, config: dict[str, Any]):
        self._config = config
        self._layers: dict[str, dict[str, Any]] = {layer['name']: layer for layer in config['layers']}
        self._outputs: Any = config['output_layers']
        self._names = set(self._layers)
        self.new_layers: list[str] = []
        self.moved: dict[str, str] = {}

    def config(self) -> dict[str, Any]:
        """Returns what `tf_keras.Model.from_config` takes."""
        return {**self._config, 'layers': list(self._layers.values()), 'output_layers': self._outputs}

    def apply(self, operation: Operation, place: str) -> None:
        """Carries one operation out; see `operate`."""
        if operation.cut_after is not None:
            self._cut_after(operation.cut_after, operation.layers, place)
        elif operation.insert_after is not None:
            self._insert_after(operation.insert_after, operation.layers, place)
        else:
            assert operation.replace is not None
            self._replace(operation.replace, operation.layers, place)

    def _cut_after(self, name: str, layers: Sequence[NewLayer], place: str) -> None:
        self._require(name, place, 'cut_after')
        kept = self._before(name)
        self._layers = {other: layer for other, layer in self._layers.items() if other in kept}
        self._outputs = [[name, 0, 0]]
        self._redirect(name, self._stack(name, layers, place), ())

    def _insert_after(self, name: str, layers: Sequence[NewLayer], place: str) -> None:
        self._require(name, place, 'insert_after')
        readers = self._readers(name)
        last = self._stack(name, layers, place)
        self._redirect(name, last, readers)

    def _replace(self, names: Sequence[str], layers: Sequence[NewLayer], place: str) -> None:
        for name in names:
            self._require(name, place, 'replace')
        for name, following in zip(names, names[1:], strict=False):
            if self._readers(name) != [following] or self._reads(following) != [name]:
                raise ConfigError(
                    f"{place}.replace: '{following}' does not follow '{name}' alone: {_listed(self._readers(name))} read it; "
                    f'expected layers of which each is the only reader of the one before'
                )
        before = self._reads(names[0])
        if len(before) != 1:
            raise ConfigError(f"{place}.replace: '{names[0]}' reads {_listed(before)}; expected a layer that reads one other")
        readers = self._readers(names[-1])
        for name in names:
            del self._layers[name]
        last = self._stack(before[0], layers, place)
        self._redirect(names[-1], last, readers)

    def _stack(self, name: str, layers: Sequence[NewLayer], place: str) -> str:
        """Adds new layers on top of one; returns the last one's name."""
        for layer in layers:
            if layer.name in self._names:
                raise ConfigError(
                    f"{place}.layers: '{layer.name}' is the name of a layer already, which published weight files may hold; "
                    f'give the new layer another'
                )
            self._names.add(layer.name)
            self.new_layers.append(layer.name)
            self._layers[layer.name] = {**_described(layer), 'inbound_nodes': [[[name, 0, 0, {}]]]}
            name = layer.name
        return name

    def _redirect(self, old: str, new: str, readers: Iterable[str]) -> None:
        for reader in readers:
            entry = self._layers[reader]
            self._layers[reader] = {**entry, 'inbound_nodes': _renamed(entry['inbound_nodes'], old, new)}
        self._outputs = _renamed(self._outputs, old, new)
        if new != old:
            self.moved[old] = new

    def _require(self, name: str, place: str, key: str) -> None:
        if name not in self._layers:
            raise ConfigError(
                f"{place}.{key}: no layer '{name}' among the {len(self._layers)} of {self._config['name']}."
                f'{suggestion(name, self._layers)}'
            )

    def _reads(self, name: str) -> list[str]:
        return sorted(set(_references(self._layers[name]['inbound_nodes'])))

    def _readers(self, name: str) -> list[str]:
        return [other for other in self._layers if name in self._reads(other)]

    def _before(self, name: str) -> set[str]:
        """Returns a layer's name and those of all that its output is computed from."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found.add(current)
                waiting += self._reads(current)
        return found


def _described(layer: NewLayer) -> dict[str, Any]:
    built = getattr(tf_keras.layers, layer.type)(**layer.model_dump(exclude={'type'}))
    return {**tf_keras.layers.serialize(built), 'name': layer.name}


def _is_reference(node: Any) -> bool:
    """Whether a part of `inbound_nodes` names a layer's output: `[layer, node, tensor]`, perhaps with arguments behind.

    A constant stands there as `['_CONSTANT_VALUE', -1, value]`.
    """
    is_list = isinstance(node, list | tuple) and len(node) >= 3 and isinstance(node[0], str)
    return is_list and all(isinstance(part, int) and part >= 0 for part in node[1:3])


def _references(node: Any) -> Iterable[str]:
    if _is_reference(node):
        yield node[0]
    for part in _parts(node):
        yield from _references(part)


def _parts(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, Mapping) else node if isinstance(node, list | tuple) else ()


def _renamed(node: Any, old: str, new: str) -> Any:
    if isinstance(node, Mapping):
        return {key: _renamed(part, old, new) for key, part in node.items()}
    if not isinstance(node, list | tuple):
        return node
    parts = [_renamed(part, old, new) for part in node]
    return [new, *parts[1:]] if _is_reference(node) and node[0] == old else parts


def _listed(names: Iterable[str]) -> str:
    return ', '.join(f"'{name}'" for name in names) or 'none'
