"""`sources: {x: {saved_model: PATH}}`."""

from __future__ import annotations

from stagetrain.config.specs import SourceSpec, register_source

DESCRIPTION = "The folder of a SavedModel; its variables are matched by path, as a checkpoint's, or by their own names."
register_source(SourceSpec('saved_model', 'stagetrain.weights.sources:read_saved_model', DESCRIPTION))
