"""A stage's `metrics.jsonl`: losses, evaluations, and steps that went wrong, one line each.

It is also the memory of what follows from them: which evaluation was the best, how often a batch was skipped, how far the
learning rate fell. A resumed stage drops the lines behind its checkpoint and has the same memory as at that moment.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from stagetrain import files
from stagetrain.config import schema
from stagetrain.pipeline import run_files
from stagetrain.pipeline.records import MetricsLine
from stagetrain.training import policies

ROLLBACK_FACTOR = 0.5
"""What the learning rate is multiplied by in each rollback."""


class History:
    """The lines of a stage's metrics."""

    def __init__(self, folder: pathlib.Path, train: schema.Train):
        """Reads the stage's lines; `train` says what follows from them."""
        self._path, self._train = folder / run_files.METRICS, train
        self._lines: list[MetricsLine] = files.read_json_lines(self._path) if self._path.exists() else []

    def append(self, line: MetricsLine) -> None:
        """Adds a line."""
        files.append_json_line(self._path, line)
        self._lines.append(line)

    def keep_until(self, step: int) -> None:
        """Drops what a crash or a rollback undid: the lines of later steps."""
        self._rewrite([line for line in self._lines if line['step'] <= step])

    def forget_evaluation(self, step: int) -> None:
        """Drops the evaluation of a step that is about to be evaluated again."""
        self._rewrite([line for line in self._lines if line['step'] != step or 'evaluation' not in line])

    def _rewrite(self, kept: list[MetricsLine]) -> None:
        if len(kept) != len(self._lines):
            files.atomic_write(self._path, ''.join(files.canonical_json(line) + '\n' for line in kept))
            self._lines = kept

    # ---- what follows ---------------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Training time up to the last line."""
        return max((line['seconds'] for line in self._lines if 'seconds' in line), default=0.0)

    @property
    def num_skipped(self) -> int:
        """Batches that were not applied."""
        return sum('skipped' in line for line in self._lines)

    @property
    def num_rollbacks(self) -> int:
        """How often the stage went back to a checkpoint."""
        return sum('rollback' in line for line in self._lines)

    @property
    def rate_factor(self) -> float:
        """What the learning rate is multiplied by from here on."""
        factor = ROLLBACK_FACTOR**self.num_rollbacks
        if self._train.reduce_on_plateau is not None:
            factor *= policies.rate_factor(self.values(), self._train.reduce_on_plateau, self._train.best_mode)
        return float(factor)

    @property
    def ends_early(self) -> bool:
        """Whether early stopping ends the stage here."""
        settings = self._train.early_stopping
        return settings is not None and policies.should_stop(self.values(), settings, self._train.best_mode)

    def is_evaluated(self, step: int) -> bool:
        """Whether the weights of a step were evaluated."""
        return any(line['step'] == step and 'evaluation' in line for line in self._lines)

    def is_best(self) -> bool:
        """Whether the last evaluation is the best one."""
        values = self.values()
        return bool(values) and policies.best_index(values, self._train.best_mode) == len(values) - 1

    def values(self) -> Sequence[float | None]:
        """Returns the metric that decides, of each evaluation.

        Raises:
          ConfigError: the stage has no such metric.
        """
        return [policies.metric_of(line['evaluation'], self._train.best_metric) for line in self._lines if 'evaluation' in line]
