"""`format: csv_header`: a CSV file whose header names its columns."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.csv_header'
_FUNCTIONS = (f'{_PLACE}:read', 'stagetrain.data.csv_lines:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise')
register_format(FormatSpec('csv_header', *_FUNCTIONS, writer=f'{_PLACE}:WRITER', splits=f'{_PLACE}:splits'))
