"""SavedModels answer where only TensorFlow is installed, with the detections of `stagetrain detect`, whatever the network."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import sys
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from stagetrain.config import load
from stagetrain.config.builtin.export_saved_model import SavedModelOptions
from stagetrain.config.stages import spec_of
from stagetrain.data.annotation import Dataset, Example
from stagetrain.detectors.detector import BatchDetections
from stagetrain.devices import setup
from stagetrain.evaluation.evaluate import Evaluator
from stagetrain.evaluation.metrics import Detections
from stagetrain.images.geometry import geometry_of
from stagetrain.images.loading import plain_images
from stagetrain.inference import saved_model
from stagetrain.stages.network import build_network
from stagetrain.weights.names import named_variables
from tests import tiny
from tests.detectors.test_class_layers import MODELS
from tests.same_detections import assert_same_detections

pytestmark = pytest.mark.slow
SIZES = ((64, 64), (100, 80), (37, 90), (200, 120))
"""Height and width of the pictures; some are turned by their EXIF orientation."""
CLIENT = """
import sys
sys.modules.update(dict.fromkeys(('stagetrain', 'official', 'tf_keras')))  # Importing them fails.
import pathlib
import numpy as np
import tensorflow as tf
folder = pathlib.Path(sys.argv[1])
files = [path.read_bytes() for path in sorted(folder.glob('*.jpg'))]
for network in sys.argv[2:]:
    model = tf.saved_model.load(f'{folder}/{network}/saved_model')
    found = model.signatures['encoded'](input_tensor=tf.constant(files))
    first = tf.io.decode_image(files[0])[tf.newaxis]
    alone = model.signatures['serving_default'](input_tensor=first)
    called = model(first)
    assert all(np.array_equal(called[key], alone[key]) for key in called)
    parts = {f'all/{key}': value.numpy() for key, value in found.items()}
    np.savez(folder / f'{network}.npz', **parts, **{f'first/{key}': value.numpy() for key, value in alone.items()})
