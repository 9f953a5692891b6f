"""Registering by name: what every kind of thing that a pipeline file may name shares.

_specs: Registry[LossSpec] = Registry()
register_loss, loss, kinds = _specs.register, _specs.named, _specs.kinds
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from stagetrain.errors import ConfigError


class Named(Protocol):
    """What can be registered."""

    @property
    def name(self) -> str:
        """By which a pipeline file names it."""


Spec = TypeVar('Spec', bound=Named)


class Registry(dict[str, Spec]):
    """Specs of one sort by name, in the order in which they were registered."""

    def register(self, spec: Spec) -> None:
        """Adds a spec under its name; the same one again changes nothing.

        Raises:
          ConfigError: another spec has this name.
        """
        if self.get(spec.name, spec) != spec:
            raise ConfigError(f"'{spec.name}' is registered already, as {self[spec.name]}; expected a new name")
        self[spec.name] = spec

    def named(self, name: str) -> Spec:
        """Returns a registered spec; raises `KeyError` for others."""
        return self[name]

    def kinds(self) -> tuple[Spec, ...]:
        """Returns all registered specs, in the order in which they were registered."""
        return tuple(self.values())
