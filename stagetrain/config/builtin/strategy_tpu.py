"""The strategy `tpu`: named, and refused until a stage was trained on a TPU."""

from __future__ import annotations

from stagetrain.config.strategies import StrategySpec, register_strategy

register_strategy(StrategySpec('tpu', refusal='no stage was ever tried on a TPU'))
