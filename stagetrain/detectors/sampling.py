"""Balanced sampling of positives and negatives with stateless random numbers.

The Model Garden's samplers draw from a stateful generator, so that a resumed run sees other anchors and RoIs than the
uninterrupted one. These take a seed for each image instead; for equal seeds the sample is equal, in any process. They draw from
the same distribution: a uniform subset of the positives up to their share, filled up with a uniform subset of the negatives.

B images, N candidates, S samples.
"""

from __future__ import annotations

import tensorflow as tf


def sample_labels(
    positive: tf.Tensor, negative: tf.Tensor, num_samples: int, positive_fraction: float, seed: tf.Tensor
) -> tf.Tensor:
    """Labels a balanced sample of one image's anchors, as `RpnAnchorLabeler` does (Ren et al. 2015, section 3.1.3).

    Args:
      positive: bool `[N]`.
      negative: bool `[N]`, disjoint from `positive`.
      num_samples: anchors sampled at most.
      positive_fraction: share of positives at most, in [0, 1].
      seed: int32 `[2]`.

    Returns:
      int32 `[N]`: 1 for a sampled positive, 0 for a sampled negative, -1 for the rest.
    """
    keys = tf.random.stateless_uniform(tf.shape(positive), seed)
    max_positive = int(positive_fraction * num_samples)
    sampled_positive = _smallest(tf.where(positive, keys, 2.0), positive, max_positive)
    num_negative = num_samples - tf.reduce_sum(tf.cast(sampled_positive, tf.int32))
    sampled_negative = _smallest(tf.where(negative, keys, 2.0), negative, num_negative)
    return tf.where(sampled_positive, 1, tf.where(sampled_negative, 0, -1))


def _smallest(keys: tf.Tensor, candidates: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
    """Returns bool `[N]`: the `count` candidates with the smallest keys, or all of them when there are fewer."""
    ordered = tf.sort(keys)
    limit = tf.where(count > 0, ordered[tf.minimum(tf.maximum(count, 1), tf.shape(keys)[0]) - 1], -1.0)
    return tf.logical_and(candidates, keys <= limit)


def sample_indices(
    positive: tf.Tensor, negative: tf.Tensor, num_samples: int, positive_fraction: float, seeds: tf.Tensor
) -> tf.Tensor:
    """Chooses a balanced sample of RoIs of a batch, as the Model Garden's `BoxSampler` does (Girshick 2015, section 2.3).

    Args:
      positive: bool `[B, N]`.
      negative: bool `[B, N]`, disjoint from `positive`.
      num_samples: S.
      positive_fraction: share of positives at most, in [0, 1].
      seeds: int32 `[B, 2]`.

    Returns:
      int32 `[B, S]`: indices into N, positives first. Where an image has too few positives and negatives, candidates that are
      neither fill up, the first ones first, as in the Model Garden. Where N is smaller than S, which ends in an error there:
      int32 `[B, N]`, all of them.
    """
    num_candidates = positive.shape[1]
    if num_candidates < num_samples:
        return tf.argsort(tf.cast(positive, tf.int32), axis=1, direction='DESCENDING', stable=True)
    keys = tf.map_fn(lambda seed: tf.random.stateless_uniform([num_candidates], seed), seeds, fn_output_signature=tf.float32)
    max_positive = int(positive_fraction * num_samples)
    positive_keys, positive_indices = tf.math.top_k(tf.where(positive, keys, -1.0), k=max_positive)
    filler = -tf.range(1, num_candidates + 1, dtype=tf.float32)[tf.newaxis]
    negative_keys = tf.where(negative, keys, tf.where(positive, filler - num_candidates, filler))
    _, negative_indices = tf.math.top_k(negative_keys, k=num_samples)
    # Positives that were drawn come first, then negatives in the order drawn; an empty positive slot loses against both.
    slots = tf.concat([positive_indices, negative_indices], axis=1)
    negative_order = tf.tile(tf.range(num_samples, 0, -1, dtype=tf.float32)[tf.newaxis], [tf.shape(positive)[0], 1])
    priority = tf.concat([tf.where(positive_keys >= 0, num_samples + 1.0, -1.0), negative_order], axis=1)
    _, chosen = tf.math.top_k(priority, k=num_samples)
    return tf.gather(slots, chosen, batch_dims=1)
