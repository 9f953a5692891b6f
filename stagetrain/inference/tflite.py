"""`--format tflite`: a TensorFlow Lite model of builtin ops, for one picture at a time, run by TensorFlow Lite or LiteRT alone.

interpreter = Interpreter('out/model.tflite')
found = interpreter.get_signature_runner()(input_tensor=picture[np.newaxis])
"""

from __future__ import annotations

import pathlib
import re
import tempfile
from typing import Any

import tensorflow as tf

from stagetrain.config.builtin.export_tflite import TfliteOptions
from stagetrain.devices import setup
from stagetrain.errors import BadInput
from stagetrain.inference.exported import ExportedNetwork
from stagetrain.inference.served import INPUT, OUTPUTS, PlainModule

FILE = 'model.tflite'
_OPS = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def export(network: ExportedNetwork, options: TfliteOptions, folder: pathlib.Path) -> dict[str, Any]:
    """Writes `model.tflite`; see `ExporterSpec`.

    Raises:
      BadInput: the network has an op that TensorFlow Lite lacks.
    """
    with setup.with_kernels(setup.PLAIN), tempfile.TemporaryDirectory() as temporary:
        module = PlainModule(network, are_normalized=options.boxes == 'normalized', input_size=options.input_size)
        tf.saved_model.save(module, temporary, signatures=module.function)  # Only from there a model gets named outputs.
        try:
            content = _converted(temporary, options)
        except Exception as error:  # The converter's own class is not public.
            raise BadInput(f'--format tflite: {_why(str(error))}; saved_model has no such limit') from error
    (folder / FILE).write_bytes(content)
    height, width = options.input_size or ('height', 'width')
    return {
        'input': {INPUT: f'uint8 [1, {height}, {width}, 3], RGB'},
        'outputs': {name: OUTPUTS[name] for name in module.outputs},
        'bytes': len(content),
    }


def _converted(saved_model: str, options: TfliteOptions) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(saved_model)
    if options.precision != 'float32':
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if options.precision == 'float16':
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _why(message: str) -> str:
    """Returns what of a converter's message, which may have thousands of lines, tells the cause."""
    ops = sorted(set(_OPS.findall(message)))
    if ops:
        return f'the network has ops that TensorFlow Lite lacks: {", ".join(ops)}'
    return (
        f'the network cannot be converted: {message.strip().splitlines()[0][:300] if message.strip() else "no reason is given"}'
    )
