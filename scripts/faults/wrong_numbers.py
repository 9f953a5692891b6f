"""A loss or a gradient that goes wrong in one step of a real stage: nothing of it reaches the weights, and the stage does what
its `on_nan` says. Also registers the network that does so, which an environment variable tells when.

The stage is trained by real child processes, on the network of `campaign_tiny`, with a checkpoint at every step. Each trial is
compared with an undisturbed run of the same network.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import campaign_tiny
from campaign_processes import Arena, Forked

from stagetrain import files
from stagetrain.config import specs
from stagetrain.config.builtin import faster_rcnn
from stagetrain.data import synthetic
from stagetrain.errors import EXIT_DONE, EXIT_FAILED
from stagetrain.pipeline import run_files
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import child
from stagetrain.workers.environment import prepare_environment

PLACES = ('rpn_score', 'rpn_box', 'frcnn_class', 'frcnn_box', 'regularization')
KINDS = ('nan', 'inf', 'spike', 'gradient')
POLICIES = ('stop', 'skip_batch', 'rollback')
NUM_STEPS = 8
BATCH_SIZE = 2
LIMIT = 3
RATE = 0.01
MAX_LOSS = 1e4
SECONDS_OF_A_RUN = 600.0
FAULT_VARIABLE = 'STAGETRAIN_CAMPAIGN_FAULT'
COUNTERS = {'step/.ATTRIBUTES/VARIABLE_VALUE', 'optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE'}
"""What a skipped batch moves."""

Tensors = Mapping[int, Mapping[str, str]]
"""Step -> key -> digest."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """Where a number goes wrong: in the batch of `step`, whenever that is computed, `times` times."""

    policy: str
    place: str
    kind: str
    step: int
    times: int


def faults() -> Iterator[tuple[str, str, str]]:
    """Yields all combinations of policy, place and kind, once each, so that few of them are already of every kind."""
    count = len(POLICIES) * len(PLACES) * len(KINDS)  # Without a common divisor, so that no combination comes twice.
    yield from itertools.islice(zip(*map(itertools.cycle, (POLICIES, PLACES, KINDS)), strict=False), count)


def wrong_numbers(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each trial."""
    prepare_environment()
    for implementation in child.IMPLEMENTATIONS.values():
        specs.load_implementation(implementation)
    arena = Arena(_config(work), child.IMPLEMENTATIONS, {})
    undisturbed = RunDirectory(work / 'undisturbed')
    code = arena.start_parent(undisturbed.path, work / 'undisturbed.log').wait(SECONDS_OF_A_RUN)
    assert code == EXIT_DONE, (work / 'undisturbed.log').read_text()
    references = {policy: _tensors(undisturbed, policy) for policy in POLICIES}
    for number, (policy, place, kind) in enumerate(itertools.islice(faults(), count)):
        fault = Fault(policy, place, kind, draw.randint(2, NUM_STEPS - 1), draw.choice((1, 2, 9)) if policy == 'rollback' else 1)
        folder = work / f'trial-{number}'
        shutil.copytree(undisturbed.cache, folder / 'run' / 'cache')
        yield [f'{fault}: {found}' for found in _Trial(arena, folder, fault, references[policy]).faults()]
        shutil.rmtree(folder)


