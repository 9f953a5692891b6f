"""`format: coco`: COCO's JSON."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.coco'
_FUNCTIONS = (f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise')
register_format(
    FormatSpec(
        'coco',
        *_FUNCTIONS,
        writer='stagetrain.data.writers:COCO',
        has_masks=True,
        box_form='x, y, width, height',
        reads=('images',),
        splits=f'{_PLACE}:splits',
    )
)
