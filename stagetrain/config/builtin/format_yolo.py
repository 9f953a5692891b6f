"""`format: yolo`: YOLO's label files."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.yolo'
_FUNCTIONS = (f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise')
register_format(
    FormatSpec(
        'yolo',
        *_FUNCTIONS,
        has_masks=True,
        box_form='the centre x, y and width, height from 0 to 1',
        writer=f'{_PLACE}:WRITER',
        reads=('class_file',),
        splits=f'{_PLACE}:splits',
    )
)
