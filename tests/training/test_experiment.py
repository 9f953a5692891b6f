"""Experiments of the Model Garden as stages: a classifier of object crops whose backbone a detector takes over, and experiments
that read their own TFRecords."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image

from stagetrain import files
from stagetrain.config import schema
from stagetrain.data import convert
from stagetrain.data.index import load_dataset
from stagetrain.errors import ConfigError
from stagetrain.pipeline.jobs import CheckJob
from stagetrain.training import variables
from stagetrain.training.experiment import ExperimentInput, ObjectCrops
from stagetrain.weights import assign
from stagetrain.weights.names import named_variables
from tests import tiny

pytestmark = pytest.mark.slow
BACKBONE = tiny.MOBILENET_V2


def classifier(**model: Any) -> dict[str, Any]:
    """Returns an image classification on crops of 32x32 pixels."""
    task = {
        'model': {'num_classes': 3, 'input_size': [32, 32, 3], 'backbone': BACKBONE, **model},
        'losses': {'l2_weight_decay': 1e-3},
    }
    return {
        'type': 'experiment',
        'name': 'image_classification',
        'modules': ['backbone', 'top'],
        'input': 'crops',
        'overrides': {'task': task},
    }


def pipeline(data: pathlib.Path, model: dict[str, Any], **later: Any) -> dict[str, Any]:
    """Returns a pipeline whose first stage trains an experiment; `later` changes the second, which trains the detector."""
    slowly = {'type': 'constant', 'constant': {'learning_rate': 1e-4}}  # BatchNorm over two crops makes steep gradients.
    first = tiny.stage('first', {'loss': 1.0}, {'steps': 4, 'learning_rate': slowly}, model='other')
    joint = {'init': {'backbone': 'first'}, 'freeze_variables': ['backbone/.*'], **later}
    document = tiny.pipeline(data, [first, tiny.stage('joint', tiny.RPN | tiny.HEAD, {'steps': 2}, **joint)], backbone=BACKBONE)
    return {**document, 'models': {'other': model}}


@pytest.fixture(scope='module')
def classified(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> tiny.Trained:
    """The classification, trained."""
    job = tiny.job(tmp_path_factory.mktemp('classified'), pipeline(tiny_data, classifier()), 'first')
    return tiny.Trained(job, *tiny.train(job))


def test_the_task_measures_on_crops_of_the_validation_images(classified: tiny.Trained) -> None:
    assert set(classified.result['metrics']) == {'accuracy', 'top_5_accuracy', 'validation_loss'}
    assert 0.0 <= classified.result['metrics']['accuracy'] <= 1.0
    lines = [line for line in files.read_json_lines(classified.folder / 'metrics.jsonl') if 'losses' in line]
    assert [(line['step'], sorted(line['losses'])) for line in lines] == [(step, ['loss']) for step in (1, 2, 3, 4)]
    assert all(0.1 < line['losses']['loss'] < 10.0 and 0.01 < line['regularization'] < 10.0 for line in lines)


def test_a_stopped_classification_ends_with_the_same_bits(classified: tiny.Trained, tmp_path: pathlib.Path) -> None:
    assert tiny.tensors(tiny.resumed(classified, tmp_path)) == tiny.tensors(classified.checkpoint)


def test_the_detector_starts_from_the_classifiers_backbone(
    classified: tiny.Trained, tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    job = tiny.job(tmp_path, pipeline(tiny_data, classifier()), 'joint', origins={'backbone': classified.origin})
    result, _ = tiny.train(job)
    lineage = files.read_json(tmp_path / 'stages' / 'joint' / 'lineage.json')
    assert {entry['kind'] for name, entry in lineage.items() if name.startswith('backbone/')} == {'stage'}
    before, after = (assign.read_stage_checkpoint(folder) for folder in (classified.checkpoint, tmp_path / result['checkpoint']))
    shared = [name for name in after if name.startswith('backbone/')]
    assert len(shared) > 100 and all(np.array_equal(before[name], after[name]) for name in shared)
    assert 'AP' in result['metrics']


@pytest.mark.parametrize(('stage', 'is_on'), [('first', False), ('joint', True)])
def test_an_experiment_alone_may_do_without_deterministic_ops(
    stage: str, is_on: bool, tiny_data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(tf.config.experimental, 'enable_op_determinism', lambda: calls.append(None))
    tiny.context(tiny.job(tmp_path, pipeline(tiny_data, classifier()) | {'runtime': {'deterministic': False}}, stage))
    assert bool(calls) is is_on


def test_the_loss_is_that_of_the_tasks_own_step(classified: tiny.Trained) -> None:
    context = tiny.context(classified.job)
    detector = context.build_detector(('backbone', 'top'))
    batch = next(iter(ExperimentInput(context, detector).batches(0, 1)))
    before = {name: variable.numpy() for name, variable in named_variables(detector.modules).items()}
    ours = float(detector.losses(batch, ['loss'])['loss'] + detector.regularization(detector.network.trainable_variables))
    for name, variable in named_variables(detector.modules).items():
        variable.assign(before[name])
    logs = detector.task.train_step(batch['inputs'], detector.network, tf_keras.optimizers.SGD(0.0))
    np.testing.assert_allclose(ours, float(logs['loss']), rtol=1e-6)


def test_a_crop_shows_its_object(classified: tiny.Trained) -> None:
    context = tiny.context(classified.job)
    images = context.validation_images()
    crops = ObjectCrops(images, context.model)
    assert len(crops) == int(images.num_boxes.sum())
    shown, label = (value.numpy() for value in crops.plain(tf.constant(len(crops) - 1, tf.int64))['inputs'])
    last = int(np.flatnonzero(images.num_boxes)[-1])
    box, size = images.boxes[last, images.num_boxes[last] - 1], images.sizes[last]
    margin = 0.1 * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
    middle = images.decoded(tf.constant(last)).numpy()[tuple(((box + margin)[:2] + (box + margin)[2:]).astype(int) // 2)]
    assert label == images.classes[last, images.num_boxes[last] - 1] - 1
    np.testing.assert_allclose(shown[15:17, 15:17].mean(axis=(0, 1)), middle, atol=1.0)
    assert size.tolist() == [64, 64] and shown.shape == (32, 32, 3)


def refused(data: pathlib.Path, model: dict[str, Any], message: str) -> None:
    document = pipeline(data, model)
    with pytest.raises(ConfigError, match=message):
        variables.check_model(CheckJob('', document), lambda event: None, lambda: False)


def test_random_numbers_that_no_checkpoint_holds_are_refused_before_the_first_step(tiny_data: pathlib.Path) -> None:
    refused(tiny_data, classifier(dropout_rate=0.2), r'image_classification: its step draws random numbers \(.*dropout')


def test_modules_must_be_those_of_the_model(tiny_data: pathlib.Path) -> None:
    refused(tiny_data, {**classifier(), 'modules': ['backbone']}, r'modules: found backbone; expected backbone; dense')
    refused(tiny_data, {**classifier(), 'modules': ['backbone', 'a', 'b']}, r'modules: found a, b, backbone; expected backbone')


# ---- experiments that read their own files ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def records(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> pathlib.Path:
    """TFRecords: the tiny images with their boxes, and others with a mask of two classes."""
    folder = tmp_path_factory.mktemp('records')
    source = schema.DataSource(format='voc', path=str(tiny_data), split='test')
    data = schema.Data.model_validate({'classes': ['circle', 'square', 'triangle'], 'train': source, 'validation': source})
    convert.convert(convert.plan(load_dataset(source, data, 'train', None), 'tfrecord', 'train'), folder / 'boxes')
    with tf.io.TFRecordWriter(str(folder / 'masks.tfrecord')) as writer:
        random = np.random.default_rng(0)
        for _ in range(6):
            mask = np.repeat(np.repeat(random.integers(0, 2, size=[4, 4], dtype=np.uint8), 16, axis=0), 16, axis=1)
            pixels = np.stack([mask * 200] * 3, axis=-1)
            parts = {'image/encoded': png(pixels), 'image/segmentation/class/encoded': png(mask)}
            sizes = {'image/height': 64, 'image/width': 64}
            feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for key, value in parts.items()}
            feature |= {key: tf.train.Feature(int64_list=tf.train.Int64List(value=[value])) for key, value in sizes.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    return folder


def png(pixels: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, 'PNG')
    return encoded.getvalue()


def own_input(pattern: str, **keys: Any) -> dict[str, Any]:
    """Returns `train_data` and `validation_data` of a task."""
    common = {'input_path': pattern, 'dtype': 'float32', 'shuffle_buffer_size': 4, **keys}
    return {'train_data': common, 'validation_data': common}


def retinanet(records: pathlib.Path) -> dict[str, Any]:
    network = {
        'num_classes': 4,
        'input_size': [64, 64, 3],
        'min_level': 3,
        'max_level': 4,
        'backbone': BACKBONE,
        'decoder': {'type': 'fpn', 'fpn': {'num_filters': 8}},
        'head': {'num_convs': 1, 'num_filters': 8},
        'norm_activation': {'use_sync_bn': False},
    }
    task = {'model': network, 'use_coco_metrics': False, **own_input(f'{records}/boxes/*.tfrecord*')}
    return {
        'type': 'experiment',
        'name': 'retinanet_resnetfpn_coco',
        'modules': ['backbone', 'decoder', 'head'],
        'overrides': {'task': task},
    }


def segmentation(records: pathlib.Path) -> dict[str, Any]:
    network = {
        'num_classes': 2,
        'input_size': [64, 64, 3],
        'backbone': BACKBONE,
        'head': {'level': 4, 'num_convs': 1, 'num_filters': 8},
        'norm_activation': {'use_sync_bn': False},
    }
    task = {'model': network, **own_input(f'{records}/masks.tfrecord', output_size=[64, 64], aug_rand_hflip=True)}
    return {
        'type': 'experiment',
        'name': 'semantic_segmentation',
        'modules': ['backbone', 'head'],
        'overrides': {'task': task},
    }


def with_frozen_backbone(data: pathlib.Path, model: dict[str, Any]) -> dict[str, Any]:
    document = pipeline(data, model)
    document['stages'][0] |= {'freeze_variables': ['backbone/.*'], 'allow_frozen_fresh': ['backbone/.*']}
    return document


def test_a_segmentation_trains_freezes_resumes_and_is_measured_through_its_task(
    records: pathlib.Path, tiny_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    job = tiny.job(tmp_path / 'whole', with_frozen_backbone(tiny_data, segmentation(records)), 'first')
    whole = tiny.Trained(job, *tiny.train(job))
    assert {'mean_iou', 'iou/0', 'iou/1', 'validation_loss'} <= set(whole.result['metrics'])
    rested = files.read_json(whole.folder / 'frozen.json')
    assert {name.split('/')[0] for name in rested} == {'backbone'}
    assert tiny.tensors(tiny.resumed(whole, tmp_path / 'stopped')) == tiny.tensors(whole.checkpoint)


def test_an_input_that_cannot_be_repeated_is_refused_before_the_first_step(
    records: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    message = r'random augmentation of task\.train_data repeatable.*runtime: \{deterministic: false\}'
    refused(tiny_data, retinanet(records), f'(?s){message}')


def test_an_experiment_by_name_runs_from_the_command_line_without_equal_bits(
    records: pathlib.Path, tiny_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    document = with_frozen_backbone(tiny_data, retinanet(records)) | {'runtime': {'deterministic': False}}
    document['stages'] = document['stages'][:1]
    config = tiny.write_config(tmp_path / 'a.yaml', document)
    code, output = tiny.run_command('run', config, '--run_dir', tmp_path / 'run')
    assert code == 0, output
    measured = files.read_json(tmp_path / 'run' / 'stages' / 'first' / 'evaluation.json')
    assert {'cls_loss', 'box_loss', 'validation_loss'} <= set(measured)
    code, output = tiny.run_command('plan', config, '--run_dir', tmp_path / 'run')
    assert code == 0 and 'skip: up to date' in output and 'other: experiment' in output
