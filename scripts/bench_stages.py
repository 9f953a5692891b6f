"""What a stage costs: stagetrain against the Model Garden's own training of the same stage, on the same images, in one run.

    python scripts/bench_stages.py --json=bench.json            # the better part of an hour on 2 cores
    python scripts/bench_stages.py --quick                      # without the row `pipeline`, with more noise: some minutes
    python scripts/bench_stages.py --markdown=bench.json        # the table for docs/performance.md, from a finished run

Rows `step_1` to `step_4` and `end_to_end` are single training steps on batches prepared in memory, both sides in turn in this
process. `pipeline`, `peak_memory` and `evaluation` run both sides whole, from files; `docs/performance.md` says what each holds.
"""

# ruff: noqa: E402 - TensorFlow reads the environment while it is imported.

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.workers.environment import prepare_environment

prepare_environment()

import bench_model_garden
import rich.console
import rich.table
import tensorflow as tf

from stagetrain import files
from stagetrain.config import load, onednn, versions
from stagetrain.config.stages import live_losses
from stagetrain.data import synthetic
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from stagetrain.detectors.anchors import anchor_boxes
from stagetrain.detectors.detector import Cut, Proposing
from stagetrain.devices import setup
from stagetrain.errors import BadInput, StageFailed, StagetrainError
from stagetrain.evaluation import evaluate
from stagetrain.images import randomness
from stagetrain.images.geometry import View, geometry_of, plain_view
from stagetrain.images.loading import Images
from stagetrain.images.views import Views
from stagetrain.pipeline import run_files
from stagetrain.pipeline.lock import read_lock
from stagetrain.stages.network import build_network
from stagetrain.stores import features
from stagetrain.stores.proposals import PADDING, PROPOSALS
from stagetrain.training import cost, optimizers
from stagetrain.training.input import TrainingInput
from stagetrain.weights import assign
from stagetrain.workers import quiet

ROOT = pathlib.Path(__file__).resolve().parents[1]
STEP_ROWS: Mapping[str, str] = {
    'step_1': 'rpn_1',
    'step_2': 'detector_1',
    'step_3': 'rpn_2',
    'step_4': 'detector_2',
    'end_to_end': 'joint',
}
"""Row -> the stage whose step it measures."""
WHOLE_ROWS = ('pipeline', 'peak_memory', 'evaluation')
ROWS = (*STEP_ROWS, *WHOLE_ROWS)
QUICK_ROWS = tuple(row for row in ROWS if row != 'pipeline')
"""With few steps the row `pipeline` would measure the start of processes."""
BATCH_SIZE = 4
NUM_BATCHES = 8
NUM_WARM_UP = 3
PACKAGES = ('tensorflow', 'tf-models-official', 'tf-keras', 'numpy')
MODEL: Mapping[str, Any] = {
    'type': 'faster_rcnn',
    'input_size': [256, 256, 3],
    'min_level': 3,
    'max_level': 6,
    'backbone': {'type': 'mobilenet', 'mobilenet': {'model_id': 'MobileNetV2', 'filter_size_scale': 0.5}},
    'decoder': {'type': 'fpn', 'fpn': {'num_filters': 64}},
    'anchor': {'anchor_size': 4.0},
    'rpn_head': {'num_filters': 64},
    'detection_head': {'num_convs': 0, 'fc_dims': 256},
    'roi_sampler': {'num_sampled_rois': 64},
    'losses': {'l2_weight_decay': 4e-5},
    'norm_activation': {'use_sync_bn': False},
    'parser': {'aug_rand_hflip': True},
}
"""MobileNetV2 0.5 with a 64-channel FPN at 256x256; what is not named is the Model Garden's default."""
RPN = {'rpn_score': 1.0, 'rpn_box': 1.0}
HEAD = {'frcnn_class': 1.0, 'frcnn_box': 1.0}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is measured."""

    repetitions: int
    """Timed steps of a step row, on each side."""
    num_steps: int
    """Steps of each stage of the pipeline, and of the end-to-end runs."""
    num_images: int
    """Synthetic training images."""
    num_validation: int
    """Synthetic validation images."""
    evaluations: int
    """Timed evaluations of the validation set, on each side."""


FULL = Settings(repetitions=60, num_steps=600, num_images=300, num_validation=100, evaluations=5)
"""600 steps a stage, as the shipped recipes train."""
QUICK = Settings(repetitions=6, num_steps=10, num_images=40, num_validation=16, evaluations=2)


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table; `ours` and `model_garden` are medians in `unit`."""

    unit: str
    ours: tuple[float, ...]
    model_garden: tuple[float, ...]
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns medians, their ratio and the extremes."""
        ours, theirs = statistics.median(self.ours), statistics.median(self.model_garden)
        return {
            'unit': self.unit,
            'ours': ours,
            'model_garden': theirs,
            'ratio': ours / theirs,
            'ours_range': [min(self.ours), max(self.ours)],
            'model_garden_range': [min(self.model_garden), max(self.model_garden)],
            'num_measured': len(self.ours),
            **self.details,
        }


@dataclasses.dataclass(frozen=True)
class Times:
    """Milliseconds of the calls of one side."""

    wall_ms: list[float]
    processor_ms: list[float]
    """Of all threads; what else the machine does changes it little."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """A benchmark's surroundings: its temporary folder, pipeline files and data."""

    folder: pathlib.Path
    settings: Settings
    pipelines: Mapping[str, pathlib.Path]
    """`four_step` and `joint` -> pipeline file."""
    records: pathlib.Path
    validation_records: pathlib.Path
    train: Dataset
    validation: Dataset

    def pipeline_of(self, stage: str) -> tuple[pathlib.Path, Any, Any]:
        """Returns the file, the pipeline and the stage of a stage's name."""
        path = self.pipelines['joint' if stage == 'joint' else 'four_step']
        pipeline = load.load_pipeline(path).pipeline
        return path, pipeline, next(one for one in pipeline.stages if one.name == stage)


