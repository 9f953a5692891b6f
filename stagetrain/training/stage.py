"""Carries out one stage: build, load, prove, train, prove again, evaluate.

    result = train_stage(job, emit, should_stop)

A first start and a resume take the same path: the stage is built and loaded from its sources, and then the newest checkpoint of
its own, if there is one, takes over.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from stagetrain import files
from stagetrain.config import metric_names, specs, strategies
from stagetrain.config.stages import judged_by_best_metric, own_terms
from stagetrain.errors import StageFailed
from stagetrain.evaluation.evaluate import Outcome
from stagetrain.images import randomness
from stagetrain.images.batches import ReadView
from stagetrain.images.views import Views
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import (
    BestWeights,
    Emit,
    FeaturesResult,
    ShouldStop,
    StageResult,
    Weights,
    note,
    progress,
)
from stagetrain.pipeline.jobs import StageJob
from stagetrain.stages.added import Added, build_added
from stagetrain.stages.context import Context, prepare
from stagetrain.stages.network import StageNetwork, stage_network
from stagetrain.stores import features
from stagetrain.stores.reader import open_readers
from stagetrain.training import best, checkpoint
from stagetrain.training.averages import Averages
from stagetrain.training.history import History
from stagetrain.training.input import StageInput, TrainingInput
from stagetrain.training.loop import Loop
from stagetrain.training.optimizers import Schedule, build_optimizer
from stagetrain.training.step import StepFunction, build_step, task_of
from stagetrain.training.validation import Validation
from stagetrain.weights import assign


def train_stage(job: StageJob, emit: Emit, should_stop: ShouldStop) -> StageResult:
    """Trains a stage to its end.

    Args:
      job: the stage, and where it is trained.
      emit: takes progress and notes.
      should_stop: asked after each step and batch of an evaluation; when true, the state is saved and `Interrupted` raised.

    Raises:
      Interrupted: stopped on request, saved.
      StagetrainError: the input cannot be used, or the stage diverged or broke the freeze proof.
    """
    context = prepare(job)
    with context.strategy.scope():
        built = stage_network(context.pipeline, context.stage, context.id, job.origins)
        added = build_added(context.pipeline, context.stage, context.id, built.network, job.teachers)
    files.write_json(pathlib.Path(job.folder) / run_files.LINEAGE, {**built.lineage, **added.lineage})
    _log_variables(context.id, built)
    trainer = _Trainer(job, context, built, added, emit=emit, should_stop=should_stop)
    trainer.train()
    return trainer.finish()


def _log_variables(stage_id: str, built: StageNetwork) -> None:
    kinds = collections.Counter(origin['kind'] for origin in built.lineage.values())
    origins = ', '.join(f'{count} from {kind}' for kind, count in sorted(kinds.items()))
    trained, frozen = len(built.roles.trained), len(built.roles.frozen)
    logging.info('%s: %d variables train, %d are frozen; origins: %s', stage_id, trained, frozen, origins)


def prove_unmoved(stage_id: str, before: Mapping[str, str], after: Mapping[str, str], when: str) -> None:
    """Compares the digests of what a stage must leave as it is with those of a later moment.

    Raises:
      StageFailed: one differs.
    """
    moved = sorted(name for name, value in before.items() if after[name] != value)
    if moved:
        raise StageFailed(
            f'stage {stage_id}: {len(moved)} frozen variables changed {when}, e.g. {moved[0]}. This is a defect of stagetrain or '
            f'of a plugin: nothing may move what is frozen. The checkpoints are kept for inspection.'
        )


class _Trainer:
    """A stage under way: its state, its proofs and its result."""

    def __init__(
        self, job: StageJob, context: Context, built: StageNetwork, added: Added, *, emit: Emit, should_stop: ShouldStop
    ):
        self._context, self._built, self._added = context, built, added
        self._folder, self._num_steps = pathlib.Path(job.folder), job.num_steps
        self._readers = open_readers(job.artefacts, context.stage)
        self._images = context.training_images(reader.training_set for reader in self._readers.values())
        self._emit, self._should_stop = emit, should_stop
        self._train = context.stage.train
        with context.strategy.scope():
            step = tf.Variable(0, dtype=tf.int64, trainable=False)
            self._schedule = Schedule(self._train, strategies.learning_rate_factor(context.pipeline.runtime))
            optimizer = build_optimizer(self._train, self._schedule)
            self._averages = Averages(built.trained, self._train.ema) if self._train.ema is not None else None
        classes = tuple(context.pipeline.data.classes)
        self._state = checkpoint.TrainingState(built.network.modules, optimizer, step, self._averages, classes)
        self._checkpoints = self._folder / run_files.CHECKPOINTS
        self._history = History(self._folder, self._train)
        self._seconds = 0.0
        self._evaluation_seconds = self._saving_seconds = self._proof_seconds = 0.0
        self._features: FeaturesResult | None = None
        self._outcome: Outcome | None = None

    # ---- training -------------------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Trains from the newest checkpoint, or from the sources, to the last step."""
        self._frozen = self._frozen_digests()
        first = checkpoint.restore_newest(self._checkpoints, self._state, self._note)
        self._prove_frozen('after the checkpoint was restored')
        self._history.keep_until(first)
        best.forget_after(self._folder, first)
        self._seconds = self._history.seconds
        logging.info('%s: begins at step %d of %d', self._context.id, first, self._num_steps)
        if first == self._num_steps or self._history.ends_early:
            return
        inputs = self._input()
        distribute = self._context.strategy.experimental_distribute_dataset
        loop = Loop(
            stage_id=self._context.id,
            folder=self._folder,
            train=self._train,
            num_steps=self._num_steps,
            terms=sorted(self._built.loss_weights),
            state=self._state,
            schedule=self._schedule,
            history=self._history,
            step_function=self._step_function(),
            batches=lambda begin, end: distribute(inputs.batches(begin, end)),
            image_ids=self._image_ids,
            validate=self._validate,
            emit=self._emit,
            should_stop=self._should_stop,
        )
        try:
            loop.run(first)
        except tf.errors.OpError as error:
            raise self._images.fault or error from error
        self._seconds, self._saving_seconds = loop.seconds, loop.saving_seconds

    def _step_function(self) -> StepFunction:
        task = task_of(self._built, self._context.stage, self._state.optimizer, self._state.step, self._averages, self._added)
        return build_step(task, self._context.strategy)

    def _input(self) -> StageInput:
        """Returns what gives the batches: a `TrainingInput`, or the network's own."""
        data, stage = self._context.pipeline.data, self._context.stage
        spec = specs.spec_of(self._context.model)
        if not spec.reads_images:
            return specs.load_implementation(spec.input)(self._context, self._built.network)
        seed = randomness.stage_seed(self._context.seed, stage.name)
        views = Views(self._images.geometry, seed, stage.features.views)
        stored: dict[str, ReadView] = {}
        known = {key: read for reader in self._readers.values() for key, read in reader.training(self._images).items()}
        decision = features.decide(stage.features, self._built.network, list(self._built.roles.trained), self._images, views)
        self._note(f'features {decision.mode}: {decision.reason}')
        if decision.mode != 'off':
            feature_store = features.FeatureStore(self._built.network, decision, self._images, views, stage.features.dtype)
            read, self._features = features.attach(self._context.run_dir, feature_store, decision, self._emit, self._should_stop)
            stored[feature_store.cut.key] = read
        return TrainingInput(
            self._images,
            self._built.network,
            seed=seed,
            batch_size=stage.train.batch_size,
            terms=own_terms(stage),
            needs_images=decision.mode == 'off' or bool(self._added.variables),
            views=views,
            known=known,
            features=stored,
            cache_gib=data.cache_gib,
            should_stop=self._should_stop,
        )

    def _image_ids(self, batch: Mapping[str, Any]) -> list[str]:
        if 'image_index' not in batch:
            return ['unknown, for the network reads its own files']
        of_replicas = self._context.strategy.experimental_local_results(batch['image_index'])
        return [self._images.dataset.examples[int(index)].image_id for part in of_replicas for index in part.numpy()]

    # ---- proofs and results ---------------------------------------------------------------------------------------------

    def _frozen_digests(self) -> dict[str, str]:
        started = time.monotonic()
        rest = {name: self._built.variables[name] for name in self._built.roles.frozen}
        strategy = self._context.strategy
        held = {name: strategy.experimental_local_results(value) for name, value in {**rest, **self._added.variables}.items()}
        found, *others = (
            assign.digests({name: of_replicas[number] for name, of_replicas in held.items()})
            for number in range(strategy.num_replicas_in_sync)
        )
        for digests in others:
            prove_unmoved(self._context.id, found, digests, 'in one replica and not in the others')
        self._proof_seconds += time.monotonic() - started
        return found

    def _prove_frozen(self, when: str) -> None:
        prove_unmoved(self._context.id, self._frozen, self._frozen_digests(), when)

    def finish(self) -> StageResult:
        """Proves that nothing frozen moved, evaluates what is handed over, and returns the stage's result."""
        self._prove_frozen('in training')
        files.write_json(self._folder / run_files.FROZEN, self._frozen)
        step = int(self._state.step.numpy())
        if self._outcome is None or step == self._num_steps:  # Early stopping comes with an evaluation.
            self._history.forget_evaluation(step)
            self._validate(step, self._seconds)
        self._note_what_was_never_measured(step)
        kept_best = best.result(self._folder, self._context.run_dir)
        handed_over = self._hand_over(step, kept_best)
        outcome = self._outcome
        assert outcome is not None
        self._validation.write(outcome, self._folder)
        parts = {
            'training': self._seconds,
            'evaluation': self._evaluation_seconds,
            'checkpoints': self._saving_seconds,
            'proofs': self._proof_seconds,
        }
        if self._features is not None:
            parts['features'] = self._features['seconds']
        return StageResult(
            step=step,
            num_images=step * self._train.batch_size,
            seconds=sum(parts.values()),
            seconds_by_part=parts,
            features=self._features,
            num_trained_parameters=int(sum(variable.shape.num_elements() for variable in self._built.trained)),
            checkpoint=handed_over['checkpoint'],
            digests=handed_over['digests'],
            best=kept_best,
            metrics=outcome.metrics,
            evaluation_seconds=self._evaluation_seconds,
        )

    def _note_what_was_never_measured(self, step: int) -> None:
        """The rule where `best_metric` was None throughout: nothing is the best, so the last step is what counts."""
        keys = judged_by_best_metric(self._train)
        if not keys or any(value is not None for value in self._history.values()):
            return
        self._note(
            f'{self._train.best_metric} was measured in no evaluation, for the validation set holds no object that counts for '
            f'it. So nothing was decided by {", ".join(keys)}: the weights of step {step}, the last one, are handed over'
        )

    def _hand_over(self, step: int, kept_best: BestWeights | None) -> Weights:
        """Returns the weights that are the stage's result; `_outcome` is theirs afterwards."""
        run_dir = self._context.run_dir
        if self._train.hand_over == 'best' and kept_best is not None:
            if kept_best['step'] != step:
                files.verify_folder(run_dir / kept_best['checkpoint'])
                self._state.read(run_dir / kept_best['checkpoint'])
                self._prove_frozen('when the best checkpoint was read')
                with self._timed_evaluation():
                    self._outcome = self._validation.run(self._should_stop)
            return kept_best
        folder = run_files.checkpoint_folder(self._checkpoints, step)
        if self._averages is not None:
            with self._judged_weights():
                folder = checkpoint.save(self._folder / run_files.AVERAGED, self._state, max_to_keep=1)
        return best.described(folder, run_dir)

    @functools.cached_property
    def _validation(self) -> Validation:
        return Validation(self._context, self._built.network, self._readers)

    def _judged_weights(self) -> contextlib.AbstractContextManager[None]:
        """The weights that are evaluated and handed over stand in the variables: the averages, if there are any."""
        return contextlib.nullcontext() if self._averages is None else self._averages.swapped_in()

    @contextlib.contextmanager
    def _timed_evaluation(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._evaluation_seconds += time.monotonic() - started

    def _validate(self, step: int, seconds: float) -> None:
        """Evaluates, keeps the weights when they are the best so far, and reports."""
        with self._timed_evaluation(), self._judged_weights():
            self._outcome = self._validation.run(self._should_stop)
            metrics = self._outcome.metrics
            self._history.append({'step': step, 'seconds': round(seconds, 3), 'evaluation': metrics})
            if self._train.validation_interval is not None and self._history.is_best():
                checkpoint.save(self._folder / run_files.BEST, self._state, max_to_keep=self._num_steps)
        shown = {key: metrics[key] for key in metric_names.HEADLINE if key in metrics}
        self._emit(progress(step, self._num_steps, shown))

    def _note(self, text: str) -> None:
        self._emit(note(text))
