"""What networks read: a batch, what is known of one image before targets are sampled, and the seeds of sampling.

TensorFlow passes these as dictionaries through `tf.data` and into graphs, so they are `TypedDict`s.

B images, H x W pixels of the network's input, G ground-truth boxes (the most that an image of the set has), P proposals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import tensorflow as tf


class Batch(TypedDict, total=False):
    """A batch of training or evaluation.

    Training: all but `image` where features are stored, `gt_masks` where no loss reads them, `proposals` and `inputs`.
    Evaluation: `image_index`, `image_shape`, `image`, and `proposals` where the stage reads stored ones.
    """

    image_index: tf.Tensor
    """int32 `[B]`: index into `Dataset.examples`."""
    image_shape: tf.Tensor
    """float32 `[B, 2]`: height and width in pixels of the scaled image inside its padding."""
    seed: tf.Tensor
    """int32 `[B, 2]`: for what a network draws in the step itself."""
    image: tf.Tensor
    """float32 `[B, H, W, 3]` RGB (or as the weights ask for, see `images.normalization`), normalised, padded with zeros."""
    features: Mapping[str, Mapping[str, tf.Tensor]]
    """Stored or shared outputs of the network's front: `Cut.key` -> level, or layer, -> float32 `[B, h, w, C]`."""
    gt_boxes: tf.Tensor
    """float32 `[B, G, 4]`: (ymin, xmin, ymax, xmax) in pixels of the scaled image, padded with -1."""
    gt_classes: tf.Tensor
    """int32 `[B, G]`: from 1, padded with -1."""
    gt_masks: tf.Tensor
    """float32 `[B, G, S, S]` in [0, 1]: masks inside their boxes, padded with -1; see `Detector.mask_size`."""
    targets: Mapping[str, Any]
    """What `Detector.targets` gives of each image, stacked: `[B, ...]`."""
    proposals: tf.Tensor
    """float32 `[B, P, 4]`: (ymin, xmin, ymax, xmax) in pixels of the scaled image, best first, padded with -1."""
    inputs: Any
    """(features, labels) as a Model Garden task reads them; in batches of an experiment alone."""


class Known(TypedDict, total=False):
    """What is known of one image in one view before anything is sampled."""

    num_objects: tf.Tensor
    """int32 scalar: the objects that the view shows."""
    image_shape: tf.Tensor
    """float32 `[2]`: height and width in pixels of the scaled image inside its padding."""
    gt_boxes: tf.Tensor
    """float32 `[G, 4]`: (ymin, xmin, ymax, xmax) in pixels of the scaled image, padded with -1 after the first `num_objects`."""
    gt_classes: tf.Tensor
    """int32 `[G]`: from 1, padded with -1."""
    proposals: tf.Tensor
    """float32 `[P, 4]`: stored ones, (ymin, xmin, ymax, xmax) in pixels of the scaled image, best first, padded with -1."""


class Seeds(TypedDict):
    """Seeds of one image in one step, int32 `[2]` each."""

    anchors: tf.Tensor
    rois: tf.Tensor
