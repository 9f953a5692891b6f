"""What the options of every detector have, whatever else they have.

class FasterRcnn(networks.FasterRcnn, DetectorOptions): ...
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Protocol

from stagetrain.config.options import NetworkOptions

if TYPE_CHECKING:
    from stagetrain.config.model_garden.backbones import Backbone
    from stagetrain.config.model_garden.common import NormActivation


class Losses(Protocol):
    """What decides losses, besides their weights."""

    @property
    def l2_weight_decay(self) -> float:
        """Of all kernels in training."""


class Parser(Protocol):
    """How images are prepared for training."""

    @property
    def aug_rand_hflip(self) -> bool:
        """Whether they are mirrored left to right, by chance."""

    @property
    def aug_rand_vflip(self) -> bool:
        """Whether they are mirrored top to bottom, by chance."""

    @property
    def aug_scale_min(self) -> float:
        """The least random scale; 1 fits the input."""

    @property
    def aug_scale_max(self) -> float:
        """The greatest random scale."""

    @property
    def max_num_instances(self) -> int:
        """Objects of an image that count."""


class DetectorOptions(NetworkOptions):
    """The options of a network that finds objects in images. Every class of them declares these fields, with defaults of its own;
    here they stand for type checkers alone."""

    if TYPE_CHECKING:

        @property
        def input_size(self) -> list[int]:
            """Height, width and 3."""

        @property
        def min_level(self) -> int:
            """The finest level that heads read, of stride 2^level."""

        @property
        def max_level(self) -> int:
            """The coarsest level; inputs are padded to a multiple of its stride."""

        @property
        def backbone(self) -> Backbone:
            """The choice of a backbone."""

        @property
        def norm_activation(self) -> NormActivation:
            """What the Model Garden's networks and heads normalise and activate by."""

        @property
        def losses(self) -> Losses:
            """What decides losses."""

        @property
        def parser(self) -> Parser:
            """How images are prepared."""


def of_detector(model: NetworkOptions) -> DetectorOptions:
    """Returns options as those of a detector, which they are for every network whose spec says `reads_images`."""
    return typing.cast(DetectorOptions, model)
