"""A stage's validation: what can be measured of it, and which of its checkpoints was the best."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from stagetrain import files
from stagetrain.config import check
from stagetrain.errors import ConfigError, known_names, suggestion
from stagetrain.evaluation.evaluate import Evaluator, Outcome
from stagetrain.stores.proposals import ValidationProposals
from stagetrain.training import checkpoint, job_files
from stagetrain.weights import assign

METRICS_FILE = 'metrics.jsonl'


class Validation:
    """Measures a stage's detector on the validation set; the graph is built once."""

    def __init__(self, context: job_files.Context, detector: Any):
        """Decides what can be measured with the modules that the stage holds."""
        pipeline, store = context.pipeline, context.job.get('proposals')
        self.images = context.validation_images()
        self._evaluator = Evaluator(
            detector,
            self.images,
            batch_size=pipeline.evaluation.batch_size,
            can_detect=check.can_detect(pipeline, detector.modules, has_proposals=store is not None),
            proposal_counts=tuple(pipeline.evaluation.num_proposals) if check.can_propose(pipeline, detector.modules) else (),
            proposals=ValidationProposals(pathlib.Path(store), self.images).read if store else None,
            voc_ap=pipeline.evaluation.voc_ap,
        )

    def run(self) -> Outcome:
        """Returns the metrics of the present weights."""
        return self._evaluator.run()


@dataclasses.dataclass(frozen=True)
class Best:
    """Keeps the checkpoint with the best value of one metric; its state is `metrics.jsonl` and the kept checkpoint itself."""

    folder: pathlib.Path
    """The stage's folder."""
    metric: str
    mode: str
    """`max` or `min`."""

    def value_of(self, metrics: Mapping[str, float | None]) -> float | None:
        """Returns the metric that decides, or None when it could not be measured.

        Raises:
          ConfigError: the stage has no such metric.
        """
        if self.metric not in metrics:
            raise ConfigError(
                f"train.best_metric: '{self.metric}' is not measured in this stage. Known here: {known_names(metrics)}."
                f'{suggestion(self.metric, metrics)}'
            )
        return metrics[self.metric]

    def offer(self, metrics: Mapping[str, float | None], state: checkpoint.State, earlier: Sequence[Mapping[str, Any]]) -> None:
        """Keeps the present state when its metric beats all `earlier` evaluation lines."""
        value = self.value_of(metrics)
        others = [other for line in earlier if (other := line['evaluation'].get(self.metric)) is not None]
        if value is not None and all(self._beats(value, other) for other in others):
            checkpoint.save(self.folder / 'best', state, max_to_keep=1)

    def _beats(self, value: float, other: float) -> bool:
        return value > other if self.mode == 'max' else value < other

    def result(self, run_dir: pathlib.Path) -> dict[str, Any] | None:
        """Returns `{"checkpoint", "digests", "step"}` of the best checkpoint, or None when none was kept."""
        kept = checkpoint.folders(self.folder / 'best')
        if not kept:
            return None
        described = files.read_json(kept[-1] / assign.VARIABLES_FILE)
        digests = assign.module_digests({name: entry['digest'] for name, entry in described.items()})
        return {'checkpoint': str(kept[-1].relative_to(run_dir)), 'digests': digests, 'step': checkpoint.step_of(kept[-1])}


def evaluation_lines(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the lines of a stage's metrics that hold an evaluation, oldest first."""
    path = folder / METRICS_FILE
    return [line for line in files.read_json_lines(path) if 'evaluation' in line] if path.exists() else []