# ---- what is run ------------------------------------------------------------------------------------------------------------


def pipeline_files(folder: pathlib.Path, data: Mapping[str, Any], num_steps: int) -> dict[str, pathlib.Path]:
    """Writes the two pipelines: the four steps as in the paper, and end to end; returns name -> file."""
    common = {
        'model': MODEL,
        'data': data,
        'train': {
            'steps': num_steps,
            'batch_size': BATCH_SIZE,
            'optimizer': {'type': 'sgd', 'sgd': {'momentum': 0.9}},
            'learning_rate': {'type': 'constant', 'constant': {'learning_rate': 0.01}},
            'warmup': {'type': 'linear', 'linear': {'warmup_steps': 20, 'warmup_learning_rate': 0.001}},
        },
    }
    trunk = ['backbone/.*', 'decoder/.*']
    shared = {'backbone': 'rpn_2', 'decoder': 'rpn_2', 'rpn_head': 'rpn_2', 'detection_head': 'detector_1'}
    stages = [
        {'name': 'rpn_1', 'loss_weights': RPN},
        {'name': 'detector_1', 'loss_weights': HEAD, 'proposals': {'from': 'rpn_1', 'max_per_image': 1000}},
        {
            'name': 'rpn_2',
            'loss_weights': RPN,
            'init': {'backbone': 'detector_1', 'decoder': 'detector_1'},
            'freeze_variables': trunk,
        },
        {
            'name': 'detector_2',
            'loss_weights': HEAD,
            'init': shared,
            'freeze_variables': [*trunk, 'rpn_head/.*'],
            'proposals': {'from': 'rpn_2', 'max_per_image': 1000},
        },
    ]
    joint = [{'name': 'joint', 'loss_weights': {**RPN, **HEAD}}]
    written = {}
    for name, content in (('four_step', stages), ('joint', joint)):
        written[name] = folder / f'{name}.yaml'
        files.write_json(written[name], {'name': f'bench_{name}', **common, 'stages': content})  # JSON is YAML.
    return written


def data_section(kind: str, folder: pathlib.Path, settings: Settings) -> dict[str, Any]:
    """Returns the `data` section: synthetic images, made in `folder`, or the BCCD images that the environment names.

    Raises:
      BadInput: BCCD is asked for and not set.
    """
    if kind == 'synthetic':
        root = folder / 'images'
        synthetic.make(root, settings.num_images, settings.num_validation, image_size=256)
        classes = list(synthetic.CLASSES)
    else:
        if 'BCCD' not in os.environ:
            raise BadInput(
                '--data=bccd: the environment variable BCCD is not set; it names the folder of the BCCD images in VOC layout'
            )
        root, classes = pathlib.Path(os.environ['BCCD']).absolute(), ['RBC', 'WBC', 'Platelets']
    source = {'format': 'voc', 'path': str(root)}
    return {
        'classes': classes,
        'on_bad': 'skip',
        'train': {**source, 'split': 'trainval'},
        'validation': {**source, 'split': 'test'},
    }


