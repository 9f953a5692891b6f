"""Scopes: which variables a stage trains. Pure string work, without TensorFlow.

For example:

    roles = select(layers, freeze=['backbone/.*'], train=None, place='stages.rpn_2')
    roles.trained, roles.frozen
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from stagetrain.errors import ConfigError, suggestion


@dataclasses.dataclass(frozen=True)
class LayerNames:
    """The canonical names of one layer's variables."""

    trainable: tuple[str, ...]
    """Variables that gradients move."""
    statistics: tuple[str, ...] = ()
    """Variables that the forward pass moves, e.g. BatchNorm's moving averages."""


@dataclasses.dataclass(frozen=True)
class Roles:
    """What a stage does to each variable; the sets are disjoint and cover everything."""

    trained: tuple[str, ...]
    """Moved by the optimizer."""
    updated: tuple[str, ...]
    """Statistics of layers that train."""
    frozen: tuple[str, ...]
    """Bit-identical throughout: frozen by scope, or statistics of a layer whose trainable variables are all frozen."""


def matching(scope: str, names: Iterable[str]) -> list[str]:
    """Returns the names that a scope matches in full."""
    pattern = re.compile(scope)
    return [name for name in names if pattern.fullmatch(name)]


def matched(scopes: Iterable[str], names: Sequence[str]) -> set[str]:
    """Returns the names that any of `scopes` matches in full."""
    return {name for scope in scopes for name in matching(scope, names)}


def rests_as_a_whole(module: str, freeze: Iterable[str], train: Iterable[str] | None) -> bool:
    """Whether scopes are known to freeze everything in a module, whose variables are not known.

    Args:
      module: its name.
      freeze: scopes of `freeze_variables`.
      train: scopes of `train_variables`, or None for everything.
    """
    anything = f'{module}/\N{SNOWMAN}/\N{SNOWMAN}'  # A name that no model has stands for all.
    if matched(freeze, [anything]):
        return True
    # A scope that begins with another module's plain name matches nothing in this one.
    others = [scope.partition('/')[0] for scope in train or ()]
    return train is not None and all(re.fullmatch(r'\w+', name) and name != module for name in others)


def surely_frozen(names: Sequence[str], freeze: Iterable[str], train: Sequence[str] | None) -> set[str]:
    """Returns the variables that scopes freeze, whichever of them are statistics: less than all where `train` is given.

    Of a layer, known by the names' common beginning, that `train` matches nothing of, everything rests.
    """
    wanted = {name.rpartition('/')[0] for name in matched(train or (), names)}
    return matched(freeze, names) | {name for name in names if train is not None and name.rpartition('/')[0] not in wanted}


def require_matches(scopes: Sequence[str], names: Sequence[str], place: str) -> None:
    """Raises `ConfigError` for every scope that matches none of `names`, with the nearest name."""
    for scope in scopes:
        if not matching(scope, names):
            modules = ', '.join(sorted({name.split('/')[0] for name in names}))
            raise ConfigError(
                f"{place}: scope '{scope}' matches no variable of this stage (modules {modules}; {len(names)} variables). "
                f'A scope is a regular expression that must match the whole name, as in backbone/.*.{suggestion(scope, names)} '
                f'`stagetrain plan --variables` lists all names.'
            )


def select(layers: Sequence[LayerNames], freeze: Sequence[str], train: Sequence[str] | None, place: str) -> Roles:
    """Divides the variables of a stage by its scopes; `freeze` wins over `train`.

    Args:
      layers: every layer that owns variables.
      freeze: scopes of `freeze_variables`.
      train: scopes of `train_variables`, or None for everything.
      place: where the scopes stand, for errors.

    Raises:
      ConfigError: a scope matches nothing, or freezes a statistic of a layer that trains.
    """
    names = [name for layer in layers for name in (*layer.trainable, *layer.statistics)]
    require_matches([*freeze, *(train or [])], names, place)
    frozen_by_scope = matched(freeze, names)
    if train is not None:
        frozen_by_scope |= {name for layer in layers for name in layer.trainable} - matched(train, names)
    trained: list[str] = []
    updated: list[str] = []
    frozen: list[str] = []
    for layer in layers:
        moving = [name for name in layer.trainable if name not in frozen_by_scope]
        trained += moving
        frozen += [name for name in layer.trainable if name in frozen_by_scope]
        if not moving:
            frozen += layer.statistics
            continue
        updated += layer.statistics
        explicit = matched(freeze, layer.statistics)
        if explicit:
            raise ConfigError(
                f'{place}: {min(explicit)} is frozen by scope but {moving[0]} of the same layer is trained; statistics stand '
                f"still only when the whole layer does. Freeze the layer's other variables too, or leave its statistics out of "
                f'the scope.'
            )
    return Roles(tuple(sorted(trained)), tuple(sorted(updated)), tuple(sorted(frozen)))
