"""Budgets of recipes: how many steps each stage gets of a budget for all. Pure.

    parse(2400), parse('20m')              # Budget(2400.0, is_time=False), Budget(1200.0, is_time=True)
    steps('four_step', parse(1640))        # {'rpn_1': 299, 'detector_1': 900, 'rpn_2': 590, 'detector_2': 2530}

A budget without a unit counts steps of end-to-end training: it is what that many of them cost. One with a unit of time needs
the seconds of a step of each stage, which `stagetrain run` measures first (`pipeline/speed.py`).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import NamedTuple

from stagetrain.errors import ConfigError, known_names

SECONDS = {'s': 1, 'm': 60, 'h': 3600}
_TIME = re.compile(r'(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[smh])')


class StageShare(NamedTuple):
    """A stage's part of a budget."""

    share: float
    """Of what the steps of all stages may cost; the shares of a recipe add up to 1."""
    cost: float
    """Of one step, in steps of end-to-end training."""


class Division(NamedTuple):
    """How a recipe's budget is divided."""

    parts: Mapping[str, StageShare]
    besides: float
    """The share of a budget in steps that goes into making proposals and stored features. A budget of time has it measured."""


_JOINT = StageShare(1.0, 1.0)
_RPN_1 = StageShare(0.19, 0.75)
"""Share: 300 steps find 99.5 % of the cells, more only take time from step 2. Cost: no detection head, no RoIs."""
_DETECTOR_1 = StageShare(0.61, 0.80)
"""Share: the only stage that trains the features that the result has. Cost: no RPN, no proposals in the step."""
_RPN_2 = StageShare(0.05, 0.10)
"""Share: a small head on fixed features. Cost: it reads stored features."""
_DETECTOR_2 = StageShare(0.15, 0.07)
"""Share: a step costs so little that this is most of the steps. Cost: it reads stored features and sampled RoIs."""

DIVISIONS: dict[str, Division] = {
    # On BCCD (292 images, MobileNet v1 0.25, 256x256) 300, 900, 600 and 2,500 steps gave the best AP known, in 445 s, as long as
    # about 1,640 steps end to end (docs/alternating.md). Of these the steps cost 1,180 (the products of the parts); proposals,
    # features and what comes with each stage the rest: 0.28. Costs are those of steps on that data, one end to end = 1.
    'four_step': Division({'rpn_1': _RPN_1, 'detector_1': _DETECTOR_1, 'rpn_2': _RPN_2, 'detector_2': _DETECTOR_2}, 0.28),
    # The first two of the four, in the same proportion; proposals are made once, and there are no stored features.
    'unshared': Division({'rpn_1': StageShare(0.24, _RPN_1.cost), 'detector_1': StageShare(0.76, _DETECTOR_1.cost)}, 0.14),
    'end_to_end': Division({'joint': _JOINT}, 0.0),
}
"""Recipe -> its division. The numbers of this table are all that is known of how time is best divided."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """A budget of a pipeline file."""

    amount: float
    """In steps of end-to-end training, or in seconds."""
    is_time: bool

    def __str__(self) -> str:
        return f'{self.amount:,.0f} s' if self.is_time else f'{self.amount:,.0f} steps of end-to-end training'


def parse(value: float | str) -> Budget:
    """Returns a budget as the file gives it.

    Raises:
      ValueError: it is neither a number above 0 nor a number with a unit of time.
    """
    match = None if isinstance(value, int | float) else _TIME.fullmatch(value.strip())
    number = float(match['number'] if match else value) if match or isinstance(value, int | float) else 0.0
    if not number > 0:
        raise ValueError(
            f'found {value!r}; expected a number above 0 of steps of end-to-end training, such as 2400, or a time: 90s, 20m, 1.5h'
        )
    return Budget(number * SECONDS[match['unit']], is_time=True) if match else Budget(number, is_time=False)


def steps(recipe: str, budget: Budget) -> dict[str, int]:
    """Returns stage -> steps of a budget in steps of end-to-end training."""
    division = DIVISIONS[recipe]
    costs = {stage: part.cost for stage, part in division.parts.items()}
    return divided(recipe, budget.amount * (1 - division.besides), costs)


def divided(recipe: str, amount: float, costs: Mapping[str, float]) -> dict[str, int]:
    """Returns stage -> steps, at least 1.

    Args:
      recipe: a key of `DIVISIONS`.
      amount: what the steps of all stages may cost together.
      costs: stage -> what one of its steps costs, in the same unit.
    """
    parts = DIVISIONS[recipe].parts
    return {stage: max(1, round(part.share * amount / costs[stage])) for stage, part in parts.items()}


def require_division(recipe: str) -> None:
    """Raises `ConfigError` for a recipe whose budget cannot be divided."""
    if recipe not in DIVISIONS:
        raise ConfigError(
            f"budget: how time is best divided between the stages of '{recipe}' has not been studied, so it takes no budget. "
            f'Give the steps of its stages instead: stages: {{STAGE: {{train: {{steps: ...}}}}}}. Recipes with a budget: '
            f'{known_names(DIVISIONS)}.'
        )
