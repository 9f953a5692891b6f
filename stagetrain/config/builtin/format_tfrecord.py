"""`format: tfrecord`: the Object Detection API's TFRecords."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.tfrecord'
_FUNCTIONS = (f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise')
register_format(FormatSpec('tfrecord', *_FUNCTIONS, writer='stagetrain.data.writers:TFRECORD'))
