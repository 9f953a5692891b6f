"""Data sets and run directories written in a line."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stagetrain.data.annotation import Dataset, Example
from stagetrain.files import append_json_line, write_json
from stagetrain.pipeline.lock import Entry, Lock, write_lock

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Returns a maker: one list of boxes_yxyx_px and one of classes for each image; `ignored` holds (image, object) pairs."""

    def make(
        boxes: Sequence[Sequence[Sequence[float]]],
        classes: Sequence[Sequence[int]],
        ignored: Sequence[tuple[int, int]] = (),
        names: tuple[str, ...] = ('cell', 'plate'),
    ) -> Dataset:
        examples = []
        for image, (image_boxes, image_classes) in enumerate(zip(boxes, classes, strict=True)):
            examples.append(
                Example(
                    image_id=f'img{image}',
                    path=f'img{image}.jpg',
                    offset=None,
                    length=None,
                    height=480,
                    width=640,
                    boxes_yxyx_px=np.array(image_boxes, np.float32).reshape(-1, 4),
                    classes=np.array(image_classes, np.int32),
                    difficult=np.array([(image, number) in ignored for number in range(len(image_classes))], bool),
                    is_crowd=np.zeros(len(image_classes), bool),
                )
            )
        return Dataset(name='made', classes=names, examples=tuple(examples), bad=(), digest='0' * 64)

    return make


RUN_YAML = """
name: four_step
seed: {seed}
model:
  type: faster_rcnn
  input_size: [256, 256, 3]
data:
  classes: [RBC, '<b>']
  train: {{format: voc, path: /data}}
  validation: {{format: voc, path: /data}}
sources:
  imagenet: {{keras_h5: /weights.h5}}
stages:
  - {{name: rpn_1, init: {{backbone: imagenet}}, loss_weights: {{rpn_score: 1.0, rpn_box: 1.0}}, train: {train}}}
  - name: detector_1
    init: {{backbone: imagenet}}
    proposals: {{from: rpn_1}}
    loss_weights: {{frcnn_class: 1.0, frcnn_box: 1.0}}
    train: {train}
  - name: rpn_2
    init: {{backbone: detector_1, decoder: detector_1}}
    freeze_variables: [backbone/.*, decoder/.*]
    loss_weights: {{rpn_score: 1.0}}
    train: {train}
compare:
  end_to_end:
    stages:
      - {{name: joint, init: {{backbone: imagenet}}, loss_weights: {{rpn_score: 1.0, frcnn_class: 2.0}}, train: {train}}}
  unshared: {{until: detector_1}}
"""
TRAIN = '{steps: 10, optimizer: {type: sgd}, learning_rate: {type: constant, constant: {learning_rate: 0.1}}}'
MakeRun = Callable[..., pathlib.Path]


@pytest.fixture
def make_run(tmp_path: pathlib.Path) -> MakeRun:
    """Returns a maker of run directories as a finished run leaves them; `results` holds what differs, by stage id."""

    def make(
        results: Mapping[str, Mapping[str, Any]], name: str = 'run', seed: int = 0, stores: Mapping[str, float] | None = None
    ) -> pathlib.Path:
        run_dir = tmp_path / name
        run_dir.mkdir()
        (run_dir / 'run.yaml').write_text(RUN_YAML.format(seed=seed, train=TRAIN))
        stages = {stage_id: Entry('f', VERSIONS, {**RESULT, **result}, 'now') for stage_id, result in results.items()}
        proposals = {fingerprint: Entry('f', {}, {'seconds': seconds}, 'now') for fingerprint, seconds in (stores or {}).items()}
        write_lock(run_dir / 'pipeline.lock', Lock(stages, {'proposals': proposals}))
        return run_dir

    return make


VERSIONS = {'model.type': 'faster_rcnn', 'versions.tensorflow': '2.20.0', 'versions.onednn': 'on'}
RESULT = {
    'step': 10,
    'num_images': 40,
    'seconds': 5.0,
    'seconds_by_part': {'training': 4.0, 'evaluation': 1.0},
    'num_trained_parameters': 1000,
    'metrics': {},
}
ALL = {
    'rpn_1': {'metrics': {'recall_0.5': 0.9, 'AR@300': 0.5}},
    'detector_1': {'metrics': {'AP': 0.4, 'AP50': 0.8, 'AP75': 0.3, 'AR100': 0.5}, 'num_trained_parameters': 2000},
    'rpn_2': {'metrics': {'AP': 0.5, 'AP50': 0.85, 'AP75': None, 'AR100': 0.6, 'recall_0.5': 0.95}, 'seconds': 3.5},
    'end_to_end.joint': {'metrics': {'AP': 0.45, 'AP50': 0.9, 'AP75': 0.35, 'AR100': 0.55, 'recall_0.5': 0.97}, 'step': 20},
}


@pytest.fixture
def all_results() -> dict[str, dict[str, Any]]:
    """What the stages of a run differ in, when all are finished."""
    return ALL


@pytest.fixture
def finished_run(make_run: MakeRun) -> pathlib.Path:
    """A run of four stages; detector_1 trained on a store that took 2 s."""
    run_dir = make_run(ALL, stores={'abc': 2.0, 'other': 100.0})
    for stage_id in ALL:
        (run_dir / 'stages' / stage_id).mkdir(parents=True)
    job = {'fingerprint': 'f', 'parts': {}, 'stage': {}}
    write_json(run_dir / 'stages/detector_1/job.json', {**job, 'proposals': str(run_dir / 'stores/proposals/abc')})
    write_json(run_dir / 'stages/rpn_1/job.json', {**job, 'proposals': None})
    for step in (1, 2):
        losses = {'step': step, 'seconds': 2.0 * step, 'losses': {'rpn_score': 0.5, 'rpn_box': 0.25}, 'regularization': 9.0}
        append_json_line(run_dir / 'stages/rpn_1/metrics.jsonl', losses)
    append_json_line(run_dir / 'stages/detector_1/metrics.jsonl', {'step': 5, 'seconds': 3.0, 'evaluation': {'AP': 0.2}})
    append_json_line(run_dir / 'stages/detector_1/metrics.jsonl', {'step': 5, 'seconds': 3.0, 'evaluation': {'AP': None}})
    return run_dir


VOC_XML = """<annotation><filename>{name}.jpg</filename><size><width>100</width><height>80</height><depth>3</depth></size>
<object><name>RBC</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>60</xmax><ymax>70</ymax></bndbox></object></annotation>"""


@pytest.fixture
def with_images(tmp_path: pathlib.Path) -> Callable[[pathlib.Path, str], None]:
    """Returns what gives a run three grey validation images, and a stage one detection in the first and one in the last."""

    def give(run_dir: pathlib.Path, stage_id: str) -> None:
        data = tmp_path / 'data'
        (data / 'JPEGImages').mkdir(parents=True)
        (data / 'Annotations').mkdir()
        for name in ('a', 'b', 'c'):
            Image.new('RGB', (100, 80), (128, 128, 128)).save(data / 'JPEGImages' / f'{name}.jpg')
            (data / 'Annotations' / f'{name}.xml').write_text(VOC_XML.format(name=name))
        (run_dir / 'run.yaml').write_text((run_dir / 'run.yaml').read_text().replace('/data', str(data)))
        record = {'category_id': 1, 'bbox': [20.0, 30.0, 40.0, 40.0], 'score': 0.9}
        write_json(run_dir / 'stages' / stage_id / 'detections.json', [{**record, 'image_id': name} for name in ('a', 'c')])

    return give
