"""What a stage trains, freezes and leaves idle, decided on the model's real variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tf_keras

from stagetrain.config import losses, schema, scopes, specs
from stagetrain.config.stages import live_losses, own_terms
from stagetrain.detectors.detector import Network
from stagetrain.errors import ConfigError, suggestion
from stagetrain.weights import names


def select_variables(
    detector: Network, stage: schema.Stage, modules: tuple[str, ...], place: str, is_fresh: Callable[[str], bool]
) -> scopes.Roles:
    """Applies a stage's scopes. What no live loss reaches is idle and counts as frozen.

    Args:
      detector: holds `modules`, and perhaps more.
      stage: the stage.
      modules: those that the stage holds.
      place: the stage's place in the pipeline file, for errors.
      is_fresh: whether a variable, by canonical name, keeps its random initial value.

    Raises:
      ConfigError: a scope matches nothing, `freeze_up_to` names no layer or one without variables before it, nothing is left to
        train, or a variable would be frozen at its random initial value.
    """
    layers = [layer for layer in map(_layer_names, names.leaves(detector.modules)) if _module(layer) in modules]
    freeze = [*stage.freeze_variables, *map(_exactly, _names_up_to(detector.modules, stage.freeze_up_to, place))]
    chosen = scopes.select(layers, freeze, stage.train_variables, place)
    terms = live_losses(stage)
    reached = reached_variables(detector, stage)
    idle = set(chosen.trained) - reached
    if idle:
        chosen = scopes.select(layers, [*freeze, *map(_exactly, sorted(idle))], stage.train_variables, place)
    if not chosen.trained:
        raise ConfigError(
            f'{place}: the losses {", ".join(terms)} have nothing to train: all {len(reached)} variables that they reach are '
            f'frozen. Narrow freeze_variables or widen train_variables.'
        )
    _refuse_frozen_fresh(layers, chosen, stage, place, lambda name: name in reached and is_fresh(name))
    return chosen


def reached_variables(detector: Network, stage: schema.Stage) -> set[str]:
    """Returns the canonical names of the trainable variables that a stage's live losses depend on, the added ones too."""
    added = losses.added_by(stage)
    spec = specs.spec_of(detector.model)
    modules = {module for term in added for module in losses.loss(term).modules(spec)}
    return detector.reached(own_terms(stage)) | (detector.reached_by(modules) if added else set())


def step_multipliers(factors: Mapping[str, float], trained: Sequence[str], place: str) -> dict[str, float]:
    """Returns trained variable -> what its steps are multiplied by, where that is not 1.

    Args:
      factors: scope -> factor; those of all scopes that match a name multiply.
      trained: canonical names.
      place: the stage's place in the pipeline file, for errors.

    Raises:
      ConfigError: a scope matches nothing that trains.
    """
    scopes.require_matches(list(factors), trained, f'{place}.train.learning_rate_multipliers')
    result = dict.fromkeys(trained, 1.0)
    for scope, factor in factors.items():
        for name in scopes.matching(scope, trained):
            result[name] *= factor
    return {name: factor for name, factor in result.items() if factor != 1.0}


def freeze_layers(modules: Any, selection: scopes.Roles) -> None:
    """Puts every layer that trains nothing into inference mode.

    Must run before the first trace: afterwards `layer.trainable` changes nothing in functions that were traced.
    """
    trained = set(selection.trained)
    for leaf in names.leaves(modules):
        leaf.layer.trainable = bool(trained & set(leaf.variables))


def _refuse_frozen_fresh(
    layers: list[scopes.LayerNames], chosen: scopes.Roles, stage: schema.Stage, place: str, is_at_risk: Callable[[str], bool]
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


def _names_up_to(modules: Mapping[str, Any], layer_name: str | None, place: str) -> list[str]:
    """Returns the variables of a backbone's layer and of those that its output is computed from."""
    if layer_name is None:
        return []
    backbone = modules['backbone']
    known = [layer.name for layer in backbone.layers]
    if layer_name not in known:
        raise ConfigError(
            f"{place}.freeze_up_to: no layer '{layer_name}' among the {len(known)} of the backbone, from {known[1]} to "
            f'{known[-1]}.{suggestion(layer_name, known)}'
        )
    part = tf_keras.Model(backbone.inputs, backbone.get_layer(layer_name).output)
    inside = {id(variable) for variable in part.variables}
    found = [name for name, variable in names.named_variables({'backbone': backbone}).items() if id(variable) in inside]
    if not found:
        raise ConfigError(f"{place}.freeze_up_to: no variable stands in '{layer_name}' or before it; name a later layer")
    return found


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
