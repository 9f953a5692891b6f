"""Registering by name: what every kind of thing that a pipeline file may name shares."""

from __future__ import annotations

from typing import TypeVar

from stagetrain.errors import ConfigError

Spec = TypeVar('Spec')


def register(registry: dict[str, Spec], name: str, spec: Spec) -> None:
    """Adds a spec under its name; the same one again changes nothing.

    Raises:
      ConfigError: another spec has this name.
    """
    if registry.get(name, spec) != spec:
        raise ConfigError(f"'{name}' is registered already, as {registry[name]}; expected a new name")
    registry[name] = spec