def prepare(kind: str, folder: pathlib.Path, settings: Settings) -> Bench:
    """Makes the images, the pipeline files and the Model Garden's TFRecords; none of it is timed."""
    pipelines = pipeline_files(folder, data_section(kind, folder, settings), settings.num_steps)
    pipeline = load.load_pipeline(pipelines['four_step']).pipeline
    setup.configure(pipeline.runtime)
    train, validation = (
        load_dataset(getattr(pipeline.data, name), pipeline.data, name, None) for name in ('train', 'validation')
    )
    records = {name: folder / f'{name}.tfrecord' for name in ('train', 'validation')}
    bench_model_garden.write_records(train.examples, records['train'])
    bench_model_garden.write_records(validation.examples, records['validation'])
    return Bench(folder, settings, pipelines, records['train'], records['validation'], train, validation)


# ---- single steps -----------------------------------------------------------------------------------------------------------


class Steps:
    """Both sides' training steps on the same images and views, from memory."""

    def __init__(self, bench: Bench):
        """Builds one whole detector for targets, proposals and features, and the Model Garden's model."""
        self._bench = bench
        _, self._pipeline, joint = bench.pipeline_of('joint')
        self._reference = build_network(self._pipeline, joint, bench_model_garden.MODULES)
        few = dataclasses.replace(bench.train, examples=bench.train.examples[: NUM_BATCHES * BATCH_SIZE])
        geometry = geometry_of(self._pipeline.model, training=True)
        self._images = Images(few, geometry, include_difficult=False)
        self._views = Views(geometry, randomness.stage_seed(0, 'bench'), None)
        self._batches = self._input(list(live_losses(joint)))
        self._model = bench_model_garden.build_task(self._pipeline, joint).build_model()
        anchors = anchor_boxes(self._pipeline.model)
        self._inputs = [
            bench_model_garden.inputs_of(batch, anchors, self._pipeline.model.parser.max_num_instances) for batch in self._batches
        ]

    def measure(self, stage_name: str) -> Row:
        """Returns the row of one stage, in milliseconds."""
        _, pipeline, stage = self._bench.pipeline_of(stage_name)
        (_, our_step), our_batches = (
            cost.stage_step(pipeline, stage_name, stage, tf.distribute.get_strategy()),
            self._stored_batches(stage),
        )
        task = bench_model_garden.build_task(pipeline, stage)
        bench_model_garden.freeze(self._model, bench_model_garden.frozen_modules(stage))
        their_step = bench_model_garden.build_step(task, self._model, optimizers.build_optimizer(stage.train))
        ours, theirs = interleaved(
            lambda i: our_step(our_batches[i])['total'].numpy(),
            lambda i: their_step(self._inputs[i])[task.loss].numpy(),
            self._bench.settings.repetitions,
        )
        return step_row(ours, theirs)

    def _input(
        self,
        terms: Sequence[str],
        needs_images: bool = True,
        known: Mapping[str, Callable[..., Any]] | None = None,
        stored: Mapping[str, Callable[..., Any]] | None = None,
    ) -> list[dict[str, Any]]:
        batches = TrainingInput(
            self._images,
            self._reference,
            seed=self._views.seed,
            batch_size=BATCH_SIZE,
            terms=terms,
            needs_images=needs_images,
            views=self._views,
            known=known,
            features=stored,
        )
        return list(batches.batches(0, NUM_BATCHES))

    def _stored_batches(self, stage: Any) -> list[dict[str, Any]]:
        """Returns the batches as the stage's own input gives them, with proposals and features as its stores would."""
        known = {} if stage.proposals is None else {PROPOSALS: self._read_proposals(stage.proposals)}
        stored: dict[str, Callable[..., Any]] = {}
        has_features = {'backbone', 'decoder'} <= set(bench_model_garden.frozen_modules(stage))
        if has_features:
            decision = features.StoreDecision('memory', 'benchmark', Cut('decoder'))
            store = features.FeatureStore(self._reference, decision, self._images, self._views, 'float32')
            stored[store.cut.key] = store.in_memory(lambda done, total: None)
        return self._input(list(live_losses(stage)), not has_features, known, stored)

    def _read_proposals(self, settings: Any) -> Callable[[tf.Tensor, View], tf.Tensor]:
        """Proposes on every view; returns what reads the proposals of one."""

        @tf.function(autograph=False)
        def propose(index: tf.Tensor, flip: tf.Tensor) -> tf.Tensor:
            view = dataclasses.replace(plain_view(), flip=flip)
            shape = self._images.geometry.shown_size(view, tf.gather(self._images.sizes, index))
            batch = {'image': self._images.show(index, view)[tf.newaxis], 'image_shape': shape[tf.newaxis]}
            how = Proposing(settings.pre_nms_top_k, settings.nms_iou, settings.max_per_image)
            boxes, scores = self._reference.propose(batch, how)
            return tf.where(scores[..., tf.newaxis] > 0, boxes, PADDING)[0]

        table = tf.stack(
            [
                tf.stack([propose(tf.constant(index, tf.int64), tf.constant(flip)) for flip in range(2)])
                for index in range(len(self._images))
            ]
        )
        return lambda index, view: tf.gather_nd(table, tf.stack([tf.cast(index, tf.int32), view.flip]))


