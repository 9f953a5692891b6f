"""Surgery on a backbone: layers left out, put in or replaced, while all others keep their names and so their published weights.

    surgery:
      - {cut_after: block4_conv3}
      - replace: [block1_conv1, block1_conv2]
        layers: [{type: Conv2D, name: block1_conv5x5, filters: 64, kernel_size: 5, activation: relu}]

New layers have the names and options of `tf_keras.layers`. `stagetrain.detectors.surgery` carries operations out, in order.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

import pydantic
from pydantic import Field

from stagetrain.config import options

Positive = Annotated[int, Field(gt=0)]
Size = Union[Positive, Annotated[list[Positive], Field(min_length=2, max_length=2)]]
"""One number, or height and width."""
Padding = Literal['same', 'valid']


class _NewLayer(options.Strict):
    name: Annotated[str, Field(pattern=r'^[A-Za-z][A-Za-z0-9_.]*$', max_length=64)]
    """Its name in scopes and checkpoints; no layer of the original network may have it."""


class _NewConvolution(_NewLayer):
    kernel_size: Size
    strides: Size = 1
    padding: Padding = 'same'
    """Keras' own default is `valid`; most networks pad."""
    dilation_rate: Size = 1
    use_bias: bool = True
    activation: str | None = None
    """A name of `tf_keras.activations`."""


class NewConv2D(_NewConvolution):
    """`tf_keras.layers.Conv2D`."""

    type: Literal['Conv2D']
    filters: Positive


class NewDepthwiseConv2D(_NewConvolution):
    """`tf_keras.layers.DepthwiseConv2D`."""

    type: Literal['DepthwiseConv2D']


class NewBatchNormalization(_NewLayer):
    """`tf_keras.layers.BatchNormalization`."""

    type: Literal['BatchNormalization']
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    epsilon: Annotated[float, Field(gt=0)] = 1e-3


class NewActivation(_NewLayer):
    """`tf_keras.layers.Activation`."""

    type: Literal['Activation']
    activation: str
    """A name of `tf_keras.activations`."""


class NewMaxPooling2D(_NewLayer):
    """`tf_keras.layers.MaxPooling2D`."""

    type: Literal['MaxPooling2D']
    pool_size: Size = 2
    strides: Size | None = None
    """As `pool_size` when not given."""
    padding: Padding = 'valid'


NewLayer = Annotated[
    NewConv2D | NewDepthwiseConv2D | NewBatchNormalization | NewActivation | NewMaxPooling2D, Field(discriminator='type')
]


class Operation(options.Strict):
    """One change: exactly one of cut_after, insert_after, replace."""

    cut_after: str | None = None
    """All layers but this one and those before it are left out; `layers` are stacked on it."""
    insert_after: str | None = None
    """`layers` are put between this one and all that read it."""
    replace: Annotated[list[str], Field(min_length=1)] | None = None
    """Layers that follow each other, each the only reader of the one before; `layers` take their place."""
    layers: list[NewLayer] = Field(default_factory=list)
    """New layers, the first one first; they start from the initialiser."""

    @pydantic.model_validator(mode='after')
    def _exactly_one(self) -> Operation:
        given = [name for name in ('cut_after', 'insert_after', 'replace') if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f'expected exactly one of cut_after, insert_after, replace; found {" and ".join(given) or "none"}')
        if given == ['insert_after'] and not self.layers:
            raise ValueError('insert_after: without layers nothing is put in; give `layers`, or use cut_after or replace')
        return self
