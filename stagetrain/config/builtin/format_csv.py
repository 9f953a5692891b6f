"""`format: csv`: a CSV file of boxes."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.csv_boxes'
_FUNCTIONS = (f'{_PLACE}:read', 'stagetrain.data.csv_lines:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise')
register_format(FormatSpec('csv', *_FUNCTIONS, writer='stagetrain.data.writers:CSV', splits=f'{_PLACE}:splits'))
