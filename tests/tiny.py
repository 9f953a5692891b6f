"""A pipeline small enough to train in a test: four steps on real JPEG files of 64x64 pixels, with real Model Garden parts."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from stagetrain import files
from stagetrain.config import load
from stagetrain.errors import Interrupted
from stagetrain.images import randomness
from stagetrain.images.views import Views
from stagetrain.pipeline.answers import Message, StageResult
from stagetrain.pipeline.jobs import ArtefactJob, ModuleOrigin, StageJob, WorkJob
from stagetrain.stages.context import Context, prepare
from stagetrain.training.input import TrainingInput
from stagetrain.training.stage import train_stage
from stagetrain.weights import sources

ROOT = pathlib.Path(__file__).parents[1]
RPN = {'rpn_score': 1.0, 'rpn_box': 1.0}
HEAD = {'frcnn_class': 1.0, 'frcnn_box': 1.0}
MOBILENET_V1 = {'type': 'keras_mobilenet_v1', 'keras_mobilenet_v1': {'alpha': 0.25}}
MOBILENET_V2 = {'type': 'mobilenet', 'mobilenet': {'model_id': 'MobileNetV2', 'filter_size_scale': 0.25}}
CENTERNET = {
    'type': 'centernet',
    'input_size': [64, 64, 3],
    'backbone': MOBILENET_V1,
    'decoder': {'num_filters': [8, 8, 8]},
    'norm_activation': {'use_sync_bn': False},
    'losses': {'l2_weight_decay': 1e-3},
    'parser': {'aug_rand_hflip': True, 'max_num_instances': 8},
}
FEW_ROIS = ('model.roi_sampler.num_sampled_rois=16', 'model.roi_generator.num_proposals=50', 'model.detection_head.fc_dims=8')
"""Overrides of shipped configs."""
SGD = {'type': 'sgd', 'sgd': {'momentum': 0.9}}
ADAMW = {'type': 'adamw_experimental', 'adamw_experimental': {'weight_decay': 0.1, 'global_clipnorm': 1.0}}


def model(**changes: Any) -> dict[str, Any]:
    """Returns `model` of a pipeline: 64x64 pixels, two levels, one anchor a place."""
    return {
        'type': 'faster_rcnn',
        'input_size': [64, 64, 3],
        'min_level': 3,
        'max_level': 4,
        'backbone': MOBILENET_V1,
        'decoder': {'type': 'fpn', 'fpn': {'num_filters': 8}},
        'anchor': {'anchor_size': 2.0, 'aspect_ratios': [1.0]},
        'rpn_head': {'num_filters': 8},
        'detection_head': {'num_convs': 0, 'fc_dims': 8},
        'roi_sampler': {'num_sampled_rois': 16},
        'roi_generator': {'num_proposals': 50, 'test_num_proposals': 50},
        'norm_activation': {'use_sync_bn': False},
        'losses': {'l2_weight_decay': 1e-3},
        'parser': {'aug_rand_hflip': True, 'max_num_instances': 8},
        **changes,
    }


def stage(name: str, loss_weights: Mapping[str, float], train: Mapping[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    """Returns a stage of six steps with a checkpoint every two; `train` changes how it trains."""
    usual = {
        'steps': 6,
        'batch_size': 2,
        'checkpoint_interval': 2,
        'summary_interval': 1,
        'optimizer': SGD,
        'learning_rate': {'type': 'constant', 'constant': {'learning_rate': 0.01}},
    }
    return {'name': name, 'loss_weights': dict(loss_weights), 'train': {**usual, **(train or {})}, **keys}


def four_steps() -> list[dict[str, Any]]:
    """Returns the stages of 4-step alternating training."""
    shared = ['backbone/.*', 'decoder/.*']
    carried = {'backbone': 'rpn_2', 'decoder': 'rpn_2', 'rpn_head': 'rpn_2', 'detection_head': 'detector_1'}
    return [
        stage('rpn_1', RPN),
        stage('detector_1', HEAD, proposals={'from': 'rpn_1', 'max_per_image': 50}),
        stage('rpn_2', RPN, init={'backbone': 'detector_1', 'decoder': 'detector_1'}, freeze_variables=shared),
        stage(
            'detector_2',
            HEAD,
            init=carried,
            freeze_variables=[*shared, 'rpn_head/.*'],
            proposals={'from': 'rpn_2', 'max_per_image': 50},
        ),
    ]


def pipeline(data: pathlib.Path, stages: Sequence[Mapping[str, Any]], **model_changes: Any) -> dict[str, Any]:
    """Returns a pipeline as a dict."""
    source = {'format': 'voc', 'path': str(data)}
    return {
        'name': 'tiny',
        'seed': 5,
        'model': model(**model_changes),
        'data': {
            'classes': ['circle', 'square', 'triangle'],
            'train': {**source, 'split': 'trainval'},
            'validation': {**source, 'split': 'test'},
        },
        'stages': list(stages),
    }


def shipped(name: str, places: Mapping[str, str], *overrides: str) -> dict[str, Any]:
    """Returns a shipped pipeline on images of 64x64 pixels, resolved: four steps a stage, with a checkpoint every two.

    Args:
      name: of the file below `configs`.
      places: what it names in the environment.
      overrides: as `--set` takes them.
    """
    config = ROOT / 'configs' / name
    short = [
        f'stages.{stage.name}.train.{key}={value}'
        for stage in load.load_pipeline(config, environ=places).pipeline.stages
        for key, value in (('steps', 4), ('batch_size', 2), ('checkpoint_interval', 2), ('summary_interval', 1))
    ]
    small = ('data.classes=[circle, square, triangle]', 'model.input_size=[64, 64, 3]')
    return load.load_pipeline(config, [*short, *small, *overrides], environ=places).resolved


def job(run_dir: pathlib.Path, document: Mapping[str, Any], stage_id: str, **keys: Any) -> StageJob:
    """Returns the job of one of a pipeline's stages; `keys` gives `origins` and `artefacts`."""
    given = _work(run_dir, document, stage_id)
    folder = str(run_dir / 'stages' / stage_id)
    return StageJob(**{**given, 'num_steps': given['stage']['train']['steps'], 'folder': folder, **keys})


