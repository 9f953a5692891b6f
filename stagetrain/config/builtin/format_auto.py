"""`format: auto`: whichever of the others recognises the path."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.recognise'
register_format(FormatSpec('auto', f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names'))
