"""A child process without TensorFlow that trains on digits: its "weights" are a hash chain, so that exact resume can be seen.

It runs the real `stagetrain.workers.child`; only the two jobs are replaced. Its memory is `calls.jsonl` beside the run directory.
Environment: FAKE_SECONDS (a step takes), FAKE_DIE (`id:step:signal or word`, happens when that step is reached, once),
FAKE_EVALUATION_SECONDS, FAKE_PROPOSAL_SECONDS, FAKE_CHECK_SECONDS (these jobs take), FAKE_UNMEASURED (metrics are None),
FAKE_MILLISECONDS (a step is said to take).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from stagetrain import files
from stagetrain.errors import ConfigError, Interrupted, StageFailed, WeightsError
from stagetrain.pipeline import extension
from stagetrain.pipeline.answers import Emit, ShouldStop, note, progress
from stagetrain.workers import child

CHECKPOINT_INTERVAL = 4
IMPLEMENTATIONS = {
    'train': 'tests.fakes.worker:train_stage',
    'artefact': 'tests.fakes.worker:make_proposals',
    'check': 'tests.fakes.worker:check_model',
    'speed': 'tests.fakes.worker:measure_speed',
}
BORN = time.time()


def train_stage(job: Any, emit: Emit, should_stop: ShouldStop) -> dict[str, Any]:
    """Trains from the newest checkpoint on; saves every few steps and when told to stop."""
    folder = pathlib.Path(job.folder)
    recipe = files.digest_of({name: value for name, value in job.parts.items() if name not in extension.LENGTH})
    step, weights = _restore(folder / 'checkpoints', job)
    _remember(job, step)
    metrics = dict.fromkeys(('AP', 'AP50')) if os.environ.get('FAKE_UNMEASURED') else {'AP': 0.25, 'AP50': 0.5}
    for store in job.artefacts.values():
        files.verify_folder(pathlib.Path(store))
    while step < job.num_steps:
        if should_stop():
            _save(folder, step, weights, job)
            raise Interrupted(f'{job.id}: saved at step {step}')
        step, weights = step + 1, hashlib.sha256(f'{weights}{step}{recipe}'.encode()).hexdigest()
        _take('step', 'FAKE_SECONDS', job, lambda: False)
        values = {'loss': 1 / step} | ({'AP': metrics['AP']} if step == job.num_steps else {})
        emit(progress(step, job.num_steps, values))
        _misfortune(job, step)
        if step % CHECKPOINT_INTERVAL == 0:
            _save(folder, step, weights, job)
    checkpoint = _save(folder, step, weights, job)
    _take('evaluation', 'FAKE_EVALUATION_SECONDS', job, should_stop)
    variables = _variables(job, weights)
    files.write_json(folder / 'lineage.json', {name: variables[name]['origin'] for name in variables})
    files.write_json(folder / 'frozen.json', {name: value['digest'] for name, value in variables.items() if value['is_frozen']})
    digests = {name.split('/')[0]: value['digest'] for name, value in variables.items()}
    return {
        'step': step,
        'num_images': step * job.stage['train'].get('batch_size', 4),
        'seconds': 1.5,
        'seconds_by_part': {'training': 1.5},
        'num_trained_parameters': 10,
        'checkpoint': str(checkpoint.relative_to(job.run_dir)),
        'digests': digests,
        'metrics': metrics,
        'evaluation_seconds': 0.5,
        'ended': time.time(),
    }


def make_proposals(job: Any, emit: Emit, should_stop: ShouldStop) -> dict[str, Any]:
    """Makes a store of one file."""
    _remember(job, 0)
    _take('proposals', 'FAKE_PROPOSAL_SECONDS', job, should_stop)
    folder = pathlib.Path(job.folder)
    emit(note('three images are small'))
    digest = (
        files.verify_folder(folder) if folder.exists() else files.commit_folder(folder, lambda f: (f / 'boxes').write_text('1'))
    )
    return {'folder': str(folder), 'digest': digest, 'num_images': 3, 'seconds': 0.25, 'recall': {'recall_0.5': 0.9}}


def measure_speed(job: Any, emit: Emit, should_stop: ShouldStop) -> dict[str, Any]:
    """Says that a step takes 10 ms (or FAKE_MILLISECONDS), and a stage a second beside its steps."""
    del emit, should_stop
    files.append_json_line(pathlib.Path(job.run_dir).parent / 'measured.jsonl', list(job.stages))
    step = float(os.environ.get('FAKE_MILLISECONDS', '10')) / 1000
    proposals = {'proposals': 2.0}
    return {
        stage_id: {'step': step, 'start': 0.5, 'evaluation': 0.5, 'artefacts': proposals if 'detector' in stage_id else {}}
        for stage_id in job.stages
    }


def check_model(job: Any, emit: Emit, should_stop: ShouldStop) -> dict[str, Any]:
    """Refuses a scope that says nonsense."""
    del emit, should_stop
    files.append_json_line(pathlib.Path(job.run_dir).parent / 'checks.jsonl', 1)
    _take('check', 'FAKE_CHECK_SECONDS', job, lambda: False)
    if any('backbone/nonsense' in stage.get('freeze_variables', []) for stage in job.pipeline['stages']):
        raise ConfigError("stages.detector_2: scope 'backbone/nonsense' matches no variable")
    return {}


def _take(what: str, variable: str, job: Any, should_stop: Callable[[], bool]) -> None:
    """Takes the time that the environment says, in short parts, as a job does that is asked between them."""
    seconds = float(os.environ.get(variable, '0'))
    if seconds:
        begun = {'kind': what, 'id': getattr(job, 'id', '')}
        files.append_json_line(pathlib.Path(job.run_dir).parent / 'begun.jsonl', begun)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if should_stop():
            raise Interrupted(f'stopped in {what}')
        time.sleep(0.05)


def _restore(checkpoints: pathlib.Path, job: Any) -> tuple[int, str]:
    for folder in sorted(checkpoints.glob('step-*'), reverse=True):
        files.verify_folder(folder)
        saved = files.read_json(folder / 'state.json')
        return saved['step'], saved['weights']
    return 0, ''.join(str(job.origins[module].digest) for module in sorted(job.origins))


def _save(folder: pathlib.Path, step: int, weights: str, job: Any) -> pathlib.Path:
    final = folder / 'checkpoints' / f'step-{step:08d}'

    def write(temporary: pathlib.Path) -> None:
        files.write_json(temporary / 'state.json', {'step': step, 'weights': weights})
        files.write_json(temporary / 'variables.json', _variables(job, weights))

    if not final.exists():
        files.commit_folder(final, write)
    return final


def _variables(job: Any, weights: str) -> dict[str, dict[str, Any]]:
    """One variable for each module, as a checkpoint describes it; what is frozen keeps the digest of its origin."""
    described = {}
    for module, origin in job.origins.items():
        name = f'{module}/layer/kernel'
        is_frozen = any(re.fullmatch(scope, name) for scope in job.stage.get('freeze_variables', []))
        digest = origin.digest if is_frozen else hashlib.sha256(f'{module}{weights}'.encode()).hexdigest()
        given = {key: value for key, value in {**dataclasses.asdict(origin), 'key': name}.items() if value is not None}
        described[name] = {'key': name, 'shape': [1], 'digest': digest, 'is_frozen': is_frozen, 'origin': given}
    return described


def _remember(job: Any, step: int) -> None:
    calls = pathlib.Path(job.run_dir).parent / 'calls.jsonl'
    call = {'kind': getattr(job, 'artefact', job.kind), 'id': job.id, 'step': step, 'pid': os.getpid(), 'born': BORN}
    files.append_json_line(calls, call)


def _misfortune(job: Any, step: int) -> None:
    stage_id, when, what = os.environ.get('FAKE_DIE', '::').split(':')
    mark = pathlib.Path(job.run_dir).parent / f'died-{stage_id}-{when}-{what}'
    if (stage_id, when) != (job.id, str(step)) or mark.exists():
        return
    mark.touch()
    if what == 'SIGTERM':  # As a machine that is taken away does: the next step finds it.
        os.kill(os.getpid(), signal.SIGTERM)
        return
    if what == 'fail':
        raise StageFailed(f'{stage_id}: the loss is not finite at step {step}')
    if what == 'bad':
        raise WeightsError(f'{stage_id}: the file does not fit')
    if what == 'defect':
        raise ZeroDivisionError('by zero')
    if what == 'memory':
        bytearray(1 << 30)
    if what == 'exit':
        print('the library says goodbye', flush=True)
        os._exit(7)
    os.kill(os.getpid(), signal.Signals[what])
    time.sleep(60)


if __name__ == '__main__':
    if os.environ.get('FAKE_IMPORT_ERROR'):
        raise ImportError('no such library')
    sys.exit(child.main(IMPLEMENTATIONS))
