"""What exported networks compute: from pictures to detections, in the form of the Object Detection API's exporter.

    served = Served(detector, geometry_of(model, training=False), are_normalized=True)
    served.of_files(tf.constant([data]))['detection_boxes']

Resizing and normalisation are inside. All of it can be traced, to a graph of TensorFlow's own ops.

B images, D detections, m side of a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from stagetrain.detectors.detector import Detector
from stagetrain.evaluation.evaluate import build_inference
from stagetrain.images import decoding
from stagetrain.images.geometry import Geometry
from stagetrain.images.network_input import Batch
from stagetrain.inference.exported import ExportedNetwork

INPUT = 'input_tensor'
OUTPUTS = {
    'detection_boxes': 'float32 [B, D, 4]: ymin, xmin, ymax, xmax; see `boxes` of the options',
    'detection_scores': 'float32 [B, D], by falling score; 0 behind the last detection',
    'detection_classes': 'float32 [B, D], from 1; 1 behind the last detection',
    'num_detections': 'float32 [B]',
    'detection_masks': 'float32 [B, D, m, m]: the probability of the object at each point of its box',
}
"""Output -> what it is; masks only where the network predicts them."""
Outputs = dict[str, tf.Tensor]


class Served:
    """A detector behind pictures."""

    def __init__(self, detector: Detector, geometry: Geometry, *, are_normalized: bool) -> None:
        """Stores what computes.

        Args:
          detector: with its weights.
          geometry: how pictures become its inputs.
          are_normalized: whether boxes are relative to the picture, from 0 to 1; otherwise they are in its pixels.
        """
        self._geometry, self._are_normalized = geometry, are_normalized
        self._infer = build_inference(detector, can_detect=True, num_proposals=0)

    def of_files(self, data: tf.Tensor) -> Outputs:
        """Returns what is found in encoded pictures, strings `[B]`: JPEG, PNG or BMP, of any sizes."""
        return self._of(decoding.decode, data)

    def of_pictures(self, pictures: tf.Tensor) -> Outputs:
        """Returns what is found in pictures uint8 `[B, height, width, 3]`, RGB."""
        return self._of(tf.identity, pictures)

    def of_picture(self, picture: tf.Tensor) -> Outputs:
        """Returns what is found in one picture uint8 `[height, width, 3]`, RGB, as a batch of one."""
        one = self.prepared(picture)
        # A shape that is written in the graph: TensorFlow Lite does not know what Python knows of it.
        one['image'] = tf.reshape(one['image'], [*self._geometry.padded, 3])
        return self.detected({key: value[tf.newaxis] for key, value in one.items()})

    def _of(self, pixels_of: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> Outputs:
        image = tf.TensorSpec([*self._geometry.padded, 3], tf.float32)
        sizes = tf.TensorSpec([2], tf.float32)
        inputs = tf.map_fn(
            lambda one: self.prepared(pixels_of(one)),
            images,
            fn_output_signature={'image': image, 'image_shape': sizes, 'size': sizes},
        )
        return self.detected(inputs)

    def prepared(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what the network reads of one picture uint8 `[height, width, 3]`, and `size` float32 `[2]`, the picture's."""
        return {**self._geometry.plain_input(pixels), 'size': tf.cast(tf.shape(pixels)[:2], tf.float32)}

    def detected(self, inputs: dict[str, tf.Tensor]) -> Outputs:
        """Returns what is found, given `prepared` of each image of a batch."""
        found = self._infer(Batch(image=inputs['image'], image_shape=inputs['image_shape']))
        scale = inputs['image_shape'] if self._are_normalized else inputs['image_shape'] / inputs['size']
        is_one = tf.sequence_mask(found['num_valid'], found['scores'].shape[1])
        boxes = found['boxes'] / tf.tile(scale, [1, 2])[:, tf.newaxis]
        outputs = {
            'detection_boxes': tf.where(is_one[..., tf.newaxis], boxes, 0.0),
            'detection_scores': tf.where(is_one, found['scores'], 0.0),
            'detection_classes': tf.where(is_one, tf.cast(found['classes'], tf.float32), 1.0),
            'num_detections': tf.cast(found['num_valid'], tf.float32),
        }
        if 'masks' in found:
            outputs['detection_masks'] = found['masks']
        return outputs


class PlainModule(tf.Module):
    """A network for one picture at a time, of ops that TensorFlow Lite and ONNX have too.

    It is made inside of `setup.with_kernels(setup.PLAIN)`.
    """

    def __init__(self, network: ExportedNetwork, *, are_normalized: bool, input_size: Sequence[int] | None) -> None:
        """Builds the network and traces it.

        Args:
          network: what is exported.
          are_normalized: as of `Served`.
          input_size: height and width of the pictures; None: any.
        """
        super().__init__()
        served = Served(network.network, network.geometry, are_normalized=are_normalized)
        self.weights = network.variables
        spec = tf.TensorSpec([1, *(input_size or (None, None)), 3], tf.uint8, name=INPUT)
        detect = tf.function(lambda input_tensor: served.of_picture(input_tensor[0]), input_signature=[spec], autograph=False)
        self.function = detect.get_concrete_function()

    @property
    def outputs(self) -> list[str]:
        """The names of what it gives."""
        return sorted(self.function.structured_outputs)
