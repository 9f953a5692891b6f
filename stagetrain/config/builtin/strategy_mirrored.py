"""The strategy `mirrored`: a copy of the network on each of several devices of one machine, which share every batch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stagetrain.config.strategies import ReplicaOptions, StrategySpec, register_strategy


class Mirrored(ReplicaOptions):
    """Options of the strategy `mirrored`."""

    num_devices: Annotated[int, Field(gt=0)] = 1
    """Devices; each computes `batch_size / num_devices` images of a step."""
    device: Literal['gpu', 'cpu'] = 'gpu'
    """`gpu`: the first GPUs of the machine. `cpu`: the processor is divided into so many logical devices, which makes nothing
    faster and is for tests."""


register_strategy(
    StrategySpec(
        'mirrored',
        implementation='stagetrain.devices.mirrored:build',
        options=Mirrored,
        num_replicas=lambda options: options.num_devices,
        rules='stagetrain.config.replica_rules:problems',
    )
)
