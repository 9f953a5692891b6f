"""`stagetrain export` from the command line and from Python, on a real finished run."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
import yaml

import stagetrain as st
from stagetrain import files
from stagetrain.data.label_map import read_label_map
from stagetrain.errors import BadInput
from stagetrain.weights import assign
from tests import tiny

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('plugins_forgotten')]


@pytest.fixture(scope='module')
def run_dir(tiny_run: Any, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the run whose pipeline names an exporter from outside the package."""
    copied = tmp_path_factory.mktemp('export') / 'run'
    shutil.copytree(tiny_run.run_dir, copied)
    document = yaml.safe_load((copied / 'run.yaml').read_text())
    document['plugins'] = [str(tiny.ROOT / 'tests/outside/npz_export')]
    (copied / 'run.yaml').write_text(yaml.safe_dump(document))
    return copied


def test_a_plugins_format_holds_every_variable_of_the_stage(run_dir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    code, output = tiny.run_command('export', run_dir, '--format', 'npz', '--stage', 'rpn_2', '--out', tmp_path / 'out')
    assert (code, output.splitlines()) == (0, [f'rpn_2 is in {tmp_path / "out"}, as npz'])
    with np.load(tmp_path / 'out/variables.npz') as file:
        written = dict(file)
    trained = assign.read_stage_checkpoint(tiny.last_checkpoint(run_dir, 'rpn_2'))
    assert written.keys() == trained.keys() and all(written[name].tobytes() == trained[name].tobytes() for name in trained)
    said = files.read_json(tmp_path / 'out/export.json')
    assert (said['stage'], said['step'], said['num_variables']) == ('rpn_2', 6, len(trained))
    assert read_label_map(tmp_path / 'out/label_map.pbtxt') == {1: 'circle', 2: 'square', 3: 'triangle'}
    files.verify_folder(tmp_path / 'out')


def test_an_export_is_replaced_and_what_is_not_ours_is_left(run_dir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run = st.open_run(run_dir)
    for options in ({}, {'compressed': True}):
        assert run.export('npz', tmp_path / 'out', options=options) == tmp_path / 'out'
        assert files.read_json(tmp_path / 'out/export.json')['options'] == {'compressed': bool(options)}
    (tmp_path / 'out/mine').touch()
    with pytest.raises(BadInput, match=r'--out .*: what is there has changed since it was written .*mine: extra'):
        run.export('npz', tmp_path / 'out')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out']


def test_a_trained_network_finds_what_the_predictor_finds(
    run_dir: pathlib.Path, tiny_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    out = st.open_run(run_dir).export('saved_model', tmp_path / 'out', options={'boxes': 'pixels'})
    import tensorflow as tf

    from stagetrain.detectors.detector import BatchDetections
    from tests.same_detections import assert_same_detections

    model, predictor = tf.saved_model.load(str(out / 'saved_model')), st.Predictor(run_dir)
    num_found = 0
    for path in sorted((tiny_data / 'JPEGImages').glob('*.jpg')):
        one, found = predictor(path), model(tf.constant([path.read_bytes()]))
        expected = BatchDetections(one.boxes_yxyx_px[None], one.scores[None], one.classes[None], tf.constant([len(one)]))
        classes, count = (tf.cast(found[key], tf.int32) for key in ('detection_classes', 'num_detections'))
        exported = BatchDetections(found['detection_boxes'], found['detection_scores'], classes, count)
        assert_same_detections(exported, expected, pixels=0.01, score=1e-4)
        num_found += len(one)
    assert num_found > 20
    said = files.read_json(out / 'export.json')
    assert said['signatures'] == {'encoded': 'encoded', 'image': 'image', 'serving_default': 'image'}
    assert said['metrics'] == dict(st.open_run(run_dir).stages['detector_2'].metrics)
