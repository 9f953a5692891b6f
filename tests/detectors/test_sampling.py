"""Samples are balanced, depend on the seed alone, and are drawn from what they may be drawn from."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.detectors.sampling import sample_indices, sample_labels

pytestmark = pytest.mark.numbers
POSITIVE = tf.constant([True] * 10 + [False] * 90)
NEGATIVE = tf.constant([False] * 20 + [True] * 80)


def test_labels_are_balanced():
    labels = sample_labels(POSITIVE, NEGATIVE, num_samples=16, positive_fraction=0.25, seed=tf.constant([1, 2])).numpy()
    assert (labels == 1).sum() == 4 and (labels == 0).sum() == 12
    assert (labels[:10] != 0).all() and (labels[10:20] == -1).all() and (labels[20:] != 1).all()


def test_too_few_positives_are_filled_up_with_negatives():
    labels = sample_labels(POSITIVE, NEGATIVE, num_samples=64, positive_fraction=0.5, seed=tf.constant([1, 2])).numpy()
    assert (labels == 1).sum() == 10 and (labels == 0).sum() == 54


def test_no_positive_and_no_negative():
    nothing = tf.zeros([100], tf.bool)
    assert (sample_labels(nothing, nothing, 16, 0.5, tf.constant([1, 2])).numpy() == -1).all()


def test_equal_seeds_give_equal_samples():
    draw = lambda seed: sample_labels(POSITIVE, NEGATIVE, 16, 0.25, tf.constant(seed)).numpy()  # noqa: E731
    np.testing.assert_array_equal(draw([1, 2]), draw([1, 2]))
    assert (draw([1, 2]) != draw([1, 3])).any()


def test_indices_are_balanced_and_distinct():
    seeds = tf.constant([[1, 2], [3, 4]])
    chosen = sample_indices(tf.stack([POSITIVE] * 2), tf.stack([NEGATIVE] * 2), 16, 0.25, seeds).numpy()
    assert chosen.shape == (2, 16)
    for row in chosen:
        assert len(set(row)) == 16 and (row < 10).sum() == 4 and ((row >= 10) & (row < 20)).sum() == 0


def test_indices_fill_up_when_candidates_are_too_few():
    positive, negative = tf.constant([[True] * 2 + [False] * 18]), tf.constant([[False] * 15 + [True] * 5])
    chosen = sample_indices(positive, negative, 16, 0.25, tf.constant([[1, 2]])).numpy()[0]
    assert len(set(chosen)) == 16 and {0, 1, 15, 16, 17, 18, 19} <= set(chosen)


def test_all_are_taken_where_they_are_fewer_than_asked_for():
    positive, negative = tf.constant([[False, True, False, True], [False] * 4]), tf.constant([[True, False, False, False]] * 2)
    chosen = sample_indices(positive, negative, 16, 0.25, tf.constant([[1, 2], [3, 4]])).numpy()
    assert chosen.tolist() == [[1, 3, 0, 2], [0, 1, 2, 3]]


def test_every_positive_is_drawn_equally_often():
    counts = np.zeros(100)
    for seed in range(200):
        counts += sample_labels(POSITIVE, NEGATIVE, 10, 0.5, tf.constant([seed, 0])).numpy() == 1
    assert counts[10:].sum() == 0 and counts[:10].sum() == 1000
    assert (np.abs(counts[:10] - 100) < 35).all()  # Five standard deviations.
