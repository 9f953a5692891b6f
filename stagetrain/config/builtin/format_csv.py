"""`format: csv`: a CSV file of boxes."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.csv_boxes'
register_format(FormatSpec('csv', f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise'))
