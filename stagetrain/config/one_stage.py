"""What one-stage detectors have in common: the Model Garden's `parser`, as far as it is read."""

from __future__ import annotations

from stagetrain.config.augmentation import AugmentedParser
from stagetrain.config.model_garden import networks


class OneStageParser(AugmentedParser, networks.OneStageParser):
    """How images and targets are prepared."""
