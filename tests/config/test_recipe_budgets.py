"""Budgets of recipes: what they are, how they are divided, which stages they decide."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stagetrain.config import recipe_budgets, recipes, specs
from stagetrain.config.check import check_pipeline
from stagetrain.config.document import Place
from stagetrain.config.load import Loaded, load_pipeline
from stagetrain.config.recipe_budgets import DIVISIONS, Budget
from stagetrain.errors import ConfigError
from tests.config.conftest import Load
from tests.config.test_recipes import CONFIGS, recipe, with_recipe
from tests.config.test_shipped_configs import ENVIRON


def by_budget(load: Load, *overrides: str, keys: str = 'budget: 1640', name: str = 'four_step') -> Loaded:
    return load(*overrides, replace=with_recipe(f'recipe: {{name: {name}, init: {{}}, {keys}}}\n'))


def steps_of(loaded: Loaded) -> list[Any]:
    return [stage.train.steps for stage in loaded.pipeline.stages]


@pytest.mark.parametrize(
    ('value', 'expected'),
    [(2400, (2400, False)), (0.5, (0.5, False)), ('90s', (90, True)), ('20m', (1200, True)), ('1.5h', (5400, True))],
)
def test_a_budget_counts_steps_or_is_a_time(value: Any, expected: tuple[float, bool]) -> None:
    assert recipe_budgets.parse(value) == Budget(*expected)


@pytest.mark.parametrize('value', [0, -3, '20', '20 minutes', '-1m', '0s', ''])
def test_what_is_no_budget_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match='expected a number above 0 of steps .* or a time: 90s, 20m, 1.5h'):
        recipe_budgets.parse(value)


@pytest.mark.parametrize('name', DIVISIONS)
def test_the_parts_of_a_recipe_are_those_of_its_stages_and_make_a_whole(name: str) -> None:
    stages = recipes.expand(recipe(name), specs.detector('faster_rcnn'))
    division = DIVISIONS[name]
    assert list(division.parts) == [stage['name'] for stage in stages]
    assert math.isclose(sum(part.share for part in division.parts.values()), 1)
    assert 0 <= division.besides < 1


@pytest.mark.parametrize('name', DIVISIONS)
def test_the_steps_of_a_budget_cost_what_it_is(name: str) -> None:
    division, steps = DIVISIONS[name], recipe_budgets.steps(name, Budget(10_000, is_time=False))
    spent = sum(steps[stage] * part.cost for stage, part in division.parts.items())
    assert math.isclose(spent, 10_000 * (1 - division.besides), rel_tol=0.001)


def test_measured_costs_take_the_place_of_the_tables() -> None:
    costs = {'rpn_1': 0.2, 'detector_1': 0.2, 'rpn_2': 0.02, 'detector_2': 0.02}
    shares = {stage: part.share for stage, part in DIVISIONS['four_step'].parts.items()}
    found = recipe_budgets.divided('four_step', 100.0, costs)
    assert found == {stage: round(shares[stage] * 100 / costs[stage]) for stage in costs}
    assert recipe_budgets.divided('end_to_end', 0.001, {'joint': 1.0}) == {'joint': 1}


def test_end_to_end_gets_its_budget_as_steps(load: Load) -> None:
    assert steps_of(by_budget(load, name='end_to_end', keys='budget: 77')) == [77]


def test_a_budget_takes_the_place_of_the_common_steps_and_a_stages_own_win(load: Load) -> None:
    expected = recipe_budgets.steps('four_step', Budget(1640, is_time=False))
    assert steps_of(by_budget(load)) == list(expected.values())
    keys = 'budget: 1640, stages: {rpn_2: {train: {epochs: 3}}}'
    loaded = by_budget(load, 'stages.rpn_1.train.steps=7', keys=keys)
    assert steps_of(loaded) == [7, expected['detector_1'], None, expected['detector_2']]
    assert steps_of(by_budget(load, 'recipe.budget=820'))[1] == round(expected['detector_1'] / 2)


def test_schedules_are_stretched_from_the_common_steps() -> None:
    loaded = load_pipeline(CONFIGS / 'bccd' / 'recipe_four_step.yaml', ['recipe.budget=1640'], environ=ENVIRON)
    check_pipeline(loaded)
    for stage in loaded.pipeline.stages:
        assert stage.train.steps is not None
        assert stage.train.learning_rate.stepwise.boundaries == [round(500 * stage.train.steps / 600)]
        assert stage.train.warmup.linear.warmup_steps == round(50 * stage.train.steps / 600)
    assert loaded.pipeline.compare['end_to_end'].stages[0].train.steps == 1200


def test_a_variants_budget_is_its_own(load: Load) -> None:
    text = (
        'recipe: {name: four_step, init: {}, budget: 9}\ncompare: {joint: {recipe: {name: end_to_end, init: {}, budget: 50}}}\n'
    )
    assert load(replace=with_recipe(text)).pipeline.compare['joint'].stages[0].train.steps == 50


def test_a_time_is_known_by_its_stages_and_leaves_their_steps_until_it_is_measured(load: Load) -> None:
    loaded = by_budget(load, 'stages.rpn_2.train.steps=3', keys='budget: 20m')
    (asked,) = loaded.unmeasured
    assert (asked.recipe, asked.budget) == ('four_step', Budget(1200, is_time=True))
    assert asked.stages == {name: name for name in ('rpn_1', 'detector_1', 'detector_2')}
    assert isinstance(asked.place, Place) and steps_of(loaded) == [10, 10, 3, 10]
    assert by_budget(load).unmeasured == ()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{name: four_step, init: {}, budget: 20 minutes}', r"a.yaml:18: recipe.budget: .*found '20 minutes'; expected a number"),
        ('{name: four_step, init: {}, budget: [3]}', r'a.yaml:18: recipe.budget: '),
        ('{name: four_step, init: {}, budget: -1}', r'a.yaml:18: recipe.budget: '),
        (
            '{name: heads_then_all, init: {backbone: imagenet}, budget: 20m}',
            r"recipe.budget: how time is best divided .* 'heads_then_all' .* with a budget: end_to_end, four_step, unshared",
        ),
        ('{name: four_step_carry, init: {}, budget: 5}', r"recipe.budget: how time .* 'four_step_carry' has not been studied"),
    ],
)
def test_a_budget_that_means_nothing_is_refused_with_its_place(load: Load, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(replace=with_recipe(f'recipe: {text}\n'))


def test_schedules_without_the_steps_that_they_are_of_are_refused(load: Load) -> None:
    schedule = 'learning_rate: {type: stepwise, stepwise: {boundaries: [5], values: [0.1, 0.01]}}'
    changes = {
        **with_recipe('recipe: {name: four_step, init: {}, budget: 99}\n'),
        '  steps: 10\n': '',
        'learning_rate: {type: constant, constant: {learning_rate: 0.1}}': schedule,
    }
    with pytest.raises(ConfigError, match=r'a.yaml:17: the schedules count steps \(.*a.yaml:16\), but `train.steps` does'):
        load(replace=changes)
    assert (
        steps_of(load(replace={**changes, '  steps: 10\n': '  steps: 99\n'}))[1]
        == recipe_budgets.steps('four_step', Budget(99, is_time=False))['detector_1']
    )
