"""What verbs need before they can begin: the checked config, the plan, the run directory. Remarks go to standard error."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence

from stagetrain.api import lengths, preparation
from stagetrain.cli import streams
from stagetrain.config import load
from stagetrain.errors import ConfigError
from stagetrain.pipeline.fingerprint import Facts
from stagetrain.pipeline.planned import Plan, Selection
from stagetrain.pipeline.rundir import RunDirectory


def checked(config: pathlib.Path, overrides: Sequence[str] = ()) -> load.Loaded:
    """Returns a pipeline file that obeys all rules; raises `ConfigError` with every one that is broken."""
    return preparation.checked(config, overrides, tell)


def run_directory(given: pathlib.Path | None, config: pathlib.Path) -> RunDirectory:
    """Returns the run directory that was named, or `runs/<name of the config file>`."""
    return RunDirectory(given or pathlib.Path('runs') / config.stem)


def selection(options: argparse.Namespace) -> Selection:
    """Returns what `--only`, `--from`, `--until`, `--force` and `--extend` say."""
    force, extend = tuple(options.force), tuple(options.extend)
    return Selection(only=options.only, from_=options.from_, until=options.until, force=force, extend=extend)


def planned(loaded: load.Loaded, directory: RunDirectory, select: Selection, equal: str | None = None) -> Plan:
    """Returns the plan for a run directory, which need not be there yet; nothing but caches is written.

    With `equal` variants are planned too, as long as the pipeline (see `pipeline.equal`).
    """
    if equal is None:
        return preparation.planned(loaded, directory, select, tell)

    def settle(pipeline: load.Loaded, facts: Facts) -> load.Loaded:
        return lengths.equalised(lengths.settled(pipeline, directory, facts), equal, directory, facts)

    return preparation.planned(loaded, directory, dataclasses.replace(select, variants=True), tell, settle)


def with_lengths(loaded: load.Loaded, directory: RunDirectory, options: argparse.Namespace) -> load.Loaded:
    """Returns a pipeline with all lengths of stages in it, also those that depend on this machine.

    Raises:
      ConfigError: a budget of time is not measured yet.
    """
    if loaded.unmeasured or options.equal is not None:
        loaded = planned(loaded, directory, selection(options), options.equal).loaded
    for given in loaded.unmeasured:
        raise ConfigError(
            f'{given.place}: recipe.budget {given.budget}: not measured yet on this machine with this data and network, so its '
            'steps are not known; `stagetrain run` measures it first'
        )
    return loaded


def tell(remark: str) -> None:
    """Shows a remark."""
    streams.say(remark)