class _Trial:
    """One run of one stage with a fault."""

    def __init__(self, arena: Arena, folder: pathlib.Path, fault: Fault, reference: Tensors) -> None:
        self._arena, self._folder, self._fault, self._reference = arena, folder, fault, reference
        self._directory = RunDirectory(folder / 'run')

    def faults(self) -> list[str]:
        """Runs the stage; returns what did not go as promised."""
        fails = self._fault.policy == 'stop' or self._fault.times > LIMIT
        code = self._run({FAULT_VARIABLE: json.dumps(dataclasses.asdict(self._fault))})
        if code != (EXIT_FAILED if fails else EXIT_DONE):
            return [f'exit code {code}: {(self._folder / "log").read_text()[-800:]}']
        found = [*self._said('failed' if fails else 'note'), *getattr(self, f'_{self._fault.policy}')()]
        kept = _tensors(self._directory, self._fault.policy)
        different = [step for step in range(1, self._fault.step) if kept.get(step) != self._reference[step]]
        return found + [f'the checkpoint of step {step}, before the fault, is another' for step in different]

    def _run(self, environ: Mapping[str, str]) -> int:
        arena = dataclasses.replace(self._arena, environ=environ, arguments=('--only', self._fault.policy))
        return arena.start_parent(self._directory.path, self._folder / 'log').wait(SECONDS_OF_A_RUN)

    def _said(self, event: str) -> list[str]:
        """The ledger tells the step, what was wrong, and the images."""
        fault = self._fault
        told = [line['text'] for line in self._directory.ledger.read() if line['event'] == event]
        what = (
            f'{fault.place} not finite' if fault.kind in ('nan', 'inf') else 'a gradient, or the total above max_loss not finite'
        )
        right = [text for text in told if f'step {fault.step}: {what}' in text and '(images: ' in text]
        return [] if right else [f'the ledger does not tell "step {fault.step}: {what}" with its images, but: {told}']

    def _stop(self) -> list[str]:
        """Behind the fault there is no checkpoint; without it the stage goes on to the bits of the undisturbed run."""
        newest = max(_tensors(self._directory, self._fault.policy))
        found = [] if newest == self._fault.step - 1 else [f'the newest checkpoint is of step {newest}']
        code = self._run({})
        if code != EXIT_DONE or _tensors(self._directory, self._fault.policy) != self._reference:
            found.append(f'started again it did not end as the undisturbed run: exit code {code}')
        return found

    def _skip_batch(self) -> list[str]:
        """The batch moves nothing but the counters, and the stage goes on to its end."""
        skipped = [line['step'] for line in self._metrics() if 'skipped' in line]
        found = [] if skipped == [self._fault.step] else [f'the batches of the steps {skipped} were skipped']
        kept = _tensors(self._directory, self._fault.policy)
        before, behind = kept[self._fault.step - 1], kept[self._fault.step]
        moved = {key for key in before if before[key] != behind[key]}
        return found + ([] if moved == COUNTERS and max(kept) == NUM_STEPS else [f'the skipped batch moved {sorted(moved)[:5]}'])

    def _rollback(self) -> list[str]:
        """It goes back to the step before, each time at half the rate, until the fault is over or the limit is reached."""
        step, rollbacks = self._fault.step, min(self._fault.times, LIMIT)
        seen = [(line['step'], line['rollback']['from']) for line in self._metrics() if 'rollback' in line]
        found = [] if seen == [(step - 1, step)] * rollbacks else [f'it went back as {seen}']
        rates = [line['learning_rate'] for line in self._metrics() if line['step'] >= step and 'learning_rate' in line]
        expected = [RATE * 0.5**rollbacks] * (NUM_STEPS - step + 1) if self._fault.times <= LIMIT else []
        agree = len(rates) == len(expected) and all(abs(a / b - 1) < 1e-6 for a, b in zip(rates, expected, strict=True))
        return found if agree else [*found, f'learning rates from step {step} on: {rates}']

    def _metrics(self) -> list[Any]:
        return files.read_json_lines(self._directory.stage(self._fault.policy) / 'metrics.jsonl')


