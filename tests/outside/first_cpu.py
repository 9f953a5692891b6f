"""A strategy from outside the package: everything on the first CPU, also where an accelerator is visible.

runtime: {strategy: first_cpu}
"""

from __future__ import annotations

from typing import Any

from stagetrain.config import strategies


def build(options: Any) -> Any:
    """Builds it; see `StrategySpec`."""
    import tensorflow as tf

    return tf.distribute.OneDeviceStrategy('/cpu:0')


strategies.register_strategy(strategies.StrategySpec('first_cpu', implementation=f'{__name__}:build'))
