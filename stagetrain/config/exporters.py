"""Exporters: forms in which a finished stage's network leaves a run, by registered kinds, described without importing TensorFlow.

    register_exporter(ExporterSpec('npz', Options, implementation='my_package.npz:export'))

A registered exporter is what `stagetrain export RUN_DIR --format NAME` and `run.export(NAME, out)` use.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping

from stagetrain.config.options import Strict
from stagetrain.config.registry import Registry
from stagetrain.errors import BadInput, ConfigError, known_names, suggestion


@dataclasses.dataclass(frozen=True)
class ExporterSpec:
    """An exporter."""

    name: str
    options: type[Strict]
    """The type of its options: `--set KEY=VALUE` of the command line."""
    implementation: str
    """Place of `export(network, options, folder) -> facts`: it writes files into `folder`, from a
    `stagetrain.inference.exported.ExportedNetwork`. `facts` is a JSON mapping that the card takes over, such as `input` and
    `outputs`."""
    needs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Module that must be installed, besides what stagetrain depends on -> what installs it."""
    detects: bool = True
    """Whether it needs a stage that detects by itself; otherwise any finished stage will do."""


_specs: Registry[ExporterSpec] = Registry()
register_exporter, kinds = _specs.register, _specs.kinds
"""The first makes `--format NAME` valid."""


def exporter(name: str) -> ExporterSpec:
    """Returns a registered exporter whose needs are installed.

    Raises:
      ConfigError: there is none of this name.
      BadInput: a module that it needs is not installed.
    """
    if name not in _specs:
        raise ConfigError(f"--format: no format '{name}'. Known here: {known_names(_specs)}.{suggestion(name, _specs)}")
    for module, remedy in _specs[name].needs.items():
        if importlib.util.find_spec(module) is None:
            raise BadInput(f'--format {name}: the module {module} is not installed; install it with: {remedy}')
    return _specs[name]
