"""Callbacks: what listens to the events of a run, by registered kinds, described without importing TensorFlow.

    register_callback(CallbackSpec('csv_log', CsvLog, implementation='my_package.csv_log:listener'))

A registered callback is used where a pipeline file names it: `callbacks: {csv_log: {file: losses.csv}}`. It runs in the parent
process, so it sees progress, notes and results, never weights; it decides nothing about what is up to date.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stagetrain.config.options import Strict
from stagetrain.config.registry import Registry


@dataclasses.dataclass(frozen=True)
class CallbackSpec:
    """A callback."""

    name: str
    settings: type[Strict]
    """The type of its key under `callbacks`."""
    implementation: str
    """Place of `listener(settings, run_dir) -> listen`; `listen` is called with each `stagetrain.pipeline.events.Event`."""


_specs: Registry[CallbackSpec] = Registry()
register_callback, callback, kinds = _specs.register, _specs.named, _specs.kinds
"""The first makes `callbacks: {NAME: ...}` valid."""


def asked_for(pipeline: Any) -> Mapping[str, Any]:
    """Returns name -> settings of the callbacks that a pipeline names."""
    given = getattr(pipeline, 'callbacks', None)
    found = {spec.name: getattr(given, spec.name, None) for spec in kinds()}
    return {name: settings for name, settings in found.items() if settings is not None}
