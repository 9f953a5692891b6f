"""The strategy `mirrored`: named, and refused until replicas are proved to train like one device."""

from __future__ import annotations

from stagetrain.config.strategies import StrategySpec, register_strategy

register_strategy(StrategySpec('mirrored', refusal='no stage was ever trained on several replicas'))
