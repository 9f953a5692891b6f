"""A small pipeline of four steps on three real images, and runs of it with a child that needs no TensorFlow."""

from __future__ import annotations

import copy
import dataclasses
import io
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import rich.console
import yaml

from stagetrain import files
from stagetrain.cli import prepare, progress
from stagetrain.config import load
from stagetrain.pipeline import runner
from stagetrain.pipeline.planned import EVERYTHING, Plan, Selection
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import process
from tests.fakes import worker

ROOT = pathlib.Path(__file__).parents[2]
CHILD = (sys.executable, '-m', 'tests.fakes.worker')

PIPELINE = """
name: four
model:
  type: faster_rcnn
  input_size: [64, 64, 3]
  min_level: 3
  max_level: 6
  backbone: {type: keras_mobilenet_v1, keras_mobilenet_v1: {alpha: 0.25}}
  decoder: {type: fpn, fpn: {num_filters: 16}}
data:
  classes: [thing]
  train: {format: voc, path: data, split: trainval}
  validation: {format: voc, path: data, split: test}
sources:
  imagenet: {keras_h5: weights.h5}
train:
  steps: 8
  batch_size: 2
  optimizer: {type: sgd, sgd: {momentum: 0.9}}
  learning_rate: {type: constant, constant: {learning_rate: 0.01}}
stages:
  - name: rpn_1
    init: {backbone: imagenet}
    loss_weights: {rpn_score: 1.0, rpn_box: 1.0}
  - name: detector_1
    init: {backbone: imagenet}
    proposals: {from: rpn_1, max_per_image: 10}
    loss_weights: {frcnn_class: 1.0, frcnn_box: 1.0}
  - name: rpn_2
    init: {backbone: detector_1, decoder: detector_1}
    freeze_variables: ['backbone/.*', 'decoder/.*']
    loss_weights: {rpn_score: 1.0, rpn_box: 1.0}
  - name: detector_2
    init: {backbone: rpn_2, decoder: rpn_2, rpn_head: rpn_2, detection_head: detector_1}
    freeze_variables: ['backbone/.*', 'decoder/.*', 'rpn_head/.*']
    proposals: {from: rpn_2, max_per_image: 10}
    loss_weights: {frcnn_class: 1.0, frcnn_box: 1.0}
compare:
  joint:
    stages:
      - name: all
        init: {backbone: imagenet}
        loss_weights: {rpn_score: 1.0, rpn_box: 1.0, frcnn_class: 1.0, frcnn_box: 1.0}
        train: {steps: 16}
  unshared: {until: detector_1}
"""

ANNOTATION = """<annotation><filename>{name}.jpg</filename><size><width>64</width><height>48</height><depth>3</depth></size>
<object><name>thing</name><difficult>0</difficult><truncated>0</truncated>
<bndbox><xmin>{x}</xmin><ymin>5</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object></annotation>"""


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder with a pipeline file, its data, and a run directory."""

    folder: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        """The pipeline file."""
        return self.folder / 'four.yaml'

    @property
    def directory(self) -> RunDirectory:
        """The run directory."""
        return RunDirectory(self.folder / 'run')

    @property
    def command(self) -> list[str]:
        """The real `stagetrain run` with fake children; it wants `environ_of`."""
        return [sys.executable, '-m', 'tests.fakes.main', 'run', str(self.config), '--run_dir', str(self.directory.path)]

    def load(self, *overrides: str) -> load.Loaded:
        """Returns the checked pipeline."""
        return prepare.checked(self.config, overrides)

    def plan(self, *overrides: str, select: Selection = EVERYTHING) -> Plan:
        """Returns the plan for the run directory."""
        return prepare.planned(self.load(*overrides), self.directory, select)

    def actions(self, *overrides: str, select: Selection = EVERYTHING) -> dict[str, str]:
        """Returns stage id -> action of the selected stages."""
        return {stage.id: stage.action for stage in self.plan(*overrides, select=select).stages if stage.selected}

    def run(self, *overrides: str, select: Selection = EVERYTHING, environ: Mapping[str, str] | None = None) -> str:
        """Runs with fake workers, in child processes when an environment is given; returns what was printed."""
        console = rich.console.Console(file=io.StringIO(), width=200)
        loaded = self.load(*overrides)
        with self.directory.writing():
            plan = prepare.planned(loaded, self.directory, select)
            self.directory.create_or_open(loaded)
            runner.run(
                plan,
                self.directory,
                in_this_process if environ is None else lambda: start_fake(environ),
                progress.Console(console),
            )
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    def calls(self) -> list[tuple[str, str, int]]:
        """Returns (kind, id, first step) of every job that a worker began."""
        return [(call['kind'], call['id'], call['step']) for call in files.read_json_lines(self.folder / 'calls.jsonl')]

    def events(self) -> list[tuple[str, str]]:
        """Returns (event, job) of every ledger line."""
        return [(line['event'], line['job']) for line in self.directory.ledger.read()]

    def weights(self) -> dict[str, Mapping[str, str]]:
        """Returns stage id -> digests of the finished stages."""
        return {stage_id: entry.result['digests'] for stage_id, entry in self.directory.lock().stages.items()}

    def add_image(self, name: str, split: str, x: int = 10) -> None:
        """Adds a real JPEG with one object to the data set."""
        pixels = np.random.default_rng([*name.encode(), x]).integers(0, 255, (48, 64, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(self.folder / 'data' / 'JPEGImages' / f'{name}.jpg')
        self.annotate(name, x)
        with open(self.split(split), 'a') as file:
            file.write(f'{name}\n')

    def annotate(self, name: str, x: int) -> None:
        """Writes an image's annotation: one object whose left edge is `x`."""
        (self.folder / 'data' / 'Annotations' / f'{name}.xml').write_text(ANNOTATION.format(name=name, x=x))

    def remove_image(self, name: str, split: str) -> None:
        """Takes an image out of a split."""
        self.split(split).write_text(self.split(split).read_text().replace(f'{name}\n', ''))

    def split(self, name: str) -> pathlib.Path:
        """Returns the file that lists a split's images."""
        return self.folder / 'data' / 'ImageSets' / 'Main' / f'{name}.txt'


def make_document() -> dict[str, Any]:
    """Returns the pipeline as a mapping of its own, with the top-level `train` under every stage."""
    loaded: dict[str, Any] = yaml.safe_load(PIPELINE)
    train = loaded.pop('train')
    for stage in (*loaded['stages'], *loaded['compare']['joint']['stages']):
        stage['train'] = {**copy.deepcopy(train), **stage.get('train', {})}
    return loaded


def start_fake(environ: Mapping[str, str]) -> process.ChildWorker:
    """Starts a fake child."""
    return process.start_child(CHILD, environ_of(environ))


def environ_of(more: Mapping[str, str]) -> dict[str, str]:
    """Returns the environment in which processes find the fakes, with some variables more."""
    return {**os.environ, 'PYTHONPATH': str(ROOT), **more}


def in_this_process() -> process.InProcessWorker:
    """Starts a fake worker that needs no process."""
    return process.InProcessWorker(worker.IMPLEMENTATIONS)


def make_project(folder: pathlib.Path) -> Project:
    """Writes the pipeline file, three images and a weight file."""
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / 'data' / name).mkdir(parents=True)
    project = Project(folder)
    project.config.write_text(PIPELINE)
    (folder / 'weights.h5').write_bytes(b'weights of ImageNet')
    for name, split in (('a', 'trainval'), ('b', 'trainval'), ('c', 'test')):
        project.add_image(name, split)
    return project
