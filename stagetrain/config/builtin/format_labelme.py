"""`format: labelme`: LabelMe's JSON files."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.labelme'
_FUNCTIONS = (f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise')
register_format(
    FormatSpec('labelme', *_FUNCTIONS, has_masks=True, reads=(), writer=f'{_PLACE}:WRITER', splits=f'{_PLACE}:splits')
)
