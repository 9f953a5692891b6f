"""Carries out a plan in a run directory: the part that `run`, `compare` and Python programs share."""

from __future__ import annotations

from stagetrain.api import lengths, preparation
from stagetrain.api.listening import Listeners
from stagetrain.config import load
from stagetrain.pipeline import runner
from stagetrain.pipeline.events import Listener, Planned
from stagetrain.pipeline.fingerprint import Facts
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.pipeline.runner import StartWorker
from stagetrain.pipeline.stopping import Stopper
from stagetrain.weights.plain_paths import require_reachable


def run(
    loaded: load.Loaded,
    directory: RunDirectory,
    select: Selection,
    *,
    start_worker: StartWorker,
    listen: Listener,
    stopper: Stopper | None = None,
    tell: preparation.Tell = preparation.silent,
    equal: str | None = None,
) -> None:
    """Runs the selected stages of a checked pipeline that are not up to date.

    Args:
      loaded: the pipeline.
      directory: the run directory; made when it is not there.
      select: which stages.
      start_worker: starts what carries a job out.
      listen: takes what happens; first `Planned`.
      stopper: asks the run to stop.
      tell: takes remarks about how the data is read.
      equal: by what variants are made as long as the pipeline; see `pipeline.equal`.

    Raises:
      StagetrainError: as `runner.run`, `make_plan` and `RunDirectory.writing`.
    """
    require_reachable(directory.path)
    with directory.writing():
        measure = lengths.measuring(directory, start_worker, listen, stopper)

        def settle(pipeline: load.Loaded, facts: Facts) -> load.Loaded:
            known = lengths.settled(pipeline, directory, facts, measure)
            return known if equal is None else lengths.equalised(known, equal, directory, facts, measure)

        plan = preparation.planned(loaded, directory, select, tell, settle)
        directory.create_or_open(plan.loaded)
        listeners = Listeners(plan.loaded, directory, listen)
        listeners(Planned(None, plan, directory.path))
        runner.run(plan, directory, start_worker, listeners, stopper)
