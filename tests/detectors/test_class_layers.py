"""What a detector's spec tells of its classes is what its variables show when there is one class more."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest

from stagetrain.config import load
from stagetrain.config.stages import spec_of
from stagetrain.stages.network import build_network
from stagetrain.weights import names
from tests import tiny

pytestmark = pytest.mark.slow
CASCADE = {
    'roi_sampler': {'cascade_iou_thresholds': [0.6], 'num_sampled_rois': 16},
    'detection_head': {'num_convs': 0, 'fc_dims': 8, 'class_agnostic_bbox_pred': True},
}
OF_RETINANET = ('input_size', 'min_level', 'max_level', 'backbone', 'decoder', 'anchor', 'norm_activation', 'losses', 'parser')
SINGLE_SCALE = {
    'type': 'faster_rcnn_single_scale',
    'input_size': [64, 64, 3],
    'max_level': 4,
    'backbone': tiny.MOBILENET_V1,
    'roi_head': {'type': 'fc', 'fc': {'fc_dims': 8}},
}
MODELS: dict[str, tuple[dict[str, Any], str]] = {
    'faster_rcnn': (tiny.model(), 'frcnn_class'),
    'cascade': (tiny.model(**CASCADE), 'frcnn_class'),
    'mask_rcnn': ({**tiny.model(), 'type': 'mask_rcnn'}, 'frcnn_class'),
    'single_scale': (SINGLE_SCALE, 'frcnn_class'),
    'retinanet': (
        {key: tiny.model()[key] for key in OF_RETINANET} | {'type': 'retinanet', 'head': {'num_filters': 8, 'num_convs': 1}},
        'class',
    ),
    'centernet': (tiny.CENTERNET, 'heatmap'),
}


def shapes(model: dict[str, Any], term: str, classes: list[str]) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """Returns the spec of a network, and the shapes of its variables."""
    document = tiny.pipeline(pathlib.Path('data'), [tiny.stage('one', {term: 1.0})])
    pipeline = load.load_resolved({**document, 'model': model, 'data': {**document['data'], 'classes': classes}}).pipeline
    stage = pipeline.stages[0]
    detector = build_network(pipeline, stage, spec_of(pipeline, stage).modules)
    variables = names.named_variables(detector.modules)
    return spec_of(pipeline, stage), {name: tuple(variable.shape) for name, variable in variables.items()}


@pytest.mark.parametrize('name', MODELS)
def test_the_layers_that_a_spec_names_are_those_that_grow_with_a_class(name: str) -> None:
    model, term = MODELS[name]
    spec, few = shapes(model, term, ['a', 'b'])
    _, more = shapes(model, term, ['a', 'b', 'c'])
    grown = {variable: (few[variable][-1], more[variable][-1]) for variable in few if few[variable] != more[variable]}
    assert {variable.split('/')[0] for variable in grown} == set(spec.class_modules)
    for variable, (before, after) in grown.items():
        (count,) = [count for pattern, count in spec.class_layers.items() if re.fullmatch(pattern, variable)]
        sets = (after - before) // count  # One, or one for each anchor.
        assert before == sets * count * (2 + spec.has_background) and after == sets * count * (3 + spec.has_background)
