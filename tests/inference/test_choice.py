"""Which stage of a run detects: one whose network gives detections."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from stagetrain.errors import BadInput
from stagetrain.inference import choice
from tests.fakes.project import make_document

CLASSIFIER = {
    'type': 'experiment',
    'name': 'image_classification',
    'modules': ['backbone', 'top'],
    'input': 'crops',
    'overrides': {
        'task': {'model': {'num_classes': 1, 'input_size': [32, 32, 3], 'backbone': {'type': 'mobilenet', 'mobilenet': {}}}}
    },
}


def test_an_experiment_does_not_detect(tmp_path: pathlib.Path) -> None:
    document = make_document() | {'models': {'classifier': CLASSIFIER}}
    stage = {'name': 'classify', 'model': 'classifier', 'loss_weights': {'loss': 1.0}, 'train': document['stages'][0]['train']}
    (tmp_path / 'run.yaml').write_text(yaml.safe_dump(document | {'stages': [*document['stages'], stage]}))
    with pytest.raises(BadInput, match=r"stage 'classify' trains 'classifier', of type experiment, which gives no detections"):
        choice.choose(tmp_path, None)
    with pytest.raises(BadInput, match=r"stage 'rpn_2' holds backbone, decoder, rpn_head but not detection_head"):
        choice.choose(tmp_path, 'rpn_2')
