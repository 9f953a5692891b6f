"""Stages of another length: `train.steps` and every schedule that counts steps, stretched together. Pure, on nodes.

    with_steps(stage, 300, place)       # of a stage of 600 steps with boundaries [500]: 300 steps, boundaries [250]

The rule: a stage's schedules are written for its own `train.steps`. Where it gets other steps, each number of steps in them is
multiplied by the same ratio and rounded, so that the shape stays: boundaries and decay of the learning rate, warm-up, loss ramps
and `validation_interval`. Patience and cooldown count evaluations and stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

from stagetrain.config.document import Node, Place
from stagetrain.errors import ConfigError

ANY = '*'
_OF_RATES = ('boundaries', 'decay_steps', 'total_decay_steps', 'offset')
STEP_COUNTS: tuple[tuple[str, ...], ...] = (
    *(('train', 'learning_rate', ANY, key) for key in _OF_RATES),
    ('train', 'warmup', ANY, 'warmup_steps'),
    ('train', 'validation_interval'),
    ('loss_ramps', ANY, 'steps'),
)
"""The keys of a stage that count steps and decide what training does; `*` is any key."""


def with_steps(stage: Node, steps: int, place: Place) -> Node:
    """Returns a stage with so many steps, and its schedules stretched to them.

    Args:
      stage: the stage with the top-level `train` merged under its own.
      steps: the new `train.steps`.
      place: where the new length comes from, for errors.

    Raises:
      ConfigError: its schedules count steps, but it does not say of how many in all.
    """
    if has_steps(stage):
        stage = _stretched(stage, Fraction(steps, _train(stage)['steps'].value))
    else:
        _refuse_counts(stage, place)
    return _with_length(stage, 'steps', Node(steps, place))


def by_factor(stage: Node, factor: Fraction, place: Place) -> Node:
    """Returns a checked stage that is `factor` times as long, in steps or epochs, and its schedules with it."""
    train = _train(stage)
    if 'steps' in train:
        return with_steps(stage, max(1, round(train['steps'].value * factor)), place)
    return _with_length(_stretched(stage, factor), 'epochs', Node(float(train['epochs'].value * factor), place))


def _with_length(stage: Node, key: str, length: Node) -> Node:
    kept = {name: node for name, node in _train(stage).items() if name not in ('steps', 'epochs')}
    place = stage.value['train'].place if 'train' in stage.value else length.place
    return _with(stage, {'train': Node({key: length, **kept}, place)})


def has_steps(stage: Node) -> bool:
    """Returns whether a stage's length is given in steps."""
    known = _train(stage).get('steps')
    return known is not None and isinstance(known.value, int) and known.value > 0


def has_own_length(refinement: Node | None) -> bool:
    """Returns whether what a file says of a stage gives its steps or epochs."""
    train = refinement.value.get('train') if refinement is not None and isinstance(refinement.value, dict) else None
    return train is not None and isinstance(train.value, dict) and bool({'steps', 'epochs'} & set(train.value))


def _train(stage: Node) -> dict[str, Node]:
    train = stage.value.get('train')
    return train.value if train is not None and isinstance(train.value, dict) else {}


def _with(node: Node, changes: dict[str, Node]) -> Node:
    return dataclasses.replace(node, value={**node.value, **changes})


def _refuse_counts(stage: Node, place: Place) -> None:
    """A count of steps means nothing without the number of steps that it is a part of."""
    found = [node.place for path in STEP_COUNTS for node in _at(stage, path)]
    if found:
        raise ConfigError(
            f'{place}: the schedules count steps ({found[0]}), but `train.steps` does not say of how many in all, so they cannot '
            'be stretched to the steps that a stage gets. Give the top-level train.steps that they are written for'
        )


def _at(node: Node, path: tuple[str, ...]) -> Iterator[Node]:
    """Yields what stands at a path, each that is given."""
    if not path:
        yield from [node] if node.value is not None else []
    elif isinstance(node.value, dict):
        for key in _keys(node, path[0]):
            yield from _at(node.value[key], path[1:])


def _stretched(stage: Node, factor: Fraction) -> Node:
    for path in STEP_COUNTS:
        stage = _changed(stage, path, factor)
    return stage


def _changed(node: Node, path: tuple[str, ...], factor: Fraction) -> Node:
    """Returns `node` with the counts at a path multiplied; what is not there, or is no mapping, is left for validation."""
    if not path:
        return _times(node, factor)
    if not isinstance(node.value, dict):
        return node
    return _with(node, {key: _changed(node.value[key], path[1:], factor) for key in _keys(node, path[0])})


def _keys(node: Node, key: str) -> list[str]:
    return [known for known in node.value if key in (ANY, known)]


def _times(node: Node, factor: Fraction) -> Node:
    """A count of 1 or more stays one."""
    if isinstance(node.value, list):
        return dataclasses.replace(node, value=[_times(item, factor) for item in node.value])
    is_count = isinstance(node.value, int) and not isinstance(node.value, bool) and node.value > 0
    return dataclasses.replace(node, value=max(1, round(node.value * factor))) if is_count else node
