"""How pixels are normalised before a network sees them, in the way that its published weights were trained."""

from __future__ import annotations

import tensorflow as tf


def normalize(image: tf.Tensor, preprocessing: str) -> tf.Tensor:
    """Normalises float32 `[..., 3]` RGB values in [0, 255].

    `imagenet_mean_std`: the Model Garden's `preprocess_ops.normalize_image`. Three ways of `tf_keras.applications`:
    `scale_to_one` (mode `tf`): to [-1, 1]; `bgr_mean` (mode `caffe`): channels in BGR order, less ImageNet's means;
    `none`: as it is, for networks that normalise inside.
    """
    if preprocessing == 'none':
        return image
    if preprocessing == 'scale_to_one':
        return image / 127.5 - 1.0
    if preprocessing == 'bgr_mean':
        return image[..., ::-1] - tf.constant([103.939, 116.779, 123.68])
    assert preprocessing == 'imagenet_mean_std', preprocessing
    mean = tf.constant([0.485 * 255, 0.456 * 255, 0.406 * 255])
    deviation = tf.constant([0.229 * 255, 0.224 * 255, 0.225 * 255])
    return (image - mean) / deviation
