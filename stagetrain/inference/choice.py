"""Which finished stage of a run detects, and where its weights are. TensorFlow-free.

chosen = choose(pathlib.Path('runs/bccd'), stage=None)      # the pipeline's last
chosen.stage_id, chosen.origins
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from stagetrain import files
from stagetrain.config import load
from stagetrain.config.options import NetworkOptions
from stagetrain.config.schema import PipelineBase, Stage
from stagetrain.config.stages import all_stages, lacking_for_detections, model_as_built, spec_of, stage_modules
from stagetrain.errors import BadInput, ConfigError, known_names, suggestion
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import StageResult
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.pipeline.lock import Entry, read_lock


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A finished stage, whose detector can detect by itself where that was asked for."""

    pipeline: PipelineBase
    """The run's resolved config."""
    stage_id: str
    stage: Stage
    origins: Mapping[str, ModuleOrigin]
    """Module -> where its weights are."""
    finished: Entry[StageResult]
    """What it was made of, and what it gave."""

    @property
    def model(self) -> NetworkOptions:
        """The options of the stage's network, as it is built."""
        return model_as_built(self.pipeline, self.stage)


def choose(run_dir: pathlib.Path, stage: str | None, *, detects: bool = True) -> Chosen:
    """Returns a finished stage of a run, its checkpoint compared byte for byte with what was committed.

    Args:
      run_dir: a run directory.
      stage: the stage's id; None: the pipeline's last.
      detects: whether a stage that cannot detect by itself is refused.

    Raises:
      BadInput: it is no run directory, has no such finished stage, or that stage cannot detect by itself.
    """
    pipeline = pipeline_of(run_dir)
    chosen = stage or pipeline.stages[-1].name
    stages = {stage_id: config for stage_id, config, _ in all_stages(pipeline)}
    if chosen not in stages:
        raise ConfigError(f"--stage: no stage '{chosen}'. Known here: {known_names(stages)}.{suggestion(chosen, stages)}")
    config = stages[chosen]
    if detects:
        _require_all_modules(pipeline, config, chosen)
    entry = read_lock(run_dir / run_files.LOCK).stages.get(chosen)
    if entry is None:
        raise BadInput(
            f"{run_dir}: stage '{chosen}' is not finished; see `stagetrain status {run_dir}` and finish it with `stagetrain run`"
        )
    folder = run_dir / entry.result['checkpoint']
    files.verify_folder(folder)
    origins = dict.fromkeys(stage_modules(pipeline, config), ModuleOrigin('stage', str(folder), chosen))
    return Chosen(pipeline, chosen, config, origins, entry)


def pipeline_of(run_dir: pathlib.Path) -> PipelineBase:
    """Returns a run's resolved config; imports the plugins that it names."""
    return load.load_resolved(run_dir / run_files.CONFIG).pipeline


def _require_all_modules(pipeline: PipelineBase, config: Stage, chosen: str) -> None:
    spec = spec_of(pipeline, config)
    if not spec.detection_modules:
        raise BadInput(f"stage '{chosen}' trains '{config.model or 'model'}', of type {spec.name}, which gives no detections")
    held = stage_modules(pipeline, config)
    missing = lacking_for_detections(spec, held, has_proposals=False)
    if missing:
        raise BadInput(
            f"stage '{chosen}' holds {', '.join(sorted(held))} but not {', '.join(missing)}, so it cannot detect by itself. "
            f'Name a stage that carries all modules, such as the last one of a 4-step pipeline.'
        )
