"""A detector from outside the package: every place of one level says which class lies at its centre and how large it is.

B images, h x w places, K classes.
"""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from stagetrain.config import options, specs
from stagetrain.config.builtin.keras_backbones import Backbone
from stagetrain.config.one_stage import OneStageParser

MODULES = ('backbone', 'head')


class Losses(options.Strict):
    """As every detector has them."""

    l2_weight_decay: float = 0.0


class Places(options.NetworkOptions):
    """`model: {type: places}`."""

    type: Literal['places']
    input_size: list[int] = pydantic.Field(default_factory=list)
    min_level: int = 3
    max_level: int = 3
    backbone: Backbone = options.defaults()
    losses: Losses = pydantic.Field(default_factory=Losses)
    parser: OneStageParser = options.defaults()


def build(model: Places, num_classes: int, modules: tuple[str, ...], seed: int) -> Any:
    """Builds it; see `DetectorSpec`."""
    import tensorflow as tf
    import tf_keras

    from stagetrain.detectors.detector import BatchDetections
    from stagetrain.detectors.pyramid import PyramidDetector

    height, width = (size // 8 for size in model.input_size[:2])

    class PlacesDetector(PyramidDetector):
        def _build_decoder(self, levels):
            return None

        def _heads_on(self, levels):
            def head():
                layer = tf_keras.layers.Conv2D(num_classes + 2, 1)
                layer.build(levels['3'])
                return layer

            return {'head': head}

        def _outputs(self, batch, training):
            output = self.modules['head'](self.features(batch, training)['3'])
            return output[..., :num_classes], output[..., num_classes:]

        def losses(self, batch, terms):
            logits, sizes = self._outputs(batch, training=True)
            targets = batch['targets']
            is_object = tf.reduce_max(targets['class_map'], axis=-1, keepdims=True)
            values = {
                'class': tf.nn.sigmoid_cross_entropy_with_logits(targets['class_map'], logits),
                'size': tf.abs(sizes - targets['size_map']) * is_object,
            }
            return {term: tf.reduce_mean(values[term]) for term in terms}

        def detect(self, batch):
            logits, sizes = self._outputs(batch, training=False)
            scores, index = tf.math.top_k(tf.reshape(tf.sigmoid(logits), [-1, height * width * num_classes]), k=20)
            place = index // num_classes
            centres = tf.cast(tf.stack([place // width, place % width], axis=-1), tf.float32) * 8 + 4
            half = tf.maximum(tf.gather(tf.reshape(sizes, [-1, height * width, 2]), place, batch_dims=1), 0.0) * 4
            boxes = tf.concat([centres - half, centres + half], axis=-1)
            return BatchDetections(boxes, scores, index % num_classes + 1, tf.fill([tf.shape(index)[0]], 20))

        def match(self, known, terms):
            boxes, classes = known['gt_boxes'][: known['num_objects']], known['gt_classes'][: known['num_objects']]
            places = tf.cast((boxes[:, :2] + boxes[:, 2:]) / 16, tf.int32)
            class_map = tf.scatter_nd(places, tf.one_hot(classes - 1, num_classes), [height, width, num_classes])
            size_map = tf.scatter_nd(places, (boxes[:, 2:] - boxes[:, :2]) / 8, [height, width, 2])
            return {'class_map': tf.minimum(class_map, 1.0), 'size_map': size_map}

    return PlacesDetector(model, None, modules, seed)


specs.register_detector(
    specs.DetectorSpec(
        name='places',
        options=Places,
        modules=MODULES,
        loss_modules={'class': MODULES, 'size': MODULES},
        implementation=f'{__name__}:build',
        detection_modules=MODULES,
    )
)
