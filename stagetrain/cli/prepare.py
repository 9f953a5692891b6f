"""What verbs need before they can begin: the checked config, the plan, the run directory. Remarks go to standard error."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from stagetrain.api import preparation
from stagetrain.cli import streams
from stagetrain.config import load
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


def planned(loaded: load.Loaded, directory: RunDirectory, select: Selection) -> Plan:
    """Returns the plan for a run directory, which need not be there yet; nothing but caches is written."""
    return preparation.planned(loaded, directory, select, tell)


def tell(remark: str) -> None:
    """Shows a remark."""
    streams.say(remark)