def _config(work: pathlib.Path) -> pathlib.Path:
    """Writes a pipeline with a stage for each policy, which train all terms from the initialiser, each image once."""
    synthetic.make(work / 'data', num_train=NUM_STEPS * BATCH_SIZE, num_validation=2, image_size=64, seed=0)
    train = {'checkpoint_interval': 1, 'max_to_keep': NUM_STEPS + 1, 'max_loss': MAX_LOSS, 'on_nan_limit': LIMIT}
    terms = dict.fromkeys(PLACES[:-1], 1.0)
    stages = [{'name': policy, 'loss_weights': terms, 'train': {**train, 'on_nan': policy}} for policy in POLICIES]
    tiny = pathlib.Path(campaign_tiny.__file__).with_suffix('')
    text = campaign_tiny.PIPELINE.format(plugin=f'{tiny}, {__name__}', data=work / 'data', steps=NUM_STEPS)
    config = work / 'wrong_numbers.yaml'
    config.write_text(f'{text.partition("stages:")[0]}stages: {json.dumps(stages)}\n'.replace('faster_rcnn', NETWORK, 1))
    return config


def _tensors(directory: RunDirectory, stage: str) -> Tensors:
    """Reads the checkpoints of a stage, in a process of its own: one that has used TensorFlow can no longer be forked."""
    answer = directory.path.with_suffix('.tensors')

    def read() -> int:
        from stagetrain.weights import tensor_checks

        folders = run_files.checkpoint_folders(directory.stage(stage) / run_files.CHECKPOINTS)
        files.write_json(answer, {run_files.step_of(folder): tensor_checks.tensor_digests(folder) for folder in folders})
        return EXIT_DONE

    assert Forked(read).wait(SECONDS_OF_A_RUN) == EXIT_DONE
    return {int(step): tensors for step, tensors in files.read_json(answer).items() if int(step)}


# ---- the network ----------------------------------------------------------------------------------------------------------

NETWORK = 'faster_rcnn_with_a_fault'


def build(model: Any, num_classes: int, modules: Sequence[str], seed: int) -> Any:
    """Builds a Faster R-CNN in which the numbers go wrong that the environment names."""
    import tensorflow as tf

    from stagetrain.detectors.faster_rcnn import FasterRcnn
    from stagetrain.images import randomness

    told = os.environ.get(FAULT_VARIABLE)
    if told is None:
        return FasterRcnn(model, num_classes, modules, seed)
    fault = Fault(**json.loads(told))
    position = tf.constant((fault.step - 1) * BATCH_SIZE, tf.int64)
    image = randomness.image_at(position, NUM_STEPS * BATCH_SIZE, randomness.stage_seed(0, fault.policy))
    left = tf.Variable(fault.times, trainable=False)

    def spoilt(value: tf.Tensor, is_now: tf.Tensor) -> tf.Tensor:
        if fault.kind == 'gradient':  # Finite, and its gradient is not: 0 * sqrt'(0).
            return value + tf.where(is_now, tf.sqrt(tf.where(is_now, 0.0 * value, 1.0)), 0.0)
        wrong = {'nan': float('nan'), 'inf': float('inf'), 'spike': 100 * MAX_LOSS}[fault.kind]
        return value + tf.where(is_now, wrong, 0.0)

    class Faulty(FasterRcnn):
        """Its `losses` are computed before its `regularization`."""

        def losses(self, batch: Any, terms: Sequence[str]) -> dict[str, tf.Tensor]:
            values = super().losses(batch, terms)
            self._is_now = tf.logical_and(tf.reduce_any(tf.cast(batch['image_index'], tf.int64) == image), left > 0)
            left.assign_sub(tf.cast(self._is_now, left.dtype))
            return {name: spoilt(value, self._is_now) if name == fault.place else value for name, value in values.items()}

        def regularization(self, trained: Sequence[tf.Variable]) -> tf.Tensor:
            value = super().regularization(trained)
            return spoilt(value, self._is_now) if fault.place == 'regularization' else value

    return Faulty(model, num_classes, modules, seed)


class _Options(faster_rcnn.FasterRcnn):
    type: Literal['faster_rcnn_with_a_fault']


_SPEC = specs.detector('faster_rcnn')
specs.register_detector(dataclasses.replace(_SPEC, name=NETWORK, options=_Options, implementation=f'{__name__}:build'))
