"""`stagetrain export --format tflite`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from stagetrain.config.exporters import ExporterSpec, register_exporter
from stagetrain.config.options import Strict


class TfliteOptions(Strict):
    """Options of a TensorFlow Lite model."""

    precision: Literal['float32', 'float16', 'dynamic_range'] = 'float32'
    """How weights are stored and computed with. `float16`: stored with half the bits. `dynamic_range`: stored with 8 bits, and
    where the runtime can, multiplied with 8 bits."""
    boxes: Literal['normalized', 'pixels'] = 'normalized'
    """Whether boxes are relative to the picture, from 0 to 1, or in its pixels."""
    input_size: Annotated[list[Annotated[int, pydantic.Field(ge=1)]], pydantic.Field(min_length=2, max_length=2)] | None = None
    """Height and width of the pictures; None: any."""


register_exporter(ExporterSpec('tflite', TfliteOptions, 'stagetrain.inference.tflite:export'))
