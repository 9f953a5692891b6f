"""The benchmark of stages: what it runs and how it reports; nothing here is timed."""

from __future__ import annotations

import dataclasses
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.config import load
from stagetrain.data.index import load_dataset
from stagetrain.errors import BadInput, StageFailed

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'scripts'))
import bench_model_garden
import bench_stages

SMALL = {
    **bench_stages.MODEL,
    'input_size': [64, 64, 3],
    'max_level': 5,
    'backbone': {'type': 'mobilenet', 'mobilenet': {'model_id': 'MobileNetV2', 'filter_size_scale': 0.25}},
    'decoder': {'type': 'fpn', 'fpn': {'num_filters': 8}},
    'rpn_head': {'num_filters': 8},
    'detection_head': {'num_convs': 0, 'fc_dims': 8},
    'roi_sampler': {'num_sampled_rois': 8},
}
TINY = bench_stages.Settings(repetitions=2, num_steps=3, num_images=2, num_validation=1, evaluations=1)
REPORT = {
    'machine': {'processor': 'P', 'cores': 2, 'system': 'S', 'python': '3.11', 'versions': {'tensorflow': '2.20.0'}},
    'settings': {'data': 'synthetic', 'num_train': 4, 'num_evaluated': 2, 'num_steps': 3, 'repetitions': 5},
    'rows': {'step_1': bench_stages.Row('ms', (2.0, 3.0, 10.0), (4.0, 6.0, 5.0)).to_json()},
}


@pytest.fixture
def pipelines(tmp_path):
    return bench_stages.pipeline_files(tmp_path, bench_stages.data_section('synthetic', tmp_path, TINY), num_steps=3)


def test_a_row_holds_medians_their_ratio_and_the_extremes():
    row = REPORT['rows']['step_1']
    assert (row['ours'], row['model_garden'], row['ratio']) == (3.0, 5.0, 0.6)
    assert (row['ours_range'], row['model_garden_range'], row['num_measured']) == ([2.0, 10.0], [4.0, 6.0], 3)


def test_the_two_sides_take_turns_and_see_the_same_batches():
    calls = []
    bench_stages.interleaved(lambda i: calls.append(('ours', i)), lambda i: calls.append(('theirs', i)), repetitions=3)
    assert calls[:4] == [('ours', 0), ('theirs', 0), ('ours', 1), ('theirs', 1)]
    assert len(calls) == 2 * (bench_stages.NUM_WARM_UP + 3)


def test_the_table_can_be_pasted():
    lines = bench_stages.markdown(REPORT).splitlines()
    assert lines[2] == '| step_1 | 3.0 ms | 5.0 ms | 0.60 | 2.0 to 10.0 | 4.0 to 6.0 |'
    assert lines[4].startswith('P, 2 cores; S; Python 3.11; tensorflow 2.20.0. Data: synthetic, 4 training and 2 validation')


def test_stages_freeze_and_mask_alike_on_both_sides(pipelines):
    pipeline = load.load_pipeline(pipelines['four_step']).pipeline
    frozen = [bench_model_garden.frozen_modules(stage) for stage in pipeline.stages]
    assert frozen == [(), (), ('backbone', 'decoder'), ('backbone', 'decoder', 'rpn_head')]
    tasks = [bench_model_garden.build_task(pipeline, stage).task_config.losses for stage in pipeline.stages]
    assert [(losses.rpn_score_weight, losses.frcnn_box_weight) for losses in tasks] == [(1, 0), (0, 1), (1, 0), (0, 1)]


def test_records_hold_the_same_images_and_boxes(pipelines, tmp_path):
    data = load.load_pipeline(pipelines['joint']).pipeline.data
    original = load_dataset(data.train, data, 'train', None)
    bench_model_garden.write_records(original.examples, tmp_path / 'train.tfrecord')
    source = data.train.model_copy(update={'format': 'tfrecord', 'path': str(tmp_path / 'train.tfrecord'), 'split': None})
    read = load_dataset(source, data, 'train', None)
    for ours, theirs in zip(original.examples, read.examples, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
        np.testing.assert_allclose(ours.boxes_yxyx_px, theirs.boxes_yxyx_px, atol=1e-4)
        np.testing.assert_array_equal(ours.classes, theirs.classes)


def test_labels_are_padded_as_the_model_gardens_parser_pads():
    batch = {
        'image': tf.zeros([1, 8, 8, 3]),
        'image_shape': tf.constant([[6.0, 8.0]]),
        'gt_boxes': tf.constant([[[1.0, 2.0, 3.0, 4.0]]]),
        'gt_classes': tf.constant([[2]]),
        'targets': {'rpn_score_targets': {}, 'rpn_box_targets': {}},
    }
    _, labels = bench_model_garden.inputs_of(batch, {'3': tf.zeros([1, 1, 12])}, max_num_instances=3)
    np.testing.assert_array_equal(labels['gt_classes'], [[2, -1, -1]])
    np.testing.assert_array_equal(labels['gt_boxes'][0, 1:], -np.ones([2, 4]))
    np.testing.assert_array_equal(labels['image_info'], [[[6, 8], [6, 8], [1, 1], [0, 0]]])


def test_bccd_without_its_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv('BCCD', raising=False)
    with pytest.raises(BadInput, match='the environment variable BCCD is not set'):
        bench_stages.data_section('bccd', tmp_path, TINY)


def test_a_process_that_fails_shows_its_last_words(tmp_path):
    with pytest.raises(StageFailed, match='exit code 3\n.*no such luck'):
        bench_stages.carry_out([sys.executable, '-c', 'import sys; print("no such luck"); sys.exit(3)'], tmp_path / 'log')


def test_peak_memory_is_the_largest_of_a_process_and_its_children(tmp_path):
    child = 'x = bytearray(100_000_000)'
    parent = f'import subprocess, sys; subprocess.run([sys.executable, "-c", "{child}"], check=True)'
    finished = bench_stages.carry_out([sys.executable, '-c', parent], tmp_path / 'log')
    assert 100e6 < finished.peak_bytes < 200e6  # This process, with TensorFlow, holds more.


@pytest.mark.slow
def test_a_step_row_is_measured_on_both_sides(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_stages, 'MODEL', SMALL)
    settings = dataclasses.replace(TINY, num_images=bench_stages.NUM_BATCHES * bench_stages.BATCH_SIZE)
    steps = bench_stages.Steps(bench_stages.prepare('synthetic', tmp_path, settings))
    row = steps.measure('detector_2')
    assert len(row.ours) == len(row.model_garden) == 2
    assert min(row.ours) > 0 and min(row.model_garden) > 0
