"""The strategy `one_device`: everything on the device that TensorFlow takes by itself, the first accelerator or else the CPU."""

from __future__ import annotations

from stagetrain.config.strategies import ONE_DEVICE, StrategySpec, register_strategy

register_strategy(StrategySpec(ONE_DEVICE, implementation='stagetrain.devices.setup:one_device'))
