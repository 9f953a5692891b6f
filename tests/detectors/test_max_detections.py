"""More than 100 detections of an image are made where `evaluation.max_detections` asks for them; the first stay as they are."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from stagetrain.config import load
from stagetrain.config.stages import spec_of
from stagetrain.stages.network import build_network
from tests import tiny
from tests.detectors.test_class_layers import MODELS

pytestmark = pytest.mark.slow


def detected(name: str, max_detections: int | None) -> Any:
    """Returns the detections of an untrained network that leaves nothing out, in two images."""
    model, term = MODELS[name]
    generous = {'detection_generator': {'pre_nms_score_threshold': 0.0}} if name != 'centernet' else {}
    document = tiny.pipeline(pathlib.Path('data'), [tiny.stage('one', {term: 1.0})])
    document |= {'model': {**model, **generous}, 'evaluation': {'max_detections': max_detections}}
    pipeline = load.load_resolved(document).pipeline
    stage = pipeline.stages[0]
    network = build_network(pipeline, stage, spec_of(pipeline, stage).modules)
    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    return network.detect({'image': images, 'image_shape': np.full((2, 2), 64.0, np.float32)})


@pytest.mark.parametrize('name', ['faster_rcnn', 'retinanet', 'centernet'])
def test_one_option_lifts_what_is_detected(name: str) -> None:
    usual, lifted, beyond = detected(name, None), detected(name, 130), detected(name, 5000)
    assert usual.boxes_yxyx_px.shape[1] == 100 and lifted.boxes_yxyx_px.shape[1] == 130
    np.testing.assert_array_equal(lifted.scores[:, :100], usual.scores)
    assert (lifted.num_valid.numpy() >= usual.num_valid.numpy()).all()
    assert (lifted.num_valid.numpy() > 100).any() or name == 'centernet'
    assert beyond.boxes_yxyx_px.shape[1] <= 5000  # Where there are fewer places than that, it is no error.
