"""`format: coco`: COCO's JSON."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.coco'
register_format(
    FormatSpec('coco', f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise', has_masks=True)
)
