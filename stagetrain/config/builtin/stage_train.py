"""The stage kind `train`: variables are trained with losses for some steps."""

from __future__ import annotations

from stagetrain.config.options import NoOptions
from stagetrain.config.stage_kinds import TRAIN, StageKind, register_stage_kind

register_stage_kind(StageKind(TRAIN, NoOptions, implementation='stagetrain.training.stage:train_stage', trains=True))
