"""Takes a few steps of small stages on one device and on logical CPUs, and prints their losses, for tests.

python -m tests.devices.on_replicas DATA FOLDER        # {pipeline: {number of replicas: [losses of a step, ...]}}

TensorFlow divides a CPU only once, before its first op; so this is a process of its own.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

from stagetrain.config import load
from stagetrain.config.stages import live_losses
from stagetrain.devices import setup
from stagetrain.training import cost
from tests import tiny

NUM_REPLICAS = (4, 2, 1)
"""The most first: then TensorFlow has devices for all."""
NUM_STEPS = 2
NORMS = {'norm_activation': {'use_sync_bn': True}}


def _stage(terms: dict[str, float], train: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Returns the stage `one`, whose backbone rests, for its BatchNorm is not synchronised."""
    scopes = ['backbone/.*']
    return [tiny.stage('one', terms, {'batch_size': 4, **(train or {})}, freeze_variables=scopes, allow_frozen_fresh=scopes)]


def pipelines(data: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns pipelines of one stage by name."""
    averaged = {'ema': {}, 'learning_rate_multipliers': {'.*/bias': 2.0}}
    head = {'num_convs': 1, 'num_filters': 8}
    keys = ('input_size', 'min_level', 'max_level', 'backbone', 'decoder', 'parser')
    retinanet = {'type': 'retinanet', **{key: tiny.model()[key] for key in keys}, **NORMS, 'head': head}
    centernet = {**tiny.CENTERNET, **NORMS}
    return {
        'faster_rcnn': tiny.pipeline(data, _stage(tiny.RPN | tiny.HEAD), **NORMS),
        'rpn': tiny.pipeline(data, _stage(tiny.RPN, averaged), **NORMS),
        'retinanet': {**tiny.pipeline(data, _stage({'class': 1.0, 'box': 1.0})), 'model': retinanet},
        'centernet': {**tiny.pipeline(data, _stage({'heatmap': 1.0, 'size': 0.1, 'offset': 1.0})), 'model': centernet},
    }


def losses(folder: pathlib.Path, document: dict[str, Any], number: int) -> list[dict[str, float]]:
    """Returns the losses of the first steps on so many replicas; on one, without any strategy."""
    runtime = {'strategy': 'mirrored', 'mirrored': {'num_devices': number, 'device': 'cpu'}}
    job = tiny.job(folder, document if number == 1 else {**document, 'runtime': runtime}, 'one')
    pipeline = load.load_resolved(job.pipeline).pipeline
    stage, strategy = pipeline.stages[0], setup.configure(pipeline.runtime, has_our_gradients=True)
    built, step = cost.stage_step(pipeline, 'one', stage, strategy)
    batches = tiny.training_input(job, built.network, sorted(live_losses(stage))).batches(0, NUM_STEPS)
    results = [step(batch) for batch in strategy.experimental_distribute_dataset(batches)]
    assert all(bool(result['is_finite']) for result in results)
    return [{term: float(result[term]) for term in live_losses(stage)} for result in results]


if __name__ == '__main__':
    every = pipelines(pathlib.Path(sys.argv[1]))
    found = {
        name: {number: losses(pathlib.Path(sys.argv[2]) / f'{name}_{number}', every[name], number) for number in NUM_REPLICAS}
        for name in sys.argv[3:] or every
    }
    print(json.dumps(found))