def interleaved(ours: Callable[[int], Any], theirs: Callable[[int], Any], repetitions: int) -> tuple[Times, Times]:
    """Returns the times of each side's calls, the two in turn, so that what else the machine does hits both alike.

    Args:
      ours: called with a batch's number.
      theirs: likewise.
      repetitions: timed calls of each, after `NUM_WARM_UP` that are not.
    """
    times = (Times([], []), Times([], []))
    for number in range(NUM_WARM_UP + repetitions):
        for side, call in enumerate((ours, theirs)):
            started, used = time.perf_counter(), time.process_time()
            call(number % NUM_BATCHES)
            if number >= NUM_WARM_UP:
                times[side].wall_ms.append((time.perf_counter() - started) * 1e3)
                times[side].processor_ms.append((time.process_time() - used) * 1e3)
    return times


def step_row(ours: Times, theirs: Times) -> Row:
    """Returns a row of wall times, with the medians of the processor times as details."""
    used = {side: statistics.median(times.processor_ms) for side, times in (('ours', ours), ('model_garden', theirs))}
    return Row('ms', tuple(ours.wall_ms), tuple(theirs.wall_ms), {'processor_ms': used})


# ---- whole runs -------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a process took; `peak_bytes` is that of the largest among it and its children."""

    seconds: float
    peak_bytes: int


def carry_out(command: Sequence[str], log: pathlib.Path) -> Finished:
    """Runs a command to its end.

    Raises:
      StageFailed: it ended with another exit code than 0; the message holds the end of what it printed.
    """
    environment = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{os.environ.get("PYTHONPATH", "")}', 'STAGETRAIN_CACHE': ''}
    result = log.with_suffix('.took.json')
    subprocess.run(
        [sys.executable, str(ROOT / 'scripts' / 'bench_process.py'), result, log, *command], env=environment, check=True
    )
    took = files.read_json(result)
    if took['exit_code'] != 0:
        last_words = log.read_text(errors='replace')[-3000:]
        raise StageFailed(f'{" ".join(command)}: ended with exit code {took["exit_code"]}\n{last_words}')
    return Finished(took['seconds'], took['peak_bytes'])


def run_stagetrain(bench: Bench, name: str) -> tuple[Finished, pathlib.Path]:
    """Runs one of the benchmark's pipelines from its file, as a user does; returns its run directory too."""
    run_dir = bench.folder / f'run_{name}'
    command = [sys.executable, '-m', 'stagetrain.cli.main', 'run', str(bench.pipelines[name]), f'--run_dir={run_dir}']
    return carry_out(command, bench.folder / f'{name}.log'), run_dir


def run_model_garden(bench: Bench, stage_name: str, init: str | None) -> tuple[Finished, str, dict[str, float]]:
    """Trains one stage with the Model Garden in a process of its own; returns its checkpoint and the seconds of its parts too."""
    config, _, stage = bench.pipeline_of(stage_name)
    job = bench.folder / f'model_garden_{stage_name}.json'
    checkpoint, result = str(bench.folder / f'model_garden_{stage_name}.ckpt'), job.with_suffix('.result.json')
    description = {
        'config': str(config),
        'stage': stage_name,
        'records': str(bench.records),
        'num_images': len(bench.train.examples),
        'num_steps': stage.train.steps,
        'init': init,
        'checkpoint': checkpoint,
        'result': str(result),
    }
    files.write_json(job, description)
    command = [sys.executable, str(ROOT / 'scripts' / 'bench_model_garden.py'), str(job)]
    return carry_out(command, job.with_suffix('.log')), checkpoint, files.read_json(result)