"""


@dataclasses.dataclass(frozen=True)
class Answers:
    """What a fresh process found in all pictures, by network, and what `detect` finds."""

    found: dict[str, dict[str, np.ndarray]]
    expected: dict[str, Detections]
    networks: dict[str, Any]
    folder: pathlib.Path


def network_of(name: str) -> Any:
    """Returns what exporters see of an untrained network that finds things: its scores are spread, and none is too low."""
    model, term = MODELS[name]
    generous = {'detection_generator': {'pre_nms_score_threshold': 0.0}} if name != 'centernet' else {}
    document = tiny.pipeline(pathlib.Path('data'), [tiny.stage('one', {term: 1.0})])
    pipeline = load.load_resolved({**document, 'model': {**model, **generous}}).pipeline
    stage = pipeline.stages[0]
    network = build_network(pipeline, stage, spec_of(pipeline, stage).modules)
    variables, random = named_variables(network.modules), np.random.default_rng(0)
    for variable in variables.values():
        if variable.trainable:
            variable.assign_add(random.normal(0, 0.1, variable.shape))
    return types.SimpleNamespace(network=network, variables=variables, geometry=geometry_of(pipeline.model, training=False))


def write_pictures(folder: pathlib.Path) -> Dataset:
    """Writes JPEG files and returns them as a data set."""
    examples, nothing = [], np.zeros([0], np.int32)
    random = np.random.default_rng(1)
    for number, (height, width) in enumerate(SIZES):
        small = random.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
        exif = PIL.Image.Exif()
        exif[0x0112] = (1, 6, 3, 8)[number]
        path = folder / f'{number}.jpg'
        PIL.Image.fromarray(small).resize((width, height)).save(path, exif=exif)
        shown = (width, height) if number % 2 else (height, width)
        boxes = np.zeros([0, 4], np.float32)
        flags = np.zeros([0], bool)
        examples.append(Example(str(number), str(path), None, None, *shown, boxes, nothing, flags, flags))
    return Dataset('pictures', ('circle', 'square', 'triangle'), tuple(examples), (), '')


@pytest.fixture(scope='module')
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """All networks, exported, and what one process that knows TensorFlow alone finds with them."""
    folder = tmp_path_factory.mktemp('saved')
    dataset = write_pictures(folder)
    networks = {name: network_of(name) for name in MODELS}
    expected = {}
    for name, network in networks.items():
        saved_model.export(network, SavedModelOptions(boxes='pixels'), folder / name)
        images = plain_images(dataset, network.network.model)
        expected[name] = Evaluator(network.network, images, batch_size=2, can_detect=True).detect()
    command = [sys.executable, '-c', CLIENT, str(folder), *networks]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 0, done.stderr
    return Answers({name: dict(np.load(folder / f'{name}.npz')) for name in networks}, expected, networks, folder)


def batch_of(outputs: dict[str, np.ndarray], part: str) -> BatchDetections:
    boxes, scores, classes, count = (
        outputs[f'{part}/{key}'] for key in ('detection_boxes', 'detection_scores', 'detection_classes', 'num_detections')
    )
    return BatchDetections(boxes, scores, classes.astype(np.int32), tf.constant(count.astype(np.int32)))


def padded(found: Detections, images: Sequence[int]) -> BatchDetections:
    """Returns the detections of some images as a batch."""
    counts = [int((found.image_index == index).sum()) for index in images]
    boxes, scores = np.zeros((len(images), max(counts), 4), np.float32), np.zeros((len(images), max(counts)), np.float32)
    classes = np.zeros((len(images), max(counts)), np.int32)
    for row, index in enumerate(images):
        mine = found.image_index == index
        boxes[row, : counts[row]], scores[row, : counts[row]] = found.boxes_yxyx_px[mine], found.scores[mine]
        classes[row, : counts[row]] = found.classes[mine]
    return BatchDetections(boxes, scores, classes, tf.constant(counts))


@pytest.mark.parametrize('name', MODELS)
def test_a_fresh_process_finds_what_detect_finds(answers: Answers, name: str) -> None:
    expected = padded(answers.expected[name], range(len(SIZES)))
    assert int(tf.reduce_sum(expected.num_valid)) > 20
    assert_same_detections(batch_of(answers.found[name], 'all'), expected, pixels=0.01, score=1e-4)


@pytest.mark.parametrize('name', MODELS)
def test_pictures_and_their_files_give_the_same(answers: Answers, name: str) -> None:
    expected = padded(answers.expected[name], [0])
    assert_same_detections(batch_of(answers.found[name], 'first'), expected, pixels=0.01, score=1e-4)


@pytest.mark.parametrize('name', MODELS)
def test_outputs_are_as_clients_of_the_api_expect_them(answers: Answers, name: str) -> None:
    outputs = {key.removeprefix('all/'): value for key, value in answers.found[name].items() if key.startswith('all/')}
    wanted = {'detection_boxes', 'detection_scores', 'detection_classes', 'num_detections'}
    assert outputs.keys() == wanted | ({'detection_masks'} if name == 'mask_rcnn' else set())
    assert {value.dtype for value in outputs.values()} == {np.dtype(np.float32)}
    num_images, num_places = outputs['detection_scores'].shape
    assert outputs['detection_boxes'].shape == (num_images, num_places, 4) and num_images == len(SIZES)
    for row, count in enumerate(outputs['num_detections'].astype(int)):
        assert (outputs['detection_scores'][row, count:] == 0).all() and (outputs['detection_classes'][row, count:] == 1).all()
        assert (np.diff(outputs['detection_scores'][row]) <= 0).all()
        ymin, xmin, ymax, xmax = outputs['detection_boxes'][row, :count].T
        assert (ymin <= ymax).all() and (xmin <= xmax).all()


def test_normalized_boxes_are_the_same_ones_by_the_pictures_size(answers: Answers, tmp_path: pathlib.Path) -> None:
    facts = saved_model.export(answers.networks['faster_rcnn'], SavedModelOptions(serving_default='encoded'), tmp_path)
    model = tf.saved_model.load(str(tmp_path / 'saved_model'))
    files = tf.constant([(answers.folder / f'{number}.jpg').read_bytes() for number in range(len(SIZES))])
    found = model.signatures['serving_default'](input_tensor=files)['detection_boxes'].numpy()
    sizes = np.array([size[::-1] if number % 2 else size for number, size in enumerate(SIZES)])
    expected = answers.found['faster_rcnn']['all/detection_boxes']
    np.testing.assert_allclose(found * np.tile(sizes, 2)[:, np.newaxis], expected, atol=1e-3)
    assert facts['signatures']['serving_default'] == 'encoded' and 0.5 < found.max() <= 1.0


@pytest.mark.parametrize('name', MODELS)
def test_the_graph_holds_tensorflows_own_ops_and_names_no_accelerator(answers: Answers, name: str) -> None:
    nodes = nodes_of(answers.folder / name / 'saved_model')
    foreign = ('_', 'Mkl', 'Xla', 'Cudnn', 'PyFunc', 'EagerPyFunc', 'NumpyFunc', 'PyFuncStateless', 'TRT')
    assert [node.op for node in nodes if node.op.startswith(foreign)] == []
    assert {node.device for node in nodes} <= {'', '/device:CPU:0', '/device:CPU:*'}  # Files of variables are read there.
    assert len({node.op for node in nodes}) > 20


@pytest.mark.parametrize('name', ['mask_rcnn', 'retinanet'])
def test_the_graph_is_the_same_on_a_machine_with_an_accelerator(
    answers: Answers, name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with setup.with_kernels(setup.NATIVE):
        network = network_of(name)
    monkeypatch.setattr(setup, 'runs_on_cpu', lambda: False)
    saved_model.export(network, SavedModelOptions(boxes='pixels'), tmp_path)
    here, there = (
        sorted(node.op for node in nodes_of(path)) for path in (answers.folder / name / 'saved_model', tmp_path / 'saved_model')
    )
    assert here == there


def test_signatures_are_what_tensorflow_servings_rest_form_demands(answers: Answers) -> None:
    """`{"instances": [...]}`: one input, and each instance has its part of every input and output along the first axis."""
    (meta,) = meta_graphs(answers.folder / 'mask_rcnn' / 'saved_model')
    signatures = {name: signature for name, signature in meta.signature_def.items() if name != '__saved_model_init_op'}
    assert set(signatures) == {'serving_default', 'image', 'encoded'} and 'serve' in meta.meta_info_def.tags
    for signature in signatures.values():
        assert signature.method_name == 'tensorflow/serving/predict' and set(signature.inputs) == {'input_tensor'}
        tensors = [*signature.inputs.values(), *signature.outputs.values()]
        assert {tensor.tensor_shape.dim[0].size for tensor in tensors} == {-1}
    kinds = {name: signature.inputs['input_tensor'].dtype for name, signature in signatures.items()}
    assert kinds == {'serving_default': tf.uint8, 'image': tf.uint8, 'encoded': tf.string}


def meta_graphs(folder: pathlib.Path) -> list[Any]:
    """Returns what a SavedModel's file holds."""
    message = saved_model_pb2.SavedModel()
    message.ParseFromString((folder / 'saved_model.pb').read_bytes())
    return list(message.meta_graphs)


def nodes_of(folder: pathlib.Path) -> list[Any]:
    """Returns all nodes of the graphs of a SavedModel, those of functions included."""
    graphs = [meta.graph_def for meta in meta_graphs(folder)]
    inside = [node for graph in graphs for function in graph.library.function for node in function.node_def]
    return [node for graph in graphs for node in graph.node] + inside
