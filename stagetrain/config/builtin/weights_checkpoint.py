"""`sources: {x: {checkpoint: PATH}}`."""

from __future__ import annotations

from stagetrain.config.specs import SourceSpec, register_source

DESCRIPTION = 'An object-based TensorFlow checkpoint (path prefix or folder), e.g. of the Model Garden.'
register_source(SourceSpec('checkpoint', 'stagetrain.weights.sources:read_checkpoint', DESCRIPTION))
