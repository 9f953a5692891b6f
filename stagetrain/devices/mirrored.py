"""The strategy `mirrored`: a copy of the network on each of several devices of one machine, which share every batch.

On GPUs the Model Garden's `distribute_utils` makes it. A CPU is divided into logical devices, which is of use for tests alone.
"""

from __future__ import annotations

import tensorflow as tf
from official.common import distribute_utils

from stagetrain.config.builtin.strategy_mirrored import Mirrored
from stagetrain.errors import ConfigError

_PLACE = 'runtime.mirrored.num_devices'


def build(options: Mirrored) -> tf.distribute.Strategy:
    """Builds the strategy.

    Raises:
      ConfigError: there are fewer devices.
    """
    if options.device == 'cpu':
        return _on_logical_cpus(options.num_devices)
    found = len(tf.config.list_physical_devices('GPU'))
    if found < options.num_devices:
        raise ConfigError(
            f'{_PLACE}: found {options.num_devices}, but TensorFlow sees {found} GPUs on this machine; expected at most so many. '
            f'For a test without GPUs: device: cpu'
        )
    strategy: tf.distribute.Strategy = distribute_utils.get_distribution_strategy('mirrored', num_gpus=options.num_devices)
    return strategy


def _on_logical_cpus(number: int) -> tf.distribute.Strategy:
    (cpu,) = tf.config.list_physical_devices('CPU')
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
    except RuntimeError as error:  # TensorFlow runs already.
        present = len(tf.config.list_logical_devices('CPU'))
        if present < number:
            raise ConfigError(
                f'{_PLACE}: found {number}, but TensorFlow runs in this process already, with {present} CPU devices; expected at '
                f'most so many, or a process of its own'
            ) from error
    # Sums of gradients are taken in one order, so that bits are equal on every run.
    return tf.distribute.MirroredStrategy(
        [f'/cpu:{index}' for index in range(number)], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
