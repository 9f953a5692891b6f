"""What the options of two-stage detectors have in common: the Model Garden's, less what a stage or the data decides.

A stage weighs the losses, the data has the number of classes; `scripts/generate_model_garden_options.py` leaves those out.
"""

from __future__ import annotations

from stagetrain.config.augmentation import AugmentedParser
from stagetrain.config.model_garden import networks

FIXED_OPTIONS = ('roi_generator.use_batched_nms',)
"""Options that are not read."""
CASCADE_OPTIONS = ('roi_sampler.cascade_iou_thresholds', 'detection_head.cascade_class_ensemble')


class Parser(AugmentedParser, networks.TwoStageParser):
    """How images and targets are prepared."""