def proposals_job(
    run_dir: pathlib.Path, document: Mapping[str, Any], stage_id: str, origins: Mapping[str, ModuleOrigin], folder: pathlib.Path
) -> ArtefactJob:
    """Returns the job that makes the proposals that a stage reads."""
    given = _work(run_dir, document, stage_id)
    made = {'artefact': 'proposals', 'maker': given['stage'], 'folder': str(folder)}
    return ArtefactJob(**{**given, 'origins': origins, **made})


def elsewhere(one_job: StageJob, run_dir: pathlib.Path) -> StageJob:
    """Returns the same job in another run directory."""
    return dataclasses.replace(one_job, run_dir=str(run_dir), folder=str(run_dir / 'stages' / one_job.id))


def _work(run_dir: pathlib.Path, document: Mapping[str, Any], stage_id: str) -> dict[str, Any]:
    (run_dir / 'stages' / stage_id).mkdir(parents=True, exist_ok=True)
    (run_dir / 'cache').mkdir(exist_ok=True)
    resolved = load.load_resolved(document).resolved
    chosen = next(stage for stage in resolved['stages'] if stage['name'] == stage_id)
    given = {'id': stage_id, 'fingerprint': '0' * 64, 'parts': {}, 'stage': chosen, 'origins': {}}
    return {'run_dir': str(run_dir), 'pipeline': resolved, **given}


def train(one_job: StageJob, stop_after: int | None = None) -> tuple[StageResult, list[Any]]:
    """Carries a training job out in this process, or stops it at a step. Returns its result and its events."""
    events: list[Any] = []
    reached = [0]

    def emit(event: Message) -> None:
        events.append(event)
        if event['event'] == 'progress':
            reached[0] = event['step']

    result = train_stage(one_job, emit, lambda: stop_after is not None and reached[0] >= stop_after)
    return result, events


def resumed(trained: Trained, folder: pathlib.Path, stop_after: int = 2) -> pathlib.Path:
    """Returns the last checkpoint of the same job in another run directory, stopped at a step and resumed."""
    one_job = elsewhere(trained.job, folder)
    pathlib.Path(one_job.folder).mkdir(parents=True)
    (folder / 'cache').mkdir()
    with pytest.raises(Interrupted, match=f'stopped and saved at step {stop_after} of'):
        train(one_job, stop_after)
    return folder / train(one_job)[0]['checkpoint']


