"""CenterNet (Zhou et al. 2019, "Objects as Points"), in the shape of keras-CenterNet, on the Model Garden's heads and losses.

One level of the backbone, dropout, up-convolutions, and three heads on the last of them: a heat map of centres for each class,
the size of the object around a centre, and how far the centre lies from the corner of its place. An object is one peak, so that
there are no anchors and nothing is suppressed.

The Model Garden's own model has an hourglass and no ResNet, so the up-convolutions are ours; heads, losses, Gaussian targets and
decoding are `official.projects.centernet`'s. Sizes and offsets are in places of the heat map, as there.

B images, G ground-truth boxes, h x w places of the heat map, K classes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.projects.centernet.losses import centernet_losses
from official.projects.centernet.modeling.heads import centernet_head
from official.projects.centernet.modeling.layers import detection_generator
from official.projects.centernet.ops import loss_ops, target_assigner
from official.vision.ops import box_ops

from stagetrain.config.builtin import centernet as options
from stagetrain.detectors.detector import BatchDetections
from stagetrain.detectors.pyramid import BuildHead, PyramidDetector
from stagetrain.detectors.replicas import mean_of_replicas, num_replicas
from stagetrain.images.network_input import Batch, Known

OUTPUTS = {'heatmap': 'ct_heatmaps', 'size': 'ct_size', 'offset': 'ct_offset'}
"""Loss term -> the Model Garden's name of the head that only this term needs."""
_NO_CENTRE = -1e4
"""A logit whose sigmoid is 0."""


