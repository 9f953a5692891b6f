"""Which network of the Object Detection API a feature extractor is, and what stands for it here.

of_type('faster_rcnn_resnet101_keras')      # Extractor(depth=101, is_keras=True, ...)
"""

from __future__ import annotations

import dataclasses
import re

from stagetrain.bridges.tfod.account import Block
from stagetrain.config.builtin.keras_backbones import Backbone
from stagetrain.errors import ConfigError, known_names, suggestion

_RESNET = re.compile(
    r'faster_rcnn_resnet(?P<faster>50|101|152)(?P<fpn>_fpn)?(?P<keras>_keras)?'
    r'|ssd_resnet(?P<ssd>50|101|152)_v1_fpn(?P<ssd_keras>_keras)?'
    r'|resnet_v(?P<version>[12])_(?P<center>50|101)(?P<center_fpn>_fpn)?'
)
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""ResNet's depth -> its units in C2 to C5."""
_SHORT = re.compile(r'resnet(50|101|152)')
C4_END = {depth: f'conv4_block{units[2]}_out' for depth, units in BLOCKS.items()}


@dataclasses.dataclass(frozen=True)
class Extractor:
    """The ResNet of a file, or what `--backbone` puts in its place."""

    backbone: str
    """A type of `model.backbone`."""
    depth: int | None
    """50, 101 or 152 layers; None for another network."""
    is_keras: bool = False
    """Whether it is one of the API's Keras extractors, for TensorFlow 2."""
    has_pyramid: bool = False
    is_substitute: bool = False
    """Whether it is not the network of the file, so that a checkpoint of that does not fit."""

    @property
    def slim(self) -> str:
        """The scope of its variables in TensorFlow 1."""
        return f'resnet_v1_{self.depth}'


def of_type(name: str) -> Extractor | None:
    """Returns the extractor of a name of the API; None where it is not here."""
    found = _RESNET.fullmatch(name)
    if found is None:
        return None
    depth = int(found['faster'] or found['ssd'] or found['center'])
    is_keras = bool(found['keras'] or found['ssd_keras'] or found['center'])
    has_pyramid = bool(found['fpn'] or found['ssd'] or found['center_fpn'])
    return Extractor(f'keras_resnet{depth}', depth, is_keras, has_pyramid, is_substitute=found['version'] == '2')


def substitute(name: str) -> Extractor:
    """Returns what `--backbone` names: a type of `model.backbone`, or `resnet50`, `resnet101`, `resnet152`.

    Raises:
      ConfigError: There is no such backbone.
    """
    short = _SHORT.fullmatch(name)
    full = f'keras_resnet{short[1]}' if short else name
    known = set(Backbone.model_fields) - {'type'}
    if full not in known:
        raise ConfigError(f"--backbone: found '{name}'. Known here: {known_names(known)}.{suggestion(full, known)}")
    depth = re.fullmatch(r'keras_resnet(50|101|152)', full)
    return Extractor(full, int(depth[1]) if depth else None, is_substitute=True)


def _in_place_of(name: str, found: Extractor | None, given: Extractor) -> Extractor:
    fits = found is not None and not found.is_substitute and found.depth == given.depth
    is_keras = found.is_keras if found else name.endswith('_keras')
    return dataclasses.replace(given, is_keras=is_keras, has_pyramid='_fpn' in name, is_substitute=not fits)


def choose(block: Block, wanted: str | None, lacking: str = '') -> Extractor:
    """Returns the extractor of a file's `feature_extractor`.

    Args:
      block: `feature_extractor`.
      wanted: the value of `--backbone`, or None.
      lacking: what else of the file is not here and needs a substitute, in words.

    Raises:
      ConfigError: The extractor is not here, or something is `lacking`, and `wanted` is None.
    """
    name = block.take('type', 'model.backbone')
    found = of_type(name)
    if wanted is not None:
        given = _in_place_of(name, found, substitute(wanted))
        text = f"'{name}'{lacking and ' ' + lacking} is replaced by {given.backbone}, as --backbone asks"
        block.remark('type', text)
        if given.is_substitute:
            block.say('type', text)
        return given
    if found is None or lacking:
        what = lacking or 'is a feature extractor that is not here'
        raise ConfigError(
            f"{block.account.parsed.place(block.at('type'))}: '{name}' {what}. --backbone=keras_resnet101 imports the file with "
            f'that network in its place. Here without it: faster_rcnn_resnet50, 101, 152 (also _keras, _fpn_keras), '
            f'ssd_resnet50_v1_fpn, 101, 152 (also _keras), and for CenterNet resnet_v1_50, resnet_v2_50, 101 (also _fpn).'
        )
    if found.is_substitute:
        block.remark('type', f"'{name}' is built as {found.backbone}: ResNet of the first version, whose published weights load")
    return found