def train_in_turn(run_dir: pathlib.Path, document: Mapping[str, Any]) -> dict[str, Trained]:
    """Trains all stages of a resolved pipeline without stored proposals, in this process. Returns them by name."""
    finished: dict[str, Trained] = {}
    for one in document['stages']:
        origins = {module: _origin(document, finished, init['from']) for module, init in one.get('init', {}).items()}
        one_job = job(run_dir, document, one['name'], origins=origins)
        finished[one['name']] = Trained(one_job, *train(one_job))
    return finished


def _origin(document: Mapping[str, Any], finished: Mapping[str, Trained], name: str) -> ModuleOrigin:
    if name in finished:
        return finished[name].origin
    return ModuleOrigin('keras_h5', document['sources'][name]['keras_h5'])


def context(one_job: WorkJob) -> Context:
    """Returns what a job's code works with."""
    return prepare(one_job)


def training_input(one_job: WorkJob, detector: Any, terms: Sequence[str], **keys: Any) -> TrainingInput:
    """Returns the batches of a job's stage; `keys` as `TrainingInput` takes them."""
    surroundings = context(one_job)
    seed = randomness.stage_seed(surroundings.seed, surroundings.stage.name)
    defaults = {'batch_size': surroundings.stage.train.batch_size, **keys}
    return TrainingInput(surroundings.training_images(), detector, seed=seed, terms=terms, **defaults)


def operations(step: Any, batch: Any) -> tuple[set[str], set[str]]:
    """Returns the types and the names of all operations of a step, those of the functions that it calls included."""
    graph = step.get_concrete_function(batch).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes}, {node.name for node in nodes}


def holds(name: str, operation_names: set[str]) -> bool:
    """Whether some operation has `name` in its name."""
    return any(name in operation for operation in operation_names)


def views(one_job: WorkJob, num_fixed: int | None) -> Views:
    """Returns the views that a job's stage draws from."""
    surroundings = context(one_job)
    seed = randomness.stage_seed(surroundings.seed, surroundings.stage.name)
    return Views(surroundings.geometry(training=True), seed, num_fixed)


def tensors(checkpoint_folder: pathlib.Path) -> dict[str, bytes]:
    """Returns key -> bytes of every tensor of a checkpoint, optimizer slots too, but the stored object graph."""
    reader = sources.open_checkpoint(checkpoint_folder / 'ckpt')
    keys = [key for key in reader.get_variable_to_shape_map() if key != '_CHECKPOINTABLE_OBJECT_GRAPH']
    return {key: reader.get_tensor(key).tobytes() for key in sorted(keys)}


def last_checkpoint(run_dir: pathlib.Path, stage_id: str) -> pathlib.Path:
    """Returns the folder of a stage's newest checkpoint."""
    return sorted((run_dir / 'stages' / stage_id / 'checkpoints').glob('step-*'))[-1]


def write_config(path: pathlib.Path, document: Mapping[str, Any]) -> pathlib.Path:
    """Writes a pipeline file; JSON is YAML."""
    files.write_json(path, document)
    return path


def command(*arguments: object) -> subprocess.Popen[str]:
    """Starts the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, '-m', 'stagetrain.cli.main', *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, 'COLUMNS': '200'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_command(*arguments: object) -> tuple[int, str]:
    """Runs the command line to its end; returns its exit code and what it printed."""
    process = command(*arguments)
    output, _ = process.communicate(timeout=600)
    return process.returncode, output


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished stage: its job, its result, its events, and where it lies."""

    job: StageJob
    result: StageResult
    events: list[Any]

    @property
    def run_dir(self) -> pathlib.Path:
        """The run directory."""
        return pathlib.Path(self.job.run_dir)

    @property
    def folder(self) -> pathlib.Path:
        """The stage's folder."""
        return pathlib.Path(self.job.folder)

    @property
    def checkpoint(self) -> pathlib.Path:
        """The folder of the last checkpoint."""
        return self.run_dir / self.result['checkpoint']

    @property
    def origin(self) -> ModuleOrigin:
        """The stage, as a later one starts from it."""
        return ModuleOrigin('stage', str(self.checkpoint), self.job.id)
