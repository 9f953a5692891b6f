"""A loss and a flag from outside the package: large features cost, and the flag has the log say how they are.

loss_weights: {calm: 0.1, ...}
losses: {calm: {bound: 2.0}}

stagetrain run four.yaml --calm_report=rpn_1       # also with eval, plan, ...; stagetrain run four.yaml --helpfull lists it

What a flag says is not part of fingerprints: what decides numbers, here the bound, is a setting of the pipeline file.
"""

from __future__ import annotations

from typing import Any

from absl import flags, logging

from stagetrain.config import losses
from stagetrain.config.options import Strict

REPORT = flags.DEFINE_string('calm_report', '', 'Words that the log puts before the bound of the loss `calm`; empty: no report.')


class Calm(Strict):
    """What a stage says of it."""

    bound: float = 1.0
    """Features up to this cost nothing."""


def build(network: Any, teacher: None, settings: Calm) -> Any:
    """Builds it; see `LossSpec`."""
    import tensorflow as tf

    if REPORT.value:
        logging.info('%s: features above %s cost', REPORT.value, settings.bound)

    def loss(batch: Any, teacher_batch: Any) -> Any:
        features = network.features(batch, training=True)
        return tf.add_n([tf.reduce_mean(tf.nn.relu(tf.abs(features[level]) - settings.bound)) for level in sorted(features)])

    return loss


losses.register_loss(losses.LossSpec('calm', Calm, f'{__name__}:build', modules=lambda spec: ('backbone', 'decoder')))
