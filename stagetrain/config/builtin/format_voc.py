"""`format: voc`: Pascal VOC's folders."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.voc'
register_format(FormatSpec('voc', f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise'))
