"""Carries out one stage: build, load, prove, train, prove again, evaluate.

    result = train_stage(job, emit, should_stop)

A first start and a resume take the same path: the stage is built and loaded from its sources, and then the newest checkpoint of
its own, if there is one, takes over.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from stagetrain import files
from stagetrain.config import check
from stagetrain.detectors.detector import feature_key
from stagetrain.errors import Interrupted, StageFailed
from stagetrain.evaluation.evaluate import Outcome
from stagetrain.stores import features
from stagetrain.stores.proposals import TrainingProposals
from stagetrain.training import checkpoint, job_files, optimizers, randomness
from stagetrain.training.input import PROPOSALS, Images, TrainingInput, View, Views
from stagetrain.training.selection import freeze_layers, select_variables
from stagetrain.training.step import StepFunction, Task, build_step
from stagetrain.training.validation import METRICS_FILE, Best, Validation, evaluation_lines
from stagetrain.weights import assign, names, scopes

HEADLINE = ('AP', 'AP50', 'AP75', 'recall_0.5')
"""Metrics shown while a stage runs."""
Emit = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a stage does, decided before its first step."""

    folder: pathlib.Path
    num_steps: int
    loss_weights: Mapping[str, float]
    selection: scopes.Selection
    lineage: Mapping[str, Mapping[str, Any]]


