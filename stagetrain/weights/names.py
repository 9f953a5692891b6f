"""Canonical names: one name per variable, equal on every build, in every stage, in every process.

Keras numbers layers in the order in which they are built, and no variable carries its module's name. A canonical name is
`module/path/variable` instead, where the path follows the attributes that a checkpoint's object graph follows:

    named_variables({'backbone': backbone})['backbone/conv_pw_1_bn/gamma']
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
import tf_keras


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A layer that owns variables itself: the smallest part that Keras can put into inference mode."""

    layer: tf_keras.layers.Layer
    variables: Mapping[str, tf.Variable]
    """Canonical name -> variable."""


def leaves(modules: Mapping[str, object]) -> list[Leaf]:
    """Returns all layers that own variables, in a stable order.

    Args:
      modules: module name -> layer, model, or list of layers.

    Raises:
      AssertionError: two variables have one name, or a variable of a module was not reached.
    """
    found: list[Leaf] = []
    names: set[str] = set()
    reached: set[int] = set()
    for module, root in modules.items():
        for path, layer in _layers(module, root):
            variables = {f'{path}/{name}': variable for name, variable in _own_variables(layer) if id(variable) not in reached}
            reached.update(id(variable) for variable in variables.values())
            assert not names & set(variables), f'names are not unique: {sorted(names & set(variables))}'
            names.update(variables)
            if variables:
                found.append(Leaf(layer, variables))
        roots: list[Any] = list(root) if isinstance(root, (list, tuple)) else [root]
        missed = [v.name for part in roots for v in part.variables if id(v) not in reached]
        assert not missed, f'{module}: variables without a canonical name: {missed}'
    return found


def named_variables(modules: Mapping[str, object]) -> dict[str, tf.Variable]:
    """Returns canonical name -> variable, sorted by name."""
    variables = {name: variable for leaf in leaves(modules) for name, variable in leaf.variables.items()}
    return dict(sorted(variables.items()))


def _layers(path: str, root: object) -> Iterator[tuple[str, tf_keras.layers.Layer]]:
    """Yields (path, layer) for `root` and every layer below it; a layer met twice keeps its first path."""
    seen: set[int] = set()

    def visit(path: str, node: object) -> Iterator[tuple[str, tf_keras.layers.Layer]]:
        if id(node) in seen:
            return
        seen.add(id(node))
        for name, child in _children(node):
            yield from visit(f'{path}/{name}', child)
        if isinstance(node, tf_keras.layers.Layer):
            yield path, node

    yield from visit(path, root)


def _children(node: object) -> list[tuple[str, object]]:
    """Returns the named parts of a model, layer, list or dictionary that may hold layers."""
    if isinstance(node, (list, tuple)):
        return [(str(index), child) for index, child in enumerate(node)]
    if isinstance(node, Mapping):
        return [(str(key), child) for key, child in sorted(node.items(), key=lambda item: str(item[0]))]
    if isinstance(node, tf_keras.Model) and hasattr(node, 'input_names'):  # A functional model: its layers have names.
        return [(layer.name, layer) for layer in node.layers]
    if isinstance(node, tf.Module):
        children = tf.train.TrackableView(node).children(node)
        return [(name.lstrip('_'), child) for name, child in sorted(children.items()) if not isinstance(child, tf.Variable)]
    return []


def _own_variables(layer: tf_keras.layers.Layer) -> list[tuple[str, tf.Variable]]:
    children = tf.train.TrackableView(layer).children(layer)
    return [(name.lstrip('_'), child) for name, child in sorted(children.items()) if isinstance(child, tf.Variable)]
