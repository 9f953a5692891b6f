"""A backbone from outside the package: two convolutions a level, down to stride 8."""

from __future__ import annotations

from typing import Any

from stagetrain.config import options, specs


class TwoBlocks(options.Strict):
    """Options of the backbone."""

    num_filters: int = 4
    """Channels of the first block; each next one has twice as many."""


def build(input_specs: Any, given: TwoBlocks, l2_weight_decay: float) -> Any:
    """Builds it; see `BackboneSpec`."""
    import tf_keras

    from stagetrain.detectors.backbones import EndpointModel, with_l2

    features = inputs = tf_keras.Input(tuple(input_specs.shape[1:]))
    for level in (1, 2, 3):
        features = tf_keras.layers.Conv2D(
            given.num_filters * 2**level, 3, strides=2, padding='same', activation='relu', name=f'down_{level}'
        )(features)
    network = with_l2(tf_keras.Model(inputs, features), l2_weight_decay)
    return EndpointModel(network.inputs, {'3': network.get_layer('down_3').output})


specs.register_backbone(specs.BackboneSpec('two_blocks', TwoBlocks, f'{__name__}:build'))
