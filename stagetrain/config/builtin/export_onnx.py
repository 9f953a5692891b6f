"""`stagetrain export --format onnx`."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from stagetrain.config.exporters import ExporterSpec, register_exporter
from stagetrain.config.options import Strict

EXTRA = "pip install 'stagetrain[onnx]'"


class OnnxOptions(Strict):
    """Options of an ONNX model."""

    boxes: Literal['normalized', 'pixels'] = 'normalized'
    """Whether boxes are relative to the picture, from 0 to 1, or in its pixels."""
    input_size: Annotated[list[Annotated[int, pydantic.Field(ge=1)]], pydantic.Field(min_length=2, max_length=2)] | None = None
    """Height and width of the pictures; None: any."""
    opset: Annotated[int, pydantic.Field(ge=13, le=18)] = 17
    """The version of ONNX's operators."""


register_exporter(ExporterSpec('onnx', OnnxOptions, 'stagetrain.inference.onnx_model:export', {'tf2onnx': EXTRA, 'onnx': EXTRA}))
