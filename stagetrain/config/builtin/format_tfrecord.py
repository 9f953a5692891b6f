"""`format: tfrecord`: the Object Detection API's TFRecords."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.tfrecord'
register_format(FormatSpec('tfrecord', f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise'))
