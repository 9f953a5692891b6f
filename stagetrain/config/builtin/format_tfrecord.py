"""`format: tfrecord`: the Object Detection API's TFRecords."""

from __future__ import annotations

from stagetrain.config.specs import FormatSpec, register_format

_PLACE = 'stagetrain.data.tfrecord'
_FUNCTIONS = (f'{_PLACE}:read', f'{_PLACE}:inputs', f'{_PLACE}:class_names', f'{_PLACE}:recognise')
register_format(
    FormatSpec(
        'tfrecord',
        *_FUNCTIONS,
        box_form='x1, y1, x2, y2 from 0 to 1',
        writer='stagetrain.data.writers:TFRECORD',
        has_masks=True,
        reads=('class_file',),
        splits=f'{_PLACE}:splits',
    )
)
