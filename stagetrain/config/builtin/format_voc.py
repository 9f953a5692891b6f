"""`format: voc`: Pascal VOC's annotations."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.voc'
_FUNCTIONS = (f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise')
register_format(FormatSpec('voc', *_FUNCTIONS, writer='stagetrain.data.writers:VOC', reads=(), splits=f'{_PLACE}:splits'))
