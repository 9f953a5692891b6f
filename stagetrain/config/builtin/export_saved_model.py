"""`stagetrain export --format saved_model`."""

from __future__ import annotations

from typing import Literal

from stagetrain.config.exporters import ExporterSpec, register_exporter
from stagetrain.config.options import Strict


class SavedModelOptions(Strict):
    """Options of a SavedModel."""

    boxes: Literal['normalized', 'pixels'] = 'normalized'
    """Whether boxes are relative to the picture, from 0 to 1, as the Object Detection API's exporter gives them, or in pixels."""
    serving_default: Literal['image', 'encoded'] = 'image'
    """Which signature is `serving_default`; both are there under their own names."""


register_exporter(ExporterSpec('saved_model', SavedModelOptions, 'stagetrain.inference.saved_model:export'))
