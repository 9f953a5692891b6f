"""`sources: {x: {keras_h5: PATH}}`."""

from __future__ import annotations

from stagetrain.config.specs import SourceSpec, register_source

DESCRIPTION = 'A Keras `.h5`, `.weights.h5` or `.keras`; layers are matched by name.'
register_source(SourceSpec('keras_h5', 'stagetrain.weights.sources:read_keras_h5', DESCRIPTION))
