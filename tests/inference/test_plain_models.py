"""TensorFlow Lite and ONNX models find what `stagetrain detect` finds, run by LiteRT and onnxruntime."""

from __future__ import annotations

import importlib.util
import pathlib
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.config.builtin.export_onnx import OnnxOptions
from stagetrain.config.builtin.export_tflite import TfliteOptions
from stagetrain.detectors import roi_align, suppression
from stagetrain.detectors.detector import BatchDetections
from stagetrain.devices import setup
from stagetrain.errors import BadInput
from stagetrain.inference import tflite
from stagetrain.inference.served import Outputs, Served
from tests.detectors.test_class_layers import MODELS
from tests.inference.test_saved_model import network_of
from tests.same_detections import assert_same_detections

Run = Callable[[np.ndarray], dict[str, np.ndarray]]
SIZES = ((64, 64), (96, 80), (40, 88))


def picture(height: int, width: int) -> np.ndarray:
    small = np.random.default_rng(height).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    return small.repeat(8, axis=0).repeat(8, axis=1)


def litert(content: bytes) -> Run:
    """Returns what runs a TensorFlow Lite model on a picture, without TensorFlow."""
    interpreter_type = pytest.importorskip('ai_edge_litert.interpreter', reason='ai-edge-litert is not installed').Interpreter

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        interpreter = interpreter_type(model_content=content)
        (details,) = interpreter.get_input_details()
        interpreter.resize_tensor_input(details['index'], [1, *pixels.shape])
        interpreter.allocate_tensors()
        return dict(interpreter.get_signature_runner()(input_tensor=pixels[np.newaxis]))

    return run


def batch_of(outputs: dict[str, Any] | Outputs) -> BatchDetections:
    boxes, scores, classes, count = (
        np.asarray(outputs[key]) for key in ('detection_boxes', 'detection_scores', 'detection_classes', 'num_detections')
    )
    return BatchDetections(boxes, scores, classes.astype(np.int32), tf.constant(count.astype(np.int32)))


def assert_finds_the_same(run: Run, name: str) -> None:
    """Compares with the network as `detect` runs it, on pictures of several sizes."""
    with setup.with_kernels(setup.NATIVE):
        network = network_of(name)
        usual = Served(network.network, network.geometry, are_normalized=False)
        for size in SIZES:
            expected = usual.of_picture(tf.constant(picture(*size)))
            assert float(expected['num_detections'][0]) > 5
            assert_same_detections(batch_of(run(picture(*size))), batch_of(expected), pixels=0.01, score=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('name', MODELS)
def test_every_network_as_tflite_finds_what_detect_finds(name: str, tmp_path: pathlib.Path) -> None:
    pytest.importorskip('ai_edge_litert', reason='ai-edge-litert is not installed')
    with setup.with_kernels(setup.PLAIN):
        facts = tflite.export(network_of(name), TfliteOptions(boxes='pixels'), tmp_path)
    assert_finds_the_same(litert((tmp_path / 'model.tflite').read_bytes()), name)
    assert facts['input'] == {'input_tensor': 'uint8 [1, height, width, 3], RGB'}
    assert ('detection_masks' in facts['outputs']) == (name == 'mask_rcnn')


@pytest.fixture
def onnx_extra() -> None:
    """Skips where what `stagetrain[onnx]` brings is not installed."""
    for module in ('tf2onnx', 'onnx', 'onnxruntime'):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed; pip install 'stagetrain[onnx]' brings it")


@pytest.mark.slow
@pytest.mark.usefixtures('onnx_extra')
def test_onnx_of_masks_is_refused_with_the_reason(tmp_path: pathlib.Path) -> None:
    from stagetrain.inference import onnx_model

    with (
        setup.with_kernels(setup.PLAIN),
        pytest.raises(BadInput, match=r'--format onnx: tf2onnx cannot convert the network: .*perm'),
    ):
        onnx_model.export(network_of('mask_rcnn'), OnnxOptions(), tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures('onnx_extra')
@pytest.mark.parametrize('name', [name for name in MODELS if name != 'mask_rcnn'])
def test_networks_as_onnx_find_what_detect_finds(name: str, tmp_path: pathlib.Path) -> None:
    import onnxruntime

    from stagetrain.inference import onnx_model

    with setup.with_kernels(setup.PLAIN):
        onnx_model.export(network_of(name), OnnxOptions(boxes='pixels'), tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / 'model.onnx')
    names = [output.name for output in session.get_outputs()]

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {'input_tensor': pixels[np.newaxis]}), strict=True))

    assert_finds_the_same(run, name)


@pytest.mark.slow
def test_less_precision_is_smaller_and_finds_nearly_the_same(tmp_path: pathlib.Path) -> None:
    sizes, found = {}, {}
    for precision in ('float32', 'float16', 'dynamic_range'):
        with setup.with_kernels(setup.PLAIN):
            tflite.export(network_of('centernet'), TfliteOptions(precision=precision, boxes='pixels'), tmp_path)
        content = (tmp_path / 'model.tflite').read_bytes()
        sizes[precision], found[precision] = len(content), litert(content)(picture(64, 64))
    assert sizes['float16'] < 0.7 * sizes['float32'] and sizes['dynamic_range'] < 0.5 * sizes['float32']
    for precision in ('float16', 'dynamic_range'):
        scores = found[precision]['detection_scores']
        assert 0 < np.abs(scores - found['float32']['detection_scores']).max() < 0.05, precision


@pytest.mark.slow
def test_an_op_that_tflite_lacks_is_named(tmp_path: pathlib.Path) -> None:
    with setup.with_kernels(setup.PLAIN):
        network = network_of('centernet')
    usual = network.geometry.plain_input

    class Geometry(types.SimpleNamespace):
        padded = network.geometry.padded

        def plain_input(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                **usual(pixels),
                'image': tf.linalg.expm(usual(pixels)['image'][..., 0])[..., tf.newaxis] + tf.zeros([64, 64, 3]),
            }

    network.geometry = Geometry()
    with pytest.raises(
        BadInput, match=r'--format tflite: the network has ops that TensorFlow Lite lacks: .*; saved_model has no'
    ):
        tflite.export(network, TfliteOptions(), tmp_path)


# ---- the parts, without a converter ------------------------------------------------------------------------------------------


def test_plain_suppression_gives_what_the_native_kernel_gives() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 60, (1, 80, 3, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + random.uniform(0, 30, corners.shape).astype(np.float32)], axis=-1)
    scores = random.uniform(0, 1, (1, 80, 3)).astype(np.float32)
    for num_detections in (10, 200):
        options = {'min_score': 0.3, 'nms_iou': 0.4, 'num_detections': num_detections}
        native = suppression.suppressed(boxes, scores, **options)
        with setup.with_kernels(setup.PLAIN):
            found = suppression.suppressed(boxes, scores, **options)
        assert_same_detections(found, native)
        assert found.boxes_yxyx_px.shape == (1, num_detections, 4)


def test_plain_crops_are_those_of_the_native_kernel() -> None:
    random = np.random.default_rng(0)
    features = {level: random.normal(size=(1, size, size, 3)).astype(np.float32) for level, size in (('3', 16), ('4', 8))}
    corners = random.uniform(0, 100, (1, 40, 2))
    rois = np.concatenate([corners, corners + random.uniform(0, 28, corners.shape)], axis=-1).astype(np.float32)
    for crop_size in (1, 7):
        native = roi_align.align(features, rois, crop_size, 0.5)
        with setup.with_kernels(setup.PLAIN):
            plain = roi_align.align(features, rois, crop_size, 0.5)
        np.testing.assert_allclose(plain, native, atol=1e-5)
