"""Makes the artefact that a job names, whatever its kind."""

from __future__ import annotations

import dataclasses
from typing import Any

from stagetrain.config import artefacts, load, specs
from stagetrain.pipeline.answers import Emit, ShouldStop
from stagetrain.pipeline.jobs import ArtefactJob
from stagetrain.stages.context import Context, prepare
from stagetrain.stores import features, proposals  # noqa: F401  Imported ahead of the job, while the child waits for it.


def maker_context(job: ArtefactJob) -> Context:
    """Returns the surroundings of the stage that an artefact is made of, whose network may be another than the reader's."""
    return prepare(dataclasses.replace(job, stage=job.maker))


def make_artefact(job: ArtefactJob, emit: Emit, should_stop: ShouldStop) -> dict[str, Any]:
    """Carries out a job and returns what the implementation of its kind returns.

    Raises:
      StagetrainError: as that implementation does.
    """
    load.load_resolved(job.pipeline)  # Imports plugins, which may have registered the kind.
    return dict(specs.load_implementation(artefacts.artefact(job.artefact).implementation)(job, emit, should_stop))
