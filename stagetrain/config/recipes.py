"""Recipes: pipelines by name, written out as stages. Pure functions of a recipe and of the detector's spec.

    expand(schema.Recipe(name='four_step'), specs.detector('faster_rcnn'))     # [{'name': 'rpn_1', 'loss_weights': ...}, ...]

`docs/pipeline_file.md` says when to use which; `recipe_nodes` puts them into pipeline files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from stagetrain.config import schema
from stagetrain.config.specs import DetectorSpec
from stagetrain.errors import ConfigError, known_names, suggestion

Stages = list[dict[str, Any]]


def expand(recipe: schema.Recipe, spec: DetectorSpec) -> Stages:
    """Returns the stages of a recipe for a detector, before the user's refinements.

    Raises:
      ConfigError: The detector cannot carry the recipe, or the recipe lacks what it needs or names what the detector lacks.
    """
    if not spec.modules:
        raise ConfigError(
            f"name: the modules of '{spec.name}' are named by its options, so it has no recipes; write its stages out"
        )
    if recipe.name not in available(spec):
        raise ConfigError(
            f"name: '{recipe.name}' trains region proposals and a detector in turns, and {spec.name} has no proposals. "
            f'Recipes for {spec.name}: {known_names(available(spec))}.'
        )
    _require_known('init', recipe.init or {}, f'module of {spec.name}', spec.modules)
    _require_known('loss_weights', recipe.loss_weights, f'loss of {spec.name}', spec.loss_modules)
    return _RECIPES[recipe.name].make(_Maker(recipe, spec))


def available(spec: DetectorSpec) -> tuple[str, ...]:
    """Returns the names of the recipes that a detector can carry; none where its options alone name its modules."""
    return tuple(name for name, recipe in _RECIPES.items() if spec.modules and (spec.proposal_modules or not recipe.by_turns))


def _require_known(key: str, given: Iterable[str], what: str, known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f'{key}.{name}: no {what}. Known here: {known_names(known)}.{suggestion(name, known)}')


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes stages of a recipe: what each needs is told by the detector's spec."""

    recipe: schema.Recipe
    spec: DetectorSpec

    @property
    def all_losses(self) -> tuple[str, ...]:
        return tuple(self.spec.loss_modules)

    @property
    def rpn_losses(self) -> tuple[str, ...]:
        return tuple(loss for loss in self.all_losses if loss not in self.spec.proposal_losses)

    @property
    def rpn(self) -> tuple[str, ...]:
        """The modules that make proposals."""
        return self.spec.proposal_modules

    @property
    def detector(self) -> tuple[str, ...]:
        """The modules of a detector on given proposals."""
        needed = {module for loss in self.spec.proposal_losses for module in self.spec.loss_modules[loss]}
        return tuple(module for module in self.spec.modules if module in needed)

    @property
    def shared(self) -> tuple[str, ...]:
        """What proposals and detector have in common."""
        return tuple(module for module in self.rpn if module in self.detector)

    @property
    def backbone(self) -> str:
        """The module in front."""
        return self.spec.modules[0]

    def start(self, modules: Iterable[str]) -> dict[str, Any]:
        """Returns `init` of a stage that starts from no other: what the recipe says of its modules."""
        given = {module: init for module, init in (self.recipe.init or {}).items() if module in modules}
        return {module: init.model_dump(by_alias=True, exclude_defaults=True) for module, init in given.items()}

    def stage(
        self, name: str, losses: Iterable[str], init: dict[str, Any], freeze: Iterable[str] = (), proposals: str | None = None
    ) -> dict[str, Any]:
        """Returns a stage; `freeze` names modules, `proposals` the stage that makes them."""
        usual = self.spec.loss_weights
        stage: dict[str, Any] = {
            'name': name,
            'init': init,
            'loss_weights': {loss: self.recipe.loss_weights.get(loss, usual.get(loss, 1.0)) for loss in losses},
        }
        scopes = [f'{module}/.*' for module in freeze]
        return (
            stage | ({'freeze_variables': scopes} if scopes else {}) | ({'proposals': {'from': proposals}} if proposals else {})
        )


def _all_from(origin: str, modules: Iterable[str]) -> dict[str, Any]:
    return dict.fromkeys(modules, schema.long_origin(origin))