class CenterNet(PyramidDetector):
    """A CenterNet of backbone, decoder (the up-convolutions) and head."""

    model: options.CenterNet

    def __init__(self, model: options.CenterNet, num_classes: int, modules: Sequence[str], seed: int):
        """Builds the modules with initial values that depend on `seed` alone.

        Args:
          model: the `centernet` options of a pipeline.
          num_classes: K, without background.
          modules: whether `head` is built; backbone and decoder always are.
          seed: of the initialisers.
        """
        self.num_classes = num_classes
        self._stride = 2**model.min_level
        self._places = [-(-size // self._stride) for size in model.input_size[:2]]
        super().__init__(model, None, modules, seed)

    # ---- building -------------------------------------------------------------------------------------------------------

    def _build_decoder(self, levels: Mapping[str, tf.TensorShape]) -> tf_keras.Model:
        """Returns the up-convolutions (4x4, stride 2, BatchNorm, activation) from level `max_level` to `min_level`."""
        norm = self.model.norm_activation
        features = inputs = tf_keras.Input(levels[str(self.model.max_level)][1:], name='features')
        for number, num_filters in enumerate(self.model.decoder.num_filters, 1):
            features = tf_keras.layers.Conv2DTranspose(
                num_filters,
                4,
                strides=2,
                padding='same',
                use_bias=False,
                kernel_initializer='he_normal',
                kernel_regularizer=self._regularizer(),
                name=f'up_{number}',
            )(features)
            features = tf_keras.layers.BatchNormalization(
                momentum=norm.norm_momentum, epsilon=norm.norm_epsilon, synchronized=norm.use_sync_bn, name=f'up_{number}_bn'
            )(features)
            features = tf_keras.layers.Activation(norm.activation, name=f'up_{number}_activation')(features)
        return tf_keras.Model({str(self.model.max_level): inputs}, {self._level: features}, name='up_convolutions')

    def _heads_on(self, levels: Mapping[str, tf.TensorShape]) -> Mapping[str, BuildHead]:
        """Returns what builds the Model Garden's `head`; see `PyramidDetector`."""
        widths = {'heatmap': self.num_classes, 'size': 2, 'offset': 2}

        def head() -> Any:
            return centernet_head.CenterNetHead(
                input_specs=dict(levels),
                task_outputs={output: widths[term] for term, output in OUTPUTS.items()},
                input_levels=[self._level],
                heatmap_bias=self.model.head.heatmap_bias,
            )

        return {'head': head}

    @property
    def _level(self) -> str:
        return str(self.model.min_level)

    # ---- computing ------------------------------------------------------------------------------------------------------

    def features(self, batch: Batch, training: bool) -> Mapping[str, tf.Tensor]:
        """Returns what the heads read; in training with dropout in front of the up-convolutions, see `Detector.features`."""
        rate = self.model.decoder.dropout_rate
        # Frozen up-convolutions run in inference mode, with dropout off: stored features then are what is computed here.
        is_dropped = training and rate and self.modules['decoder'].trainable_variables
        if not is_dropped or self._last_module in batch.get('features', {}):
            return super().features(batch, training)
        read = self._backbone_features(batch, training=True)
        # One mask a batch, of the first image's seed: it depends on (seed, stage, step, image) as all random numbers here.
        dropped = {level: tf.nn.experimental.stateless_dropout(values, rate, batch['seed'][0]) for level, values in read.items()}
        return super().features({**batch, 'features': {'backbone': dropped}}, training)

    def reached(self, terms: Sequence[str]) -> set[str]:
        """Returns the canonical names of the trainable variables that `terms` depend on; see `Detector.reached`."""
        idle = tuple(f'head/{self._head_name(term)}/' for term in OUTPUTS if term not in terms)
        return {name for name in super().reached(terms) if not name.startswith(idle)}

    def _head_name(self, term: str) -> str:
        return f'{OUTPUTS[term]}{self._level}'

    def _outputs(self, features: Mapping[str, tf.Tensor], terms: Sequence[str], training: bool) -> dict[str, tf.Tensor]:
        """Returns term -> `[B, h, w, channels]`, only of the heads that `terms` need."""
        head = self.modules['head']
        return {term: head.get_layer(self._head_name(term))(features[self._level], training=training) for term in terms}

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the Model Garden's losses named in `terms`; see `Detector.losses`."""
        return self.losses_on(self._outputs(self.features(batch, training=True), terms, training=True), batch)

    def losses_on(self, outputs: Mapping[str, tf.Tensor], batch: Batch) -> dict[str, tf.Tensor]:
        """Returns the loss of each output (term -> `[B, h, w, channels]`), divided by the batch's number of objects."""
        is_object = tf.cast(batch['gt_classes'] > 0, tf.float32)
        num_objects = tf.maximum(mean_of_replicas(tf.reduce_sum(is_object)), 1.0 / num_replicas())
        targets, sums = batch['targets'], {}
        for term, predicted in outputs.items():
            if term == 'heatmap':
                focal = centernet_losses.PenaltyReducedLogisticFocalLoss()
                sums[term] = tf.reduce_sum(focal(predicted, targets['heatmap_targets'], self._inside(batch['image_shape'])))
            else:
                absolute = centernet_losses.L1LocalizationLoss()
                at_centres = tf.gather_nd(predicted, targets['centres'], batch_dims=1)
                sums[term] = tf.reduce_sum(absolute(at_centres, targets[f'{term}_targets'], is_object[..., tf.newaxis]))
        return {term: value / num_objects for term, value in sums.items()}

    def _inside(self, image_shape: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[B, h, w, 1]`: 1 where a place lies in the image, 0 in its padding."""
        shown = tf.math.ceil(image_shape / self._stride)
        weights = loss_ops.get_valid_anchor_weights_in_flattened_image(shown, *self._places)
        return tf.reshape(weights, [-1, *self._places, 1])

    def detect(self, batch: Batch) -> BatchDetections:
        """Returns the heat map's peaks as boxes; see `Detector.detect`."""
        outputs = self._outputs(self.features(batch, training=False), tuple(OUTPUTS), training=False)
        return self.decode(outputs, batch['image_shape'])

    def decode(self, outputs: Mapping[str, tf.Tensor], image_shape: tf.Tensor) -> BatchDetections:
        """Returns the peaks of `heatmap` with their `size` and `offset` as boxes, by falling score.

        Args:
          outputs: term -> float32 `[B, h, w, channels]`; the heat map as logits.
          image_shape: float32 `[B, 2]`, height and width of the scaled image inside its padding.
        """
        # No centre lies in the padding; there the score is 0, and the Model Garden counts only what is above.
        heatmap = tf.where(self._inside(image_shape) > 0, outputs['heatmap'], _NO_CENTRE)
        found = self._generator({'ct_heatmaps': [heatmap], 'ct_size': [outputs['size']], 'ct_offset': [outputs['offset']]})
        return BatchDetections(
            boxes_yxyx_px=box_ops.clip_boxes(found['boxes'], image_shape[:, tf.newaxis]),
            scores=found['confidence'],
            classes=found['classes'],
            num_valid=found['num_detections'],
        )

    @functools.cached_property
    def _generator(self) -> detection_generator.CenterNetDetectionGenerator:
        height, width = self.model.input_size[:2]
        options = self.model.detection_generator.model_dump()
        num_peaks = (height // self._stride) * (width // self._stride) * self.num_classes
        options['max_detections'] = min(options['max_detections'], num_peaks)
        return detection_generator.CenterNetDetectionGenerator(
            input_image_dims=(height, width), net_down_scale=self._stride, **options
        )

    # ---- targets --------------------------------------------------------------------------------------------------------

    def match(self, known: Known, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns all targets, for no random number decides one; see `Detector.match`.

        `heatmap_targets` float32 `[h, w, K]`; `centres` int32 `[G, 2]`: row and column of the place; `size_targets` and
        `offset_targets` float32 `[G, 2]`, vertically and horizontally, in places. Zero behind the last object.
        """
        boxes = tf.where(known['gt_classes'][:, tf.newaxis] > 0, known['gt_boxes'] / self._stride, 0.0)
        middles, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2.0, boxes[:, 2:] - boxes[:, :2]
        centres = tf.floor(middles)
        targets = {'size_targets': sizes, 'offset_targets': middles - centres}
        matched = {key: values for key, values in targets.items() if key.removesuffix('_targets') in terms}
        if matched:
            matched['centres'] = tf.cast(centres, tf.int32)
        if 'heatmap' in terms:
            matched['heatmap_targets'] = tf.ensure_shape(
                target_assigner.assign_center_targets(
                    *self._places,
                    y_center=centres[:, 0],
                    x_center=centres[:, 1],
                    boxes_height=sizes[:, 0],
                    boxes_width=sizes[:, 1],
                    channel_onehot=tf.one_hot(known['gt_classes'] - 1, self.num_classes),
                    gaussian_iou=self.model.losses.gaussian_iou,
                ),
                [*self._places, self.num_classes],
            )
        return matched
