"""How training images are changed besides flips, scale and crop: keys of `model.parser`, as the Model Garden names them.

    parser: {color_jitter: 0.4, aug_type: {type: randaug, randaug: {num_layers: 1, magnitude: 5}}}

`images.augment` carries them out.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stagetrain.config.options import OneOf, Strict

FIXED_IN_PARSERS = ('parser.keep_aspect_ratio', 'parser.num_channels', 'parser.pad', 'parser.skip_crowd_during_training')
"""Options of the Model Garden's parsers that are not read."""
Share = Annotated[float, Field(ge=0, le=1)]
Operation = Literal[
    'AutoContrast', 'Equalize', 'Invert', 'Rotate', 'Posterize', 'Solarize', 'Color', 'Contrast', 'Brightness', 'Sharpness',
    'ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Cutout', 'SolarizeAdd',
]  # fmt: skip


class RandAugment(Strict):
    """Some operations of one strength, drawn with equal chances (Cubuk et al., arXiv 1909.13719)."""

    num_layers: Annotated[int, Field(gt=0)] = 2
    """Operations applied one behind the other; N in the paper."""
    magnitude: Annotated[float, Field(ge=0, le=10)] = 10.0
    """Their strength; M in the paper."""
    cutout_const: Annotated[float, Field(ge=0)] = 40.0
    """Half the side of the square that Cutout paints over at magnitude 10, in pixels of the stored image."""
    translate_const: Annotated[float, Field(ge=0)] = 10.0
    """How far TranslateX and TranslateY move at magnitude 10, in pixels of the stored image."""
    prob_to_apply: Share | None = None
    """The chance that a drawn operation is applied; by default always."""
    exclude_ops: list[Operation] = Field(default_factory=list)
    """Operations that are never drawn."""


class AutoAugment(Strict):
    """One policy of a learned table (Cubuk et al., arXiv 1805.09501; for detection Zoph et al., arXiv 1906.11172)."""

    augmentation_name: Literal[
        'detection_v0', 'v0', 'simple', 'reduced_cifar10', 'svhn', 'reduced_imagenet', 'panoptic_deeplab_policy', 'vit', 'test'
    ] = 'v0'
    """The table; `detection_v0` is the one for detection."""
    cutout_const: Annotated[float, Field(ge=0)] = 100.0
    """As in `randaug`."""
    translate_const: Annotated[float, Field(ge=0)] = 250.0
    """As in `randaug`."""


class Augmentation(OneOf):
    """`randaug` or `autoaug`."""

    randaug: RandAugment = Field(default_factory=RandAugment)
    autoaug: AutoAugment = Field(default_factory=AutoAugment)


class AugmentedParser(Strict):
    """What every detector's `parser` has besides the Model Garden's scale and sizes."""

    aug_rand_vflip: bool = False
    aug_type: Augmentation | None = None
    """AutoAugment or RandAugment of training images."""
    color_jitter: Annotated[float, Field(ge=0)] = 0.0
    """Brightness, contrast and saturation are multiplied by random factors from 1 - x to 1 + x."""


def augments(parser: object) -> bool:
    """Whether a parser changes images besides flips, scale and crop; a plugin's parser may lack the keys."""
    return isinstance(parser, AugmentedParser) and (parser.aug_type is not None or parser.color_jitter > 0)