def _four_step(maker: _Maker) -> Stages:
    """Ren et al. 2015, section 3.2; the last stage goes on from detector_1's head, as the authors' MATLAB code does."""
    carried = _all_from('rpn_2', maker.rpn) | _all_from('detector_1', (m for m in maker.detector if m not in maker.shared))
    return [
        *_unshared(maker),
        maker.stage('rpn_2', maker.rpn_losses, _all_from('detector_1', maker.shared), freeze=maker.shared),
        maker.stage('detector_2', maker.spec.proposal_losses, carried, freeze=maker.rpn, proposals='rpn_2'),
    ]


def _unshared(maker: _Maker) -> Stages:
    """The first two of the four steps: two networks that share nothing."""
    return [
        maker.stage('rpn_1', maker.rpn_losses, maker.start(maker.rpn)),
        maker.stage('detector_1', maker.spec.proposal_losses, maker.start(maker.detector), proposals='rpn_1'),
    ]


def _four_step_carry(maker: _Maker) -> Stages:
    """One network, carried through four rounds that freeze scopes and loss weights tell apart."""
    modules = maker.spec.modules
    only_rpn = [module for module in maker.rpn if module not in maker.shared]
    only_detector = [module for module in maker.detector if module not in maker.shared]
    losses, head_losses = maker.rpn_losses, maker.spec.proposal_losses
    return [
        maker.stage('rpn_1', losses, _all_from(schema.FRESH, modules) | maker.start(modules)),
        maker.stage('detector_1', head_losses, _all_from('rpn_1', modules), freeze=only_rpn),
        maker.stage('rpn_2', losses, _all_from('detector_1', modules), freeze=[*maker.shared, *only_detector]),
        maker.stage('detector_2', head_losses, _all_from('rpn_2', modules), freeze=maker.rpn),
    ]


def _end_to_end(maker: _Maker) -> Stages:
    return [maker.stage('joint', maker.all_losses, maker.start(maker.spec.modules))]


def _heads_then_all(maker: _Maker) -> Stages:
    modules = maker.spec.modules
    return [_heads(maker), maker.stage('all', maker.all_losses, _all_from('heads', modules))]


def _gradual_unfreeze(maker: _Maker) -> Stages:
    if not maker.recipe.freeze_up_to:
        raise ConfigError(
            "freeze_up_to: missing; 'gradual_unfreeze' needs the layers of the backbone up to which its stages freeze it, the "
            'deepest first, e.g. [conv4_block6_out, conv3_block4_out]. The names of layers are those of the variables in '
            '`stagetrain plan --variables`.'
        )
    stages = [_heads(maker)]
    for number, layer in enumerate(maker.recipe.freeze_up_to, start=1):
        stage = maker.stage(f'unfreeze_{number}', maker.all_losses, _all_from(stages[-1]['name'], maker.spec.modules))
        stages.append(stage | {'freeze_up_to': layer})
    return [*stages, maker.stage('all', maker.all_losses, _all_from(stages[-1]['name'], maker.spec.modules))]


def _heads(maker: _Maker) -> dict[str, Any]:
    init = maker.start(maker.spec.modules)
    if init.get(maker.backbone, {'from': schema.FRESH})['from'] == schema.FRESH:
        raise ConfigError(
            f"init: '{maker.recipe.name}' keeps a pretrained {maker.backbone} frozen at first, but its {maker.backbone} starts "
            f'fresh. Name its source: init: {{{maker.backbone}: SOURCE}}'
        )
    return maker.stage('heads', maker.all_losses, init, freeze=[maker.backbone])


class _Recipe(NamedTuple):
    make: Callable[[_Maker], Stages]
    by_turns: bool
    """Whether it trains region proposals and a detector in turns."""


_RECIPES: dict[schema.RecipeName, _Recipe] = {
    'four_step': _Recipe(_four_step, by_turns=True),
    'four_step_carry': _Recipe(_four_step_carry, by_turns=True),
    'end_to_end': _Recipe(_end_to_end, by_turns=False),
    'unshared': _Recipe(_unshared, by_turns=True),
    'heads_then_all': _Recipe(_heads_then_all, by_turns=False),
    'gradual_unfreeze': _Recipe(_gradual_unfreeze, by_turns=False),
}
