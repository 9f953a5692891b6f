"""`--format saved_model`: a SavedModel with the signatures of the Object Detection API's exporter, which needs TensorFlow only.

    model = tf.saved_model.load('out/saved_model')
    found = model(pictures)                                     # uint8 [B, height, width, 3], or strings [B]
    found = model.signatures['encoded'](input_tensor=data)

B images.
"""

from __future__ import annotations

import pathlib
from typing import Any

import tensorflow as tf

from stagetrain.config.builtin.export_saved_model import SavedModelOptions
from stagetrain.devices import setup
from stagetrain.inference.exported import ExportedNetwork
from stagetrain.inference.served import INPUT, OUTPUTS, Served

FOLDER = 'saved_model'
INPUTS = {
    'image': tf.TensorSpec([None, None, None, 3], tf.uint8, name=INPUT),
    'encoded': tf.TensorSpec([None], tf.string, name=INPUT),
}
"""Signature -> its input."""
_WORDS = {
    'image': 'uint8 [B, height, width, 3], RGB; pictures of a batch have one size',
    'encoded': 'strings [B]: the bytes of JPEG, PNG or BMP files, of any sizes; turned upright by their EXIF orientation',
}


class DetectionModule(tf.Module):
    """What is saved: variables by canonical name, and a function of pictures or of encoded ones."""

    def __init__(self, served: Served, variables: dict[str, tf.Variable]) -> None:
        super().__init__()
        self._served = served
        self.weights = variables

    @tf.function(autograph=False)
    def __call__(self, input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the detections in pictures uint8 `[B, height, width, 3]`, or in encoded ones, strings `[B]`."""
        is_encoded = input_tensor.dtype == tf.string
        return self._served.of_files(input_tensor) if is_encoded else self._served.of_pictures(input_tensor)


def export(network: ExportedNetwork, options: SavedModelOptions, folder: pathlib.Path) -> dict[str, Any]:
    """Writes `saved_model/`; see `ExporterSpec`."""
    with setup.with_kernels(setup.NATIVE):  # On every machine, so that graphs are equal.
        served = Served(network.network, network.geometry, are_normalized=options.boxes == 'normalized')
        module = DetectionModule(served, network.variables)
        functions = {name: module.__call__.get_concrete_function(spec) for name, spec in INPUTS.items()}
        signatures = {'serving_default': functions[options.serving_default], **functions}
        tf.saved_model.save(module, folder / FOLDER, signatures=signatures)
    outputs = functions['image'].structured_outputs
    return {
        'input': {INPUT: _WORDS},
        'outputs': {name: OUTPUTS[name] for name in sorted(outputs)},
        'signatures': {'serving_default': options.serving_default, **{name: name for name in INPUTS}},
    }
