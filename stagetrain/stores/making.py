"""Makes the artefact that a job names, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stagetrain.config import artefacts, load, specs
from stagetrain.stages.context import Context, prepare
from stagetrain.stores import features, proposals  # noqa: F401  Imported ahead of the job, while the child waits for it.


def maker_context(job: Mapping[str, Any]) -> Context:
    """Returns the surroundings of the stage that an artefact is made of, whose network may be another than the reader's."""
    return prepare({**job, 'stage': job['maker']})


def make_artefact(
    job: Mapping[str, Any], emit: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Carries out an `ArtefactJob` and returns what the implementation of its kind returns.

    Raises:
      StagetrainError: as that implementation does.
    """
    load.load_resolved(job['pipeline'])  # Imports plugins, which may have registered the kind.
    return dict(specs.load_implementation(artefacts.artefact(job['artefact']).implementation)(job, emit, should_stop))
