"""What a stage trains, freezes and leaves idle, decided on the model's real variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stagetrain.config import check, schema
from stagetrain.detectors.detector import Detector
from stagetrain.errors import ConfigError
from stagetrain.weights import names, scopes


def select_variables(
    detector: Detector, stage: schema.Stage, modules: tuple[str, ...], place: str, is_fresh: Callable[[str], bool]
) -> scopes.Selection:
    """Applies a stage's scopes. What no live loss reaches is idle and counts as frozen.

    Args:
      detector: holds `modules`, and perhaps more.
      stage: the stage.
      modules: those that the stage holds.
      place: the stage's place in the pipeline file, for errors.
      is_fresh: whether a variable, by canonical name, keeps its random initial value.

    Raises:
      ConfigError: a scope matches nothing, nothing is left to train, or a variable would be frozen at its random initial value.
    """
    layers = [layer for layer in map(_layer_names, names.leaves(detector.modules)) if _module(layer) in modules]
    chosen = scopes.select(layers, stage.freeze_variables, stage.train_variables, place)
    terms = check.live_losses(stage)
    reached = detector.reached(list(terms))
    idle = set(chosen.trained) - reached
    if idle:
        chosen = scopes.select(layers, [*stage.freeze_variables, *map(_exactly, sorted(idle))], stage.train_variables, place)
    if not chosen.trained:
        raise ConfigError(
            f'{place}: the losses {", ".join(terms)} have nothing to train: all {len(reached)} variables that they reach are '
            f'frozen. Narrow freeze_variables or widen train_variables.'
        )
    _refuse_frozen_fresh(layers, chosen, stage, place, lambda name: name in reached and is_fresh(name))
    return chosen


def freeze_layers(modules: Any, selection: scopes.Selection) -> None:
    """Puts every layer that trains nothing into inference mode.

    Must run before the first trace: afterwards `layer.trainable` changes nothing in functions that were traced.
    """
    trained = set(selection.trained)
    for leaf in names.leaves(modules):
        leaf.layer.trainable = bool(trained & set(leaf.variables))


def _refuse_frozen_fresh(
    layers: list[scopes.LayerNames], chosen: scopes.Selection, stage: schema.Stage, place: str, is_at_risk: Callable[[str], bool]
) -> None:
    everything = [name for layer in layers for name in layer.trainable + layer.statistics]
    scopes.require_matches(stage.allow_frozen_fresh, everything, place)
    allowed = {name for scope in stage.allow_frozen_fresh for name in scopes.matching(scope, everything)}
    refused = sorted(name for name in chosen.frozen if is_at_risk(name) and name not in allowed)
    if refused:
        raise ConfigError(
            f'{place}: {len(refused)} variables would be frozen at their random initial values, e.g. {refused[0]}. Give '
            f'{refused[0].split("/")[0]} an origin under `init`, do not freeze it, or name it in allow_frozen_fresh.'
        )


def _module(layer: scopes.LayerNames) -> str:
    return (*layer.trainable, *layer.statistics)[0].split('/')[0]


def _exactly(name: str) -> str:
    """Returns a scope that matches this name and no other."""
    return name.replace('.', r'\.')


def _layer_names(leaf: names.Leaf) -> scopes.LayerNames:
    return scopes.LayerNames(
        trainable=tuple(name for name, variable in leaf.variables.items() if variable.trainable),
        statistics=tuple(name for name, variable in leaf.variables.items() if not variable.trainable),
    )
