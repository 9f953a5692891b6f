"""A small pipeline file that tests write, change and load."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping

import pytest

from stagetrain.config.load import Loaded, load_pipeline

PIPELINE = """\
model:
  type: faster_rcnn
  input_size: [64, 64, 3]
  min_level: 3
  max_level: 5
  backbone: {type: keras_mobilenet_v1, keras_mobilenet_v1: {alpha: 0.25}}
  decoder: {type: fpn}
data:
  classes: [cat, dog]
  train: {format: voc, path: images}
  validation: {format: voc, path: images}
sources:
  imagenet: {keras_h5: weights/net.h5}
train:
  steps: 10
  optimizer: {type: sgd}
  learning_rate: {type: constant, constant: {learning_rate: 0.1}}
stages:
  - name: rpn
    init: {backbone: imagenet}
    loss_weights: {rpn_score: 1.0, rpn_box: 1.0, frcnn_class: 0.0}
  - name: detector
    init: {backbone: rpn, decoder: rpn}
    freeze_variables: ['backbone/.*']
    proposals: {from: rpn}
    loss_weights: {frcnn_class: 1.0, frcnn_box: 1.0}
compare:
  joint:
    stages:
      - name: all
        init: {backbone: imagenet}
        loss_weights: {rpn_score: 1.0, frcnn_class: 1.0}
  short: {until: rpn}
"""

Write = Callable[..., pathlib.Path]
Load = Callable[..., Loaded]


@pytest.fixture
def write(tmp_path: pathlib.Path) -> Write:
    """Writes a file: `write(text, name)`; without text the small pipeline."""

    def write_file(text: str | bytes = PIPELINE, name: str = 'a.yaml') -> pathlib.Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


@pytest.fixture
def load(write: Write) -> Load:
    """Loads the small pipeline: `load('stages.rpn.train.steps=5')`, or with `text` replaced: `load(replace={'old': 'new'})`."""

    def load_file(*overrides: str, replace: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
        text = PIPELINE
        for old, new in (replace or {}).items():
            assert old in text
            text = text.replace(old, new, 1)
        return load_pipeline(write(text), overrides, environ or {})

    return load_file
