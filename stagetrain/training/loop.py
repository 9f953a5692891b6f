"""The steps of a stage: reports, evaluations, checkpoints, and what happens when numbers go wrong.

    Loop(...).run(first_step)

Nothing here depends on when a step is computed: a stage that was stopped and resumed does what an uninterrupted one does.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import logging

from stagetrain.config import schema
from stagetrain.errors import Interrupted, StageFailed
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import Emit, ShouldStop, note, progress
from stagetrain.pipeline.records import MetricsLine
from stagetrain.training import best, checkpoint
from stagetrain.training.history import ROLLBACK_FACTOR, History
from stagetrain.training.optimizers import Schedule
from stagetrain.training.step import Result, StepFunction

REMEDY = 'Lower the learning rate, lengthen the warm-up, or look at these images; or set on_nan to skip_batch or rollback.'


@dataclasses.dataclass
class Loop:
    """What trains a stage, and where it reports."""

    stage_id: str
    folder: pathlib.Path
    """The stage's folder."""
    train: schema.Train
    num_steps: int
    terms: Sequence[str]
    """The live loss terms."""
    state: checkpoint.TrainingState
    schedule: Schedule
    history: History
    step_function: StepFunction
    batches: Callable[[int, int], Iterable[Any]]
    """First step (from 0) and the one behind the last -> their batches."""
    image_ids: Callable[[Mapping[str, Any]], Sequence[str]]
    validate: Callable[[int, float], None]
    """Evaluates at a step, given the seconds trained so far; the history knows of it afterwards."""
    emit: Emit
    should_stop: ShouldStop

    def __post_init__(self) -> None:
        """The clock of a stage goes on where its history ends."""
        self.seconds = self.history.seconds
        self.saving_seconds = 0.0
        self._first_batch: Any = None

    def run(self, first: int) -> None:
        """Trains from a step to the last one, or to an early end.

        Args:
          first: the steps done already; the state is of that step.

        Raises:
          Interrupted: asked to stop; the state is saved.
          StageFailed: a loss or gradient is not finite, and the stage's settings say no way on.
        """
        if self.should_stop():  # Tracing the first step can take longer than there is time to save.
            raise Interrupted(f'stage {self.stage_id}: stopped at step {first} of {self.num_steps}, before another one')
        going_on: int | None = first
        if self.train.on_nan == 'rollback' and first == 0:
            self._started = time.monotonic()
            self._save(0)  # There must be something to go back to.
        while going_on is not None:
            going_on = self._steps(going_on)

    @property
    def _checkpoints(self) -> pathlib.Path:
        return self.folder / run_files.CHECKPOINTS

    def _steps(self, first: int) -> int | None:
        """Trains on from a step. Returns None at the end, or the step that a rollback went back to."""
        self.state.optimizer.iterations.assign(first)
        self.schedule.factor.assign(self.history.rate_factor)
        self._started = self._saved = time.monotonic()
        results: list[Result] = []
        step = first
        if first and not self.history.is_evaluated(first) and self._evaluated_and_ended(first):
            return None
        for batch in self.batches(first, self.num_steps):
            if step == 0:
                self._first_batch = batch
            result = self.step_function(batch)
            step += 1
            if bool(result['is_finite']):
                results.append(result)
            elif self._goes_back(step, self._trouble(step, result, batch)):
                return self._roll_back(step)
            if step % self.train.summary_interval == 0 or step == self.num_steps:
                self._report(step, results)
                results = []
            is_last = step == self.num_steps
            try:
                is_last = is_last or self._evaluated_and_ended(step)
                is_stopped = self.should_stop() and not is_last
            except Interrupted:  # In the evaluation, which comes first when the stage goes on.
                is_stopped = True
            if (is_last or is_stopped or self._is_due(step)) and not self._save(step):
                return self._roll_back(step)
            if is_last:
                break
            if is_stopped:
                raise Interrupted(f'stage {self.stage_id}: stopped and saved at step {step} of {self.num_steps}')
        self._pause()
        return None

    def _pause(self) -> None:
        """Counts the time since the clock was started, and starts it anew."""
        now = time.monotonic()
        self.seconds += now - self._started
        self._started = now

    def _report(self, step: int, results: Sequence[Result]) -> None:
        self._pause()
        rate = float(self.schedule(step - 1))
        line: MetricsLine = {'step': step, 'seconds': round(self.seconds, 3), 'learning_rate': rate}
        losses = {}
        if results:  # None when every batch since the last report was skipped.
            mean = {
                name: float(sum(float(result[name]) for result in results)) / len(results)
                for name in (*self.terms, 'regularization')
            }
            losses = {name: mean[name] for name in self.terms}
            line['losses'], line['regularization'] = losses, mean['regularization']
        self.history.append(line)
        values = {**losses, 'learning_rate': rate}
        self.emit(progress(step, self.num_steps, values))

    def _evaluated_and_ended(self, step: int) -> bool:
        """Evaluates when it is time to, and returns whether early stopping ends the stage here.

        Raises:
          Interrupted: asked to stop meanwhile.
        """
        interval = self.train.validation_interval
        if interval is None or step % interval:
            return False
        self._pause()
        self.validate(step, self.seconds)  # Before the checkpoint: one that is restored has its evaluation behind it.
        self.schedule.factor.assign(self.history.rate_factor)
        self._started = time.monotonic()
        if self.history.ends_early:
            self._note(f'step {step}: {self.train.best_metric} got no better any more; early stopping ends the stage here')
        return self.history.ends_early

    # ---- checkpoints ----------------------------------------------------------------------------------------------------

    def _is_due(self, step: int) -> bool:
        minutes = self.train.checkpoint_minutes
        is_time = minutes is not None and time.monotonic() - self._saved > minutes * 60
        return step % self.train.checkpoint_interval == 0 or is_time

    def _save(self, step: int) -> bool:
        """Commits a checkpoint, if these weights give finite losses on the stage's first batch. Returns False for a rollback.

        Raises:
          StageFailed: they do not, and there is no way on.
        """
        self._pause()
        result = self._try_out()
        if not bool(result['is_finite']):
            trouble = f'these weights give {_described(result)} on the first batch of the stage; no checkpoint was made of them'
            self._goes_back(step, trouble, can_skip=False)  # Or raises: there is no batch to skip.
            return False
        checkpoint.save(self._checkpoints, self.state, self.train.max_to_keep)
        best.prune(self.folder, map(run_files.step_of, run_files.checkpoint_folders(self._checkpoints)))
        self._saved = time.monotonic()
        seconds = self._saved - self._started
        logging.info('%s: checkpoint of step %d saved in %.2f s', self.stage_id, step, seconds)
        self.saving_seconds += seconds
        self._started = self._saved
        return True

    def _try_out(self) -> Result:
        """Computes a step on the first batch of the stage, whichever step a restart began with, and applies nothing."""
        if self._first_batch is None:
            self._first_batch = next(iter(self.batches(0, 1)))
        return self.step_function.try_out(self._first_batch)

    # ---- numbers gone wrong ---------------------------------------------------------------------------------------------

    def _trouble(self, step: int, result: Result, batch: Mapping[str, Any]) -> str:
        return f'{_described(result)} (images: {", ".join(self.image_ids(batch))}); the step was not applied'

    def _goes_back(self, step: int, trouble: str, can_skip: bool = True) -> bool:
        """Decides after a step that was not applied: True for a rollback, False when its batch is skipped.

        Raises:
          StageFailed: the stage's settings say to stop, or the limit is reached.
        """
        policy, limit = self.train.on_nan, self.train.on_nan_limit
        used = self.history.num_skipped + self.history.num_rollbacks
        if policy == 'stop' or (policy == 'skip_batch' and not can_skip):
            self._keep_last_good(step)
            raise StageFailed(f'stage {self.stage_id}, step {step}: {trouble}. {REMEDY}')
        if used >= limit:
            raise StageFailed(
                f'stage {self.stage_id}, step {step}: {trouble}. on_nan_limit ({limit}) is used up by {policy}. {REMEDY}'
            )
        if policy == 'rollback':
            self._note(
                f'step {step}: {trouble}; back to the last checkpoint, and on with the learning rate times {ROLLBACK_FACTOR}'
            )
            return True
        self._note(f'step {step}: {trouble}; its batch is skipped, {used + 1} of at most {limit}')
        self.history.append({'step': step, 'skipped': trouble})
        for counter in (self.state.step, self.state.optimizer.iterations):  # The schedule and the data go on as planned.
            counter.assign_add(1)
        return False

    def _keep_last_good(self, step: int) -> None:
        """Saves the weights before the step that was not applied, if they give finite losses themselves."""
        if self.state.step.numpy() == step - 1 and bool(self._try_out()['is_finite']):
            checkpoint.save(self._checkpoints, self.state, self.train.max_to_keep)

    def _roll_back(self, step: int) -> int:
        """Restores the last checkpoint; returns its step."""
        restored = checkpoint.restore_newest(self._checkpoints, self.state, self._note)
        self.history.keep_until(restored)
        best.forget_after(self.folder, restored)
        self.history.append({'step': restored, 'rollback': {'from': step, 'factor': ROLLBACK_FACTOR}})
        return restored

    def _note(self, text: str) -> None:
        self.emit(note(text))


def _described(result: Result) -> str:
    values = {name: float(value) for name, value in result.items() if name != 'is_finite'}
    broken = sorted(name for name, value in values.items() if not math.isfinite(value) and name != 'total')
    if not broken and math.isfinite(values['total']):
        broken = ['a gradient, or the total above max_loss']
    return f'{", ".join(broken or ["total"])} not finite (losses: {values})'