def train_stage(job: Mapping[str, Any], emit: Emit, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """Trains the stage of a job file to its end.

    Args:
      job: the job file's content.
      emit: told `progress` and `note` events.
      should_stop: asked after each step; when true, the state is saved and `Interrupted` raised.

    Returns:
      The result as BUILD.md describes.

    Raises:
      Interrupted: stopped on request, saved.
      StagetrainError: the input cannot be used, or the stage diverged or broke the freeze proof.
    """
    context = job_files.prepare(job)
    folder = context.run_dir / 'stages' / job['id']
    modules = check.stage_modules(context.pipeline, context.stage)
    detector = context.build_detector(modules)
    lineage = assign.initialise(detector.modules, job['origins'])
    selection = select_variables(
        detector, context.stage, modules, f'stages.{job["id"]}', lambda name: lineage[name]['kind'] == 'fresh'
    )
    freeze_layers(detector.modules, selection)
    images = context.training_images()
    plan = Plan(folder, int(job['num_steps']), check.live_losses(context.stage), selection, lineage)
    files.write_json(folder / 'lineage.json', lineage)
    trainer = _Trainer(context, detector, plan, images, emit)
    trainer.train(should_stop)
    return trainer.finish()


class _Trainer:
    """A stage under way: its state, and what is written while it trains."""

    def __init__(self, context: job_files.Context, detector: Any, plan: Plan, images: Images, emit: Emit):
        self._context, self._detector, self._plan, self._images, self._emit = context, detector, plan, images, emit
        self._variables = names.named_variables(detector.modules)
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        with context.strategy.scope():
            self._optimizer = optimizers.build_optimizer(context.stage.train)
        self._state = checkpoint.State(detector.modules, self._optimizer, self._step)
        self._checkpoints = plan.folder / 'checkpoints'
        self._seconds = 0.0
        self._evaluation_seconds = 0.0
        self._features: dict[str, Any] | None = None
        train = context.stage.train
        self._best = Best(plan.folder, train.best_metric, train.best_mode) if train.validation_interval else None

    # ---- training -------------------------------------------------------------------------------------------------------

    def train(self, should_stop: Callable[[], bool]) -> None:
        """Trains from the newest checkpoint, or from the sources, to the last step."""
        frozen = self._frozen_digests()
        first = checkpoint.restore_newest(self._checkpoints, self._state, self._note)
        self._prove_frozen(frozen, 'after the checkpoint was restored')
        self._forget_metrics_after(first)
        self._frozen = frozen
        if first == self._plan.num_steps:
            return
        self._optimizer.iterations.assign(first)
        step_function = build_step(
            Task(
                self._detector,
                self._optimizer,
                self._plan.loss_weights,
                [self._variables[name] for name in self._plan.selection.trained],
                self._step,
                [self._variables[name] for name in self._plan.selection.updated],
            ),
            self._context.strategy,
        )
        batches = self._input(should_stop).batches(first, self._plan.num_steps)
        self._loop(step_function, self._context.strategy.experimental_distribute_dataset(batches), should_stop)

    def _input(self, should_stop: Callable[[], bool]) -> TrainingInput:
        data, stage = self._context.pipeline.data, self._context.stage
        seed = randomness.stage_seed(self._context.seed, stage.name)
        views = Views(self._images.geometry, seed, stage.features.views)
        extra: dict[str, Callable[[tf.Tensor, View], Any]] = {}
        if self._context.job.get('proposals'):
            store = TrainingProposals(pathlib.Path(self._context.job['proposals']), self._images.geometry.num_flips)
            extra[PROPOSALS] = store.read
        decision = features.decide(stage.features, self._detector, list(self._plan.selection.trained), self._images, views)
        self._note(f'features {decision.mode}: {decision.reason}')
        if decision.mode != 'off':
            feature_store = features.FeatureStore(self._detector, decision, self._images, views, stage.features.dtype)
            read, self._features = features.attach(self._context.run_dir, feature_store, decision, self._emit, should_stop)
            extra[feature_key(feature_store.cut)] = read
        return TrainingInput(
            self._images,
            self._detector,
            seed=seed,
            batch_size=stage.train.batch_size,
            terms=sorted(self._plan.loss_weights),
            needs_images=decision.mode == 'off',
            views=views,
            extra=extra,
            cache_gib=data.cache_gib,
        )

    def _loop(self, step_function: StepFunction, batches: Any, should_stop: Callable[[], bool]) -> None:
        train = self._context.stage.train
        started = time.monotonic()
        sums: list[Mapping[str, tf.Tensor]] = []
        step = int(self._step.numpy())
        try:
            for batch in batches:
                result = step_function(batch)
                if not bool(result['is_finite']):
                    raise self._diverged(step, result, batch)
                step += 1
                sums.append(result)
                if step % train.summary_interval == 0 or step == self._plan.num_steps:
                    self._seconds += time.monotonic() - started
                    started = time.monotonic()
                    self._report(step, sums)
                    sums = []
                if train.validation_interval and step % train.validation_interval == 0 and step < self._plan.num_steps:
                    self._seconds += time.monotonic() - started
                    self._validate(step)  # Before the checkpoint: one that is restored has its evaluation behind it.
                    started = time.monotonic()
                stopping = should_stop()
                if step % train.checkpoint_interval == 0 or step == self._plan.num_steps or stopping:
                    checkpoint.save(self._checkpoints, self._state, train.max_to_keep)
                if stopping and step < self._plan.num_steps:
                    raise Interrupted(
                        f'stage {self._context.job["id"]}: stopped and saved at step {step} of {self._plan.num_steps}'
                    )
        except tf.errors.OpError as error:
            raise self._images.fault or error from error
        self._seconds += time.monotonic() - started

    def _report(self, step: int, results: Sequence[Mapping[str, tf.Tensor]]) -> None:
        terms = sorted(self._plan.loss_weights)
        mean = {
            name: float(sum(float(result[name]) for result in results)) / len(results)
            for name in (*terms, 'regularization', 'total')
        }
        rate = optimizers.learning_rate_at(self._optimizer, step - 1)
        losses = {name: mean[name] for name in terms}
        line = {
            'step': step,
            'seconds': round(self._seconds, 3),
            'losses': losses,
            'regularization': mean['regularization'],
            'learning_rate': rate,
        }
        files.append_json_line(self._plan.folder / METRICS_FILE, line)
        self._emit(
            {
                'event': 'progress',
                'step': step,
                'num_steps': self._plan.num_steps,
                'values': {**losses, 'learning_rate': rate},
            }
        )

    def _diverged(self, step: int, result: Mapping[str, tf.Tensor], batch: Mapping[str, Any]) -> StageFailed:
        values = {name: float(value) for name, value in result.items() if name != 'is_finite'}
        broken = sorted(name for name, value in values.items() if not math.isfinite(value) and name != 'total') or ['a gradient']
        ids = [self._images.dataset.examples[int(index)].image_id for index in batch['image_index'].numpy()]
        checkpoint.save(self._checkpoints, self._state, self._context.stage.train.max_to_keep)
        return StageFailed(
            f'stage {self._context.job["id"]}, step {step}: {", ".join(broken)} not finite (losses: {values}; images: '
            f'{", ".join(ids)}). The step was not applied; the weights before it are saved. Lower the learning rate, lengthen '
            f'the warm-up, or look at these images.'
        )

    def _forget_metrics_after(self, step: int) -> None:
        """Drops lines of steps that a crash undid, so that every step is reported once."""
        path = self._plan.folder / METRICS_FILE
        lines = files.read_json_lines(path) if path.exists() else []
        last = self._plan.num_steps  # The last evaluation is made again in any case.
        kept = [line for line in lines if line['step'] <= step and ('evaluation' not in line or line['step'] < last)]
        self._seconds = max((line['seconds'] for line in kept), default=0.0)
        if len(kept) != len(lines):
            files.atomic_write(path, ''.join(files.canonical_json(line) + '\n' for line in kept))

    # ---- proofs and results ---------------------------------------------------------------------------------------------

    def _frozen_digests(self) -> dict[str, str]:
        return assign.digests({name: self._variables[name] for name in self._plan.selection.frozen})

    def _prove_frozen(self, before: Mapping[str, str], when: str) -> None:
        after = self._frozen_digests()
        moved = sorted(name for name, value in before.items() if after[name] != value)
        if moved:
            raise StageFailed(
                f'stage {self._context.job["id"]}: {len(moved)} frozen variables changed {when}, e.g. {moved[0]}. This is a '
                f'defect of stagetrain or of a plugin: nothing may move what is frozen. The checkpoints are kept for inspection.'
            )

    def finish(self) -> dict[str, Any]:
        """Proves that nothing frozen moved, evaluates, and returns the stage's result."""
        self._prove_frozen(self._frozen, 'in training')
        files.write_json(self._plan.folder / 'frozen.json', self._frozen)
        folder = checkpoint.folder_at(self._checkpoints, self._plan.num_steps)
        outcome = self._validate(self._plan.num_steps)
        files.write_json(self._plan.folder / 'evaluation.json', outcome.metrics)
        if outcome.detections is not None:
            dataset = self._validation.images.dataset
            files.write_json(self._plan.folder / 'detections.json', outcome.detections.to_coco(dataset))
        parts = {'training': self._seconds, 'evaluation': self._evaluation_seconds}
        if self._features is not None:
            parts['features'] = self._features['seconds']
        trained = [self._variables[name] for name in self._plan.selection.trained]
        return {
            'step': self._plan.num_steps,
            'num_images': self._plan.num_steps * self._context.stage.train.batch_size,
            'seconds': sum(parts.values()),
            'seconds_by_part': parts,
            'features': self._features,
            'num_trained_parameters': int(sum(variable.shape.num_elements() for variable in trained)),
            'checkpoint': str(folder.relative_to(self._context.run_dir)),
            'best': self._best.result(self._context.run_dir) if self._best else None,
            'digests': assign.module_digests(assign.digests(self._variables)),
            'metrics': outcome.metrics,
            'evaluation_seconds': self._evaluation_seconds,
        }

    @functools.cached_property
    def _validation(self) -> Validation:
        return Validation(self._context, self._detector)

    def _validate(self, step: int) -> Outcome:
        """Evaluates, keeps the weights when they are the best so far, and reports."""
        started = time.monotonic()
        outcome = self._validation.run()
        if self._best is not None:
            self._best.offer(outcome.metrics, self._state, evaluation_lines(self._plan.folder))
        line = {'step': step, 'seconds': round(self._seconds, 3), 'evaluation': outcome.metrics}
        files.append_json_line(self._plan.folder / METRICS_FILE, line)
        shown = {key: outcome.metrics[key] for key in HEADLINE if key in outcome.metrics}
        self._emit({'event': 'progress', 'step': step, 'num_steps': self._plan.num_steps, 'values': shown})
        self._evaluation_seconds += time.monotonic() - started
        return outcome

    def _note(self, text: str) -> None:
        self._emit({'event': 'note', 'text': text})
