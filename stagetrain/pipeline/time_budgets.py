"""Budgets of time: how many steps each stage of a recipe gets, by what its steps take on this machine. Pure.

steps(asked, pipeline, speeds)         # {'rpn_1': 312, 'detector_1': 940, ...}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stagetrain.config import recipe_budgets, schema
from stagetrain.config.recipe_nodes import GivenBudget
from stagetrain.config.stages import StageEntry, all_stages
from stagetrain.errors import ConfigError
from stagetrain.pipeline import speed
from stagetrain.pipeline.graph import num_steps
from stagetrain.pipeline.speed import FEATURES, Speed


def stages_of(asked: GivenBudget, pipeline: schema.PipelineBase) -> list[StageEntry]:
    """Returns all stages of the recipe that a budget is given to, those with steps of their own included."""
    variants = {entry.id: entry.variant for entry in all_stages(pipeline)}
    (variant,) = {variants[stage_id] for stage_id in asked.stages} or {None}
    return [entry for entry in all_stages(pipeline) if entry.variant == variant]


def steps(asked: GivenBudget, pipeline: schema.PipelineBase, speeds: Mapping[str, Speed], num_train: int) -> dict[str, int]:
    """Returns stage id -> steps of a budget of time.

    Args:
      asked: the budget and the stages that it decides.
      pipeline: the pipeline as its file gives it.
      speeds: stage id -> what was measured, for all stages of the recipe.
      num_train: training images.

    Raises:
      ConfigError: nothing is left for steps.
    """
    stages = stages_of(asked, pipeline)
    besides = besides_steps(stages, speeds, num_train)
    left = asked.budget.amount - besides
    if left <= 0:
        raise ConfigError(
            f'{asked.place}: recipe.budget: found {asked.budget}, but evaluation, tracing, and making proposals and features '
            f'take {besides:,.0f} s on this machine, beside all steps; expected more than that'
        )
    costs = {entry.stage.name: speeds[entry.id].step for entry in stages}
    found = recipe_budgets.divided(asked.recipe, left, costs)
    return {stage_id: found[name] for stage_id, name in asked.stages.items()}


def besides_steps(stages: Sequence[StageEntry], speeds: Mapping[str, Speed], num_train: int) -> float:
    """Returns the seconds that stages take beside their steps. Stored features are made once, for the first that reads them."""
    total, made = 0.0, set[str]()
    for stage_id, stage, _ in stages:
        measured = speeds[stage_id]
        total += measured.besides(speed.num_evaluations(stage.train, num_steps(stage.train, num_train)), made)
        made |= {FEATURES} & set(measured.artefacts)
    return total
