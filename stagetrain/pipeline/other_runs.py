"""Weights from another run directory of stagetrain: which checkpoint a source `{run: PATH, stage: NAME}` means.

finished_stage('former', Source(run='runs/former', stage='detector_2')).checkpoint
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

from stagetrain.config import load, schema
from stagetrain.errors import WeightsError, known_names, suggestion
from stagetrain.pipeline import run_files
from stagetrain.pipeline.lock import read_lock


@dataclasses.dataclass(frozen=True)
class OtherStage:
    """A stage that is done: its id, its checkpoint's folder, and the digest of each module in it."""

    stage: str
    checkpoint: pathlib.Path
    digests: Mapping[str, str]


def finished_stage(name: str, source: schema.Source) -> OtherStage:
    """Returns the stage that a source of kind `run` means.

    Args:
      name: the source's name, for errors.
      source: the source.

    Raises:
      WeightsError: no run directory, or its stage is unknown or not done.
      DamagedFile: its lock cannot be read.
    """
    folder = pathlib.Path(source.path)
    if not (folder / run_files.CONFIG).is_file():
        raise WeightsError(f'sources.{name}: {folder}: expected a run directory of stagetrain, found no run.yaml there')
    done = read_lock(folder / run_files.LOCK).stages
    stage = source.stage or load.load_resolved(folder / run_files.CONFIG).pipeline.stages[-1].name
    if stage not in done:
        raise WeightsError(
            f"sources.{name}: {folder}: stage '{stage}' is not done there. Done: {known_names(done)}.{suggestion(stage, done)}"
        )
    result = done[stage].result
    checkpoint = (folder / result['checkpoint']).absolute()
    if not checkpoint.is_dir():
        raise WeightsError(f"sources.{name}: {checkpoint}: no such folder, though stage '{stage}' is done there; run it again")
    return OtherStage(stage, checkpoint, result['digests'])
