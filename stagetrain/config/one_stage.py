"""What one-stage detectors have in common: the Model Garden's `parser`, as far as it is read."""

from __future__ import annotations

from typing import Any

import pydantic

from stagetrain.config import augmentation, options


def one_stage_parser() -> type[pydantic.BaseModel]:
    """Returns the type of `parser` of a one-stage detector: the Model Garden's, and `aug_rand_vflip` as Faster R-CNN's has it."""
    base = options.options_model('retinanet_parser', ('aug_type', 'aug_policy', 'aug_rand_jpeg'))
    fields: dict[str, Any] = {'aug_rand_vflip': (bool, False), **augmentation.parser_fields()}
    return pydantic.create_model('OneStageParser', __base__=base, **fields)
