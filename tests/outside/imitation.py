"""A loss from outside the package: distillation (Hinton et al. 2015) of the features that the heads read.

loss_weights: {imitation: 0.5, ...}
losses: {imitation: {from: teacher}}
"""

from __future__ import annotations

from typing import Any

from stagetrain.config import losses


class Imitation(losses.TeacherSettings):
    """What a stage says of it."""

    power: float = 2.0
    """To which power differences are raised."""


def build(network: Any, teacher: Any, settings: Imitation) -> Any:
    """Builds it; see `LossSpec`."""
    import tensorflow as tf

    def loss(batch: Any, teacher_batch: Any) -> Any:
        mine = network.features(batch, training=True)
        wanted = teacher.features(teacher_batch, training=False)
        return tf.add_n([tf.reduce_mean(tf.abs(mine[level] - wanted[level]) ** settings.power) for level in sorted(mine)])

    return loss


losses.register_loss(
    losses.LossSpec(
        name='imitation',
        settings=Imitation,
        implementation=f'{__name__}:build',
        modules=lambda spec: ('backbone', 'decoder'),
        teacher_modules=lambda spec: ('backbone', 'decoder'),
    )
)
