"""Where the frozen front of a Keras network ends inside it, and the rest of the network behind that border.

    layers = frozen_border(network, trained)      # ('block3_pool',): all that the rest needs of what is frozen
    front = front_of(network, layers)             # image -> {'block3_pool': ...}
    rest = Rest(network, layers)                  # {'block3_pool': ...} -> what the network gives

Front and rest are views of the same layers: the network's own names, variables and object paths stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import tensorflow as tf
import tf_keras
from official.vision.modeling.layers import nn_layers


def frozen_border(network: tf_keras.Model, trained: Collection[tf.Variable]) -> tuple[str, ...]:
    """Returns the frozen layers whose outputs the rest of a network needs, sorted by name.

    Args:
      network: a functional model.
      trained: variables that are about to change.

    Returns:
      Names of layers; none where a layer that trains reads the input itself, or the border is not told by layers' names.
    """
    moving = {id(variable) for variable in trained}
    giver = {id(layer.output): layer for layer in network.layers if not tf.nest.is_nested(layer.output)}
    fixed: set[int] = set()
    needed = {id(tensor) for tensor in network.outputs}
    for layer in network.layers:  # From the input to the outputs.
        read = _reads(layer)
        if id(layer.output) in giver and read <= fixed and _is_fixed(layer, moving):
            fixed.add(id(layer.output))
        else:
            needed |= read
    is_known = needed <= giver.keys()  # Not so where a layer is called twice, or gives several outputs.
    stored = needed & fixed
    if not is_known or any(isinstance(giver[tensor], tf_keras.layers.InputLayer) for tensor in stored):
        return ()
    # What needs no variables and only reads what is stored anyway, as padding, is computed again.
    again = {tensor for tensor in stored if not giver[tensor].variables and _reads(giver[tensor]) <= stored}
    border = [giver[tensor] for tensor in stored - again]
    return tuple(sorted(layer.name for layer in border))


def front_of(network: tf_keras.Model, layers: Sequence[str]) -> tf_keras.Model:
    """Returns what computes the outputs of `layers`, by name, from the network's input."""
    return tf_keras.Model(network.inputs, {name: network.get_layer(name).output for name in layers})


class Rest:
    """What a network computes behind a border."""

    def __init__(self, network: tf_keras.Model, layers: Sequence[str]):
        """Args: network: gives a dict of outputs; layers: the border, from `frozen_border`."""
        border = {name: network.get_layer(name).output for name in layers}
        names = {id(tensor): name for name, tensor in border.items()}
        self._passed_on = {key: names[id(tensor)] for key, tensor in network.output.items() if id(tensor) in names}
        computed = {key: tensor for key, tensor in network.output.items() if key not in self._passed_on}
        in_front = {layer.name for layer in front_of(network, layers).layers}
        behind = [layer for layer in network.layers if layer.name not in in_front]
        read = {tensor for layer in behind for tensor in _reads(layer)}
        self._reads = [name for name, tensor in border.items() if id(tensor) in read]
        self._view = tf_keras.Model({name: border[name] for name in self._reads}, computed)

    def __call__(self, stored: Mapping[str, tf.Tensor], training: bool) -> dict[str, tf.Tensor]:
        """Returns the network's outputs from the outputs of the border's layers, by name."""
        passed_on = {key: stored[name] for key, name in self._passed_on.items()}
        return {**self._view({name: stored[name] for name in self._reads}, training=training), **passed_on}


def num_multiplications(graph: tf.Graph) -> int:
    """Returns the multiplications in the convolutions and matrix products of a graph with static shapes, for its batch size."""
    total = 0
    for operation in graph.get_operations():
        if operation.type in ('Conv2D', 'DepthwiseConv2dNative'):
            _, height, width, _ = operation.outputs[0].shape
            total += operation.outputs[0].shape[0] * height * width * operation.inputs[1].shape.num_elements()
        elif operation.type == 'MatMul':
            total += operation.outputs[0].shape[0] * operation.inputs[1].shape.num_elements()
    return total


def _reads(layer: tf_keras.layers.Layer) -> set[int]:
    """Returns the ids of the tensors that a layer of a functional model was called on."""
    return {id(tensor) for tensor in layer.inbound_nodes[0].keras_inputs}


def _is_fixed(layer: tf_keras.layers.Layer, moving: Collection[int]) -> bool:
    """Whether a layer gives the same outputs for the same inputs throughout a stage."""
    parts = [layer, *layer.submodules]
    is_random = any(isinstance(part, (tf_keras.layers.Dropout, nn_layers.StochasticDepth)) for part in parts)
    return not is_random and all(id(variable) not in moving for variable in layer.variables)