def measure_pipeline(bench: Bench) -> Row:
    """Returns the wall seconds of the four steps, evaluation left out on both sides."""
    ours, run_dir = run_stagetrain(bench, 'four_step')
    lock = read_lock(run_dir / 'pipeline.lock')
    results = {name: entry.result for name, entry in lock.stages.items()}
    our_parts = {name: dict(result['seconds_by_part']) for name, result in results.items()}
    our_parts['proposals'] = {key[:8]: entry.result['seconds'] for key, entry in lock.artefacts['proposals'].items()}
    evaluation = sum(result['evaluation_seconds'] for result in results.values())
    checkpoint, their_seconds, their_parts = None, 0.0, {}
    for stage in ('rpn_1', 'detector_1', 'rpn_2', 'detector_2'):
        finished, checkpoint, parts = run_model_garden(bench, stage, checkpoint)
        their_seconds += finished.seconds
        their_parts[stage] = {**parts, 'process': finished.seconds - sum(parts.values())}
    details = {
        'num_steps': bench.settings.num_steps,
        'ours_evaluation_left_out': evaluation,
        'ours_seconds_by_part': our_parts,
        'model_garden_seconds_by_part': their_parts,
    }
    return Row('s', (ours.seconds - evaluation,), (their_seconds,), details)


def measure_joint(bench: Bench, wanted: Sequence[str]) -> dict[str, Row]:
    """Returns `peak_memory` and `evaluation` as asked, from end-to-end training on both sides."""
    ours, run_dir = run_stagetrain(bench, 'joint')
    rows = {}
    if 'peak_memory' in wanted:
        theirs, _, _ = run_model_garden(bench, 'joint', None)
        rows['peak_memory'] = Row('MB', (ours.peak_bytes / 1e6,), (theirs.peak_bytes / 1e6,))
    if 'evaluation' in wanted:
        result = read_lock(run_dir / 'pipeline.lock').stages['joint'].result
        rows['evaluation'] = measure_evaluation(bench, run_dir / result['checkpoint'])
    return rows


def measure_evaluation(bench: Bench, checkpoint: pathlib.Path) -> Row:
    """Returns the milliseconds an image of a full evaluation on the same trained weights, graphs built before."""
    _, pipeline, stage = bench.pipeline_of('joint')
    detector = build_network(pipeline, stage, bench_model_garden.MODULES)
    origins = dict.fromkeys(detector.modules, ModuleOrigin('stage', str(checkpoint)))
    assign.initialise(detector.modules, origins)
    images = Images(bench.validation, geometry_of(pipeline.model, training=False), include_difficult=True)
    evaluator = evaluate.Evaluator(detector, images, batch_size=pipeline.evaluation.batch_size, can_detect=True)
    theirs = bench_model_garden.Evaluation(
        pipeline, stage, str(checkpoint / run_files.TENSORS), bench.validation_records, len(images)
    )
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(1 + bench.settings.evaluations):
        for side, run in enumerate((lambda: evaluator.run().metrics['AP'], lambda: theirs.run()['AP'])):
            started = time.perf_counter()
            average_precision = run()
            if repetition > 0:  # The first builds the graphs.
                times[side].append((time.perf_counter() - started) * 1e3 / len(images))
            elif side == 0:
                our_ap = average_precision
    details = {'AP': {'ours': our_ap, 'model_garden': float(average_precision)}, 'num_images': len(images)}
    return Row('ms', tuple(times[0]), tuple(times[1]), details)


# ---- report -----------------------------------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on: processor, cores that may be used, system and versions."""
    return {
        'processor': _processor(),
        'cores': len(os.sched_getaffinity(0)),
        'system': f'{platform.system()} {platform.release()}',
        'python': platform.python_version(),
        'versions': {**{name: metadata.version(name) for name in PACKAGES}, versions.ONEDNN: onednn.value(os.environ)},
    }


def _processor() -> str:
    info = pathlib.Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return named[0] if named else platform.processor() or platform.machine()


