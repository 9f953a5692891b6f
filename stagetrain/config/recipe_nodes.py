"""Recipes in pipeline files: `recipe: four_step`, in the pipeline or in a variant, becomes `stages`.

    root = expand_recipes(parse('{model: {type: faster_rcnn}, recipe: end_to_end}', file='a.yaml'))
    plain(root)['stages']       # [{'name': 'joint', ...}]

What the recipe brings stands, for errors, where the recipe is named; what refines it keeps its own line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from stagetrain.config import lengths, recipe_budgets, recipes, schema, specs
from stagetrain.config.document import Node, Place, from_plain
from stagetrain.config.merge import merge
from stagetrain.config.specs import DetectorSpec
from stagetrain.config.validation import validate
from stagetrain.errors import ConfigError, known_names, suggestion


def long_form(root: Node) -> Node:
    """Writes `recipe: four_step` as `recipe: {name: four_step}`, so that a child file and `--set` can add to it."""
    return _map_recipes(root, lambda holder, _: _with_recipe(holder, _long(holder.value['recipe'])))


class GivenBudget(NamedTuple):
    """A budget that a recipe of the file is given."""

    recipe: str
    budget: recipe_budgets.Budget
    stages: dict[str, str]
    """Id of each stage that the budget decides the steps of -> its name."""
    place: Place


def budgets(root: Node) -> list[GivenBudget]:
    """Returns the budgets that a file gives its recipes, which `expand_recipes` has found correct."""
    found: list[GivenBudget] = []

    def look(holder: Node, variant: str | None) -> Node:
        node = holder.value['recipe']
        recipe = validate(Node({'recipe': node}, node.place), _Holder).recipe
        if recipe.budget is not None:
            own = node.value['stages'].value if 'stages' in node.value else {}
            names = [name for name in recipe_budgets.DIVISIONS[recipe.name].parts if not lengths.has_own_length(own.get(name))]
            ids = {f'{variant}.{name}' if variant else name: name for name in names}
            found.append(GivenBudget(recipe.name, recipe_budgets.parse(recipe.budget), ids, node.value['budget'].place))
        return holder

    _map_recipes(long_form(root), look)
    return found


def expand_recipes(root: Node) -> Node:
    """Returns a pipeline file with every recipe, the pipeline's and those of variants, written out as stages.

    Raises:
      ConfigError: A recipe is mistyped, stands beside stages, or cannot be carried out.
    """
    return _map_recipes(long_form(root), lambda holder, _: _expand_holder(root, holder))


def _map_recipes(root: Node, change: Callable[[Node, str | None], Node]) -> Node:
    """Returns `root` with the pipeline and every variant changed that has a recipe; what is malformed stays for validation.

    `change` is given the holder of the recipe and the variant's name, None for the pipeline.
    """
    if not isinstance(root.value, dict):
        return root
    root = change(root, None) if 'recipe' in root.value else root
    compare = root.value.get('compare')
    if compare is None or not isinstance(compare.value, dict):
        return root
    variants = {
        name: change(variant, name) if isinstance(variant.value, dict) and 'recipe' in variant.value else variant
        for name, variant in compare.value.items()
    }
    return Node({**root.value, 'compare': Node(variants, compare.place)}, root.place)


def _with_recipe(holder: Node, recipe: Node) -> Node:
    return Node({**holder.value, 'recipe': recipe}, holder.place)


class _Holder(schema.Strict):
    recipe: schema.Recipe


def _long(recipe: Node) -> Node:
    return Node({'name': recipe}, recipe.place) if isinstance(recipe.value, str) else recipe


def _expand_holder(root: Node, holder: Node) -> Node:
    node = holder.value['recipe']
    for other in ('stages', 'until'):
        if other in holder.value:
            raise ConfigError(
                f'{node.place}: recipe: found beside {other} ({holder.value[other].place}); give one of them. A recipe is '
                'refined by `stages` inside it: recipe: {name: ..., stages: {STAGE: {train: {...}}}}'
            )
    recipe = validate(Node({'recipe': node}, node.place), _Holder).recipe
    spec = _detector(root, node)
    try:
        _require_init(root, recipe, spec)
        if recipe.budget is not None:
            recipe_budgets.require_division(recipe.name)
        stages = [from_plain(stage, node.place) for stage in recipes.expand(recipe, spec)]
    except ConfigError as error:
        raise ConfigError(f'{node.place}: recipe.{error}') from error
    kept = {key: value for key, value in holder.value.items() if key != 'recipe'}
    return Node({**kept, 'stages': Node(_refined(stages, node), node.place)}, holder.place)


def _detector(root: Node, recipe: Node) -> DetectorSpec:
    model = root.value.get('model')
    chosen = model.value.get('type') if model is not None and isinstance(model.value, dict) else None
    if chosen is None:
        raise ConfigError(f'{recipe.place}: recipe: the file names no model.type, which decides what the stages of a recipe are')
    try:
        spec = specs.detector(chosen.value)
    except ConfigError as error:
        raise ConfigError(f'{chosen.place}: {error}') from error
    if not spec.modules:
        raise ConfigError(
            f'{recipe.place}: recipe: the modules of {spec.name} are those that its options name; write `stages` instead'
        )
    return spec


def _require_init(root: Node, recipe: schema.Recipe, spec: DetectorSpec) -> None:
    """Sources that no stage starts from are a slip."""
    sources = root.value.get('sources')
    if recipe.init is None and sources is not None and isinstance(sources.value, dict) and sources.value:
        raise ConfigError(
            f'init: missing, though the file has sources ({known_names(sources.value)}). Say what starts from them, e.g. '
            f'init: {{{spec.modules[0]}: {sorted(sources.value)[0]}}}, or init: {{}} when all starts fresh.'
        )


def _refined(stages: list[Node], recipe: Node) -> list[Node]:
    """Merges what the user says of single stages over them."""
    refinements = recipe.value['stages'].value if 'stages' in recipe.value else {}
    names = [stage.value['name'].value for stage in stages]
    for name, node in refinements.items():
        if name not in names:
            where = f'{node.place}: recipe.stages.{name}'
            raise ConfigError(f'{where}: no stage of this recipe. Known here: {known_names(names)}.{suggestion(name, names)}')
        if isinstance(node.value, dict) and 'name' in node.value:
            raise ConfigError(
                f'{node.value["name"].place}: recipe.stages.{name}.name: the stages of a recipe keep their names; remove it'
            )
    return [
        merge(stage, refinements[name], ('recipe', 'stages', name)) if name in refinements else stage
        for stage, name in zip(stages, names, strict=True)
    ]
