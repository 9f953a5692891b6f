"""Building a network of ours leaves a program's random generators and the names of its Keras layers as they were."""

from __future__ import annotations

import random

import numpy as np
import tensorflow as tf
import tf_keras

from stagetrain.detectors.detector import clear_names
from stagetrain.stages.undisturbed import undisturbed


def test_generators_and_layer_names_continue() -> None:
    random.seed(1)
    np.random.seed(2)
    tf.random.set_seed(3)
    first = tf_keras.layers.Dense(1).name
    expected = random.Random(1).random(), np.random.RandomState(2).rand()
    with undisturbed():
        clear_names(5)
        assert tf_keras.layers.Dense(1).name == 'dense'
    assert (random.random(), np.random.rand()) == expected
    number = int(first.rpartition('_')[2]) if '_' in first else 0
    assert tf_keras.layers.Dense(1).name == f'dense_{number + 1}'
    after = tf.random.uniform([]).numpy()
    tf.random.set_seed(3)
    assert tf.random.uniform([]).numpy() == after