def table_lines(report: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yields (row, ours, Model Garden, ratio, range of ours, range of the Model Garden's) as they are shown."""
    for name in sorted(report['rows'], key=ROWS.index):
        row = report['rows'][name]
        unit, digits = row['unit'], 1 if row['unit'] != 'MB' else 0
        ranges = [
            '' if row['num_measured'] == 1 else f'{low:.{digits}f} to {high:.{digits}f}'
            for low, high in (row['ours_range'], row['model_garden_range'])
        ]
        ours, theirs = (f'{row[side]:.{digits}f} {unit}' for side in ('ours', 'model_garden'))
        yield name, ours, theirs, f'{row["ratio"]:.2f}', *ranges


HEADINGS = ('row', 'stagetrain', 'Model Garden', 'ratio', 'min to max', 'min to max (Model Garden)')


def markdown(report: Mapping[str, Any]) -> str:
    """Returns a finished run's table for `docs/performance.md`."""
    lines = [HEADINGS, tuple('---' for _ in HEADINGS), *table_lines(report)]
    return ''.join(f'| {" | ".join(line)} |\n' for line in lines) + f'\n{described(report)}\n'


def described(report: Mapping[str, Any]) -> str:
    """Returns one line about the machine and the settings."""
    on, settings = report['machine'], report['settings']
    versions = ', '.join(f'{name} {version}' for name, version in on['versions'].items())
    return (
        f'{on["processor"]}, {on["cores"]} cores; {on["system"]}; Python {on["python"]}; {versions}. Data: {settings["data"]}, '
        f'{settings["num_train"]} training and {settings["num_evaluated"]} validation images, {settings["num_steps"]} steps a '
        f'stage, {settings["repetitions"]} repetitions of a step.'
    )


def show(report: Mapping[str, Any]) -> None:
    """Prints the table."""
    table = rich.table.Table(*HEADINGS)
    for line in table_lines(report):
        table.add_row(*line)
    console = rich.console.Console(width=120)
    console.print(table)
    console.print(described(report), highlight=False)


def measure(bench: Bench, wanted: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Yields the rows asked for, as they are finished."""
    if set(STEP_ROWS) & set(wanted):
        steps = Steps(bench)
        for name, stage in STEP_ROWS.items():
            if name in wanted:
                yield name, steps.measure(stage)
        del steps
    if 'pipeline' in wanted:
        yield 'pipeline', measure_pipeline(bench)
    if {'peak_memory', 'evaluation'} & set(wanted):
        yield from measure_joint(bench, wanted).items()


def run(kind: str, settings: Settings, wanted: Sequence[str]) -> dict[str, Any]:
    """Measures the rows asked for in a temporary folder, and returns the report."""
    with tempfile.TemporaryDirectory(prefix='bench_stages_') as folder:
        bench = prepare(kind, pathlib.Path(folder), settings)
        rows = {}
        for name, row in measure(bench, wanted):
            rows[name] = row.to_json()
            print(f'{name}: {rows[name]["ours"]:.4g} against {rows[name]["model_garden"]:.4g} {row.unit}', flush=True)
        described_settings = {
            **dataclasses.asdict(settings),
            'data': kind,
            'num_train': len(bench.train.examples),
            'num_evaluated': len(bench.validation.examples),
        }
    return {'machine': machine(), 'settings': described_settings, 'model': dict(MODEL), 'rows': rows}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description='Measures stages against the Model Garden.', allow_abbrev=False)
    parser.add_argument('--data', choices=('synthetic', 'bccd'), default='synthetic', help='bccd: the folder that BCCD names')
    parser.add_argument('--quick', action='store_true', help='fewer repetitions and images, and no row `pipeline`')
    parser.add_argument('--steps', type=int, help='steps of each stage in the rows of whole runs')
    parser.add_argument('--rows', nargs='+', choices=ROWS, help='these rows only')
    parser.add_argument('--json', type=pathlib.Path, help='write the report there')
    parser.add_argument('--markdown', type=pathlib.Path, metavar='JSON', help='print the table of a finished run')
    given = parser.parse_args(arguments)
    try:
        if given.markdown:
            print(markdown(files.read_json(given.markdown)), end='')
            return 0
        settings = QUICK if given.quick else FULL
        if given.steps:
            settings = dataclasses.replace(settings, num_steps=given.steps)
        with quiet.printing_to():
            report = run(given.data, settings, given.rows or (QUICK_ROWS if given.quick else ROWS))
    except StagetrainError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    show(report)
    if given.json:
        files.write_json(given.json, report)
    return 0


if __name__ == '__main__':
    sys.exit(main())
