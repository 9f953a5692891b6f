"""Whether a stage that was trained for some steps can go on to more, or end earlier, without being another one. Pure.

    change = compare(old_parts, new_parts, num_steps_done=4)
    change.forbids        # parts that make it another stage: it is trained anew
    change.deviations     # what an undisturbed run would have done otherwise in the steps done; empty: it ends with the same bits

A step depends on the seed, the stage, its number and what the steps before it left, not on how many follow. So a stage goes on
from where it stands when nothing but its length differs, and where its schedules do, when they say the same of the steps done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stagetrain.pipeline import fingerprint, rates

LENGTH = ('train.steps', 'train.epochs')
"""Parts that say how long a stage is."""
_RATE_PARTS = (f'{rates.LEARNING_RATE}.', rates.WARMUP)
_RAMPS = 'loss_ramps.'
_JUDGED = ('train.early_stopping', 'train.reduce_on_plateau')
"""What they decided in the steps done is not known of other settings."""
_STEPS_AT_ONCE = 1 << 20

Parts = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Change:
    """What differs between a stage as it was trained and as it is asked for now."""

    forbids: tuple[str, ...]
    """Parts that no going on allows, packages' versions left out."""
    deviations: tuple[str, ...]
    """What would have been otherwise in the steps done, in words."""
    length: tuple[str, ...]
    """How its length changes, in words; empty when it does not."""
    versions: str
    """Which packages changed, in words."""


def compare(old: Parts, new: Parts, num_steps_done: int) -> Change:
    """Returns what differs for a stage of which so many steps are kept.

    Args:
      old: the parts that it was trained with.
      new: those that are asked for.
      num_steps_done: the steps that would be kept.
    """
    names = [name for name in fingerprint.differing(old, new) if not fingerprint.is_version(name)]
    rate_parts = [name for name in names if name.startswith(_RATE_PARTS)]
    ramps = [name for name in names if name.startswith(_RAMPS)]
    judged = [name for name in names if name.startswith(_JUDGED)]
    known = {*LENGTH, *rate_parts, *ramps, *judged}
    return Change(
        forbids=tuple(name for name in names if name not in known),
        deviations=(
            *(_rates(old, new, rate_parts, num_steps_done) if rate_parts else ()),
            *(_ramps(old, new, ramps, num_steps_done) if ramps else ()),
            *_differences(old, new, judged),
        ),
        length=tuple(_differences(old, new, [name for name in names if name in LENGTH])),
        versions=fingerprint.versions_changed(old, new),
    )


def start(kept_steps: Sequence[int], num_steps: int) -> int | None:
    """Returns the newest step with a checkpoint that a stage of `num_steps` can go on from; None when there is none."""
    return max((step for step in kept_steps if 0 < step <= num_steps), default=None)


def _rates(old: Parts, new: Parts, names: Sequence[str], num_steps_done: int) -> list[str]:
    """Returns in words how the learning rates of the steps done differ, or nothing when they do not."""
    changes = '; '.join(_differences(old, new, names))
    for first in range(0, num_steps_done, _STEPS_AT_ONCE):
        steps = np.arange(first, min(first + _STEPS_AT_ONCE, num_steps_done))
        was, would_be = rates.learning_rates(old, steps), rates.learning_rates(new, steps)
        if was is None or would_be is None:
            return [changes]
        if (differs := np.flatnonzero(was != would_be)).size:
            at = int(differs[0])
            return [f'{changes}: the learning rate of step {first + at + 1} was {was[at]:.4g}, would be {would_be[at]:.4g}']
    return []


def _ramps(old: Parts, new: Parts, names: Sequence[str], num_steps_done: int) -> list[str]:
    """As `_rates`, of the weights of loss terms."""
    found = []
    for term in sorted({name.removeprefix(_RAMPS).partition('.')[0] for name in names}):
        was, would_be = _share(old, term), _share(new, term)
        # Both rise in a straight line to 1: they are the same everywhere when they are at the first two steps.
        at = next((step for step in range(min(2, num_steps_done)) if was(step) != would_be(step)), None)
        if at is not None:
            changes = '; '.join(_differences(old, new, [name for name in names if name.startswith(f'{_RAMPS}{term}.')]))
            found.append(
                f'{changes}: the share of the weight of {term} at step {at + 1} was {was(at):.4g}, would be {would_be(at):.4g}'
            )
    return found


def _share(parts: Parts, term: str) -> Callable[[int], float]:
    """Returns step, from 0 -> share of a loss term's weight that counts."""
    begin, length = parts.get(f'{_RAMPS}{term}.start', 1.0), parts.get(f'{_RAMPS}{term}.steps', 1)
    return lambda step: float(begin + (1.0 - begin) * min(step / length, 1.0))


def _differences(old: Parts, new: Parts, names: Sequence[str]) -> list[str]:
    was, would_be = ({name: parts[name] for name in names if name in parts} for parts in (old, new))
    return fingerprint.differences(was, would_be)
