"""`--format onnx`: an ONNX model for one picture at a time, made by tf2onnx and run by onnxruntime alone.

session = onnxruntime.InferenceSession('out/model.onnx')
boxes, scores = session.run(['detection_boxes', 'detection_scores'], {'input_tensor': picture[np.newaxis]})
"""

from __future__ import annotations

import pathlib
from typing import Any

import onnx
import tf2onnx
from onnx.shape_inference import InferenceError
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from stagetrain.config.builtin.export_onnx import OnnxOptions
from stagetrain.devices import setup
from stagetrain.errors import BadInput
from stagetrain.inference.exported import ExportedNetwork
from stagetrain.inference.served import INPUT, OUTPUTS, PlainModule

FILE = 'model.onnx'


def export(network: ExportedNetwork, options: OnnxOptions, folder: pathlib.Path) -> dict[str, Any]:
    """Writes `model.onnx`; see `ExporterSpec`.

    Raises:
      BadInput: tf2onnx cannot convert the network, or makes a model of it that is none.
    """
    with setup.with_kernels(setup.PLAIN):
        module = PlainModule(network, are_normalized=options.boxes == 'normalized', input_size=options.input_size)
        frozen = convert_variables_to_constants_v2(module.function)  # Of anchors, too, tf2onnx would make inputs.
        (picture,) = frozen.inputs
        names = {picture.name: INPUT, **{one.name: name for one, name in zip(frozen.outputs, module.outputs, strict=True)}}
        try:
            tf2onnx.convert.from_graph_def(
                frozen.graph.as_graph_def(),
                input_names=[picture.name],
                output_names=[one.name for one in frozen.outputs],
                opset=options.opset,
                tensors_to_rename=names,
                output_path=str(folder / FILE),
            )
            onnx.checker.check_model(folder / FILE, full_check=True)
        except (ValueError, NotImplementedError, RuntimeError, onnx.checker.ValidationError, InferenceError) as error:
            raise BadInput(
                f'--format onnx: tf2onnx cannot convert the network: {error}; saved_model has no such limit'
            ) from error
    height, width = options.input_size or ('height', 'width')
    return {
        'input': {INPUT: f'uint8 [1, {height}, {width}, 3], RGB'},
        'outputs': {name: OUTPUTS[name] for name in module.outputs},
        'bytes': (folder / FILE).stat().st_size,
    }
