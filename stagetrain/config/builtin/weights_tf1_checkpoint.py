"""`sources: {x: {tf1_checkpoint: PATH}}`."""

from __future__ import annotations

from stagetrain.config.specs import SourceSpec, register_source

DESCRIPTION = 'A name-based checkpoint of TensorFlow 1 (path prefix, file or folder), as a rule with `rules`.'
register_source(SourceSpec('tf1_checkpoint', 'stagetrain.weights.sources:read_tf1_checkpoint', DESCRIPTION))
