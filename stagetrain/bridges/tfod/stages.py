"""The stage of a `pipeline.config`, or those of a recipe, and what rests in each.

make(draft, 'four_step', scopes=['backbone/.*'], loads=True)      # [{'name': 'rpn_1', ...}, ...]
"""

from __future__ import annotations

from typing import Any

from stagetrain.bridges.tfod import checkpoints
from stagetrain.bridges.tfod.account import Kind
from stagetrain.bridges.tfod.draft import Draft
from stagetrain.config import recipes, schema, specs
from stagetrain.config.scopes import rests_as_a_whole
from stagetrain.errors import ConfigError

JOINT = 'joint'
"""The one stage of a file without a recipe."""
RECIPES = ('four_step',)


def make(draft: Draft, recipe: str | None, scopes: list[str], loads: bool) -> list[dict[str, Any]]:
    """Returns the one stage of the file, or those of a recipe, with what rests in each."""
    spec = specs.detector(draft.document['model']['type'])
    origin: dict[str, Any] = {'from': checkpoints.NAME}
    if loads and 'tf1_checkpoint' in draft.document['sources'][checkpoints.NAME]:
        origin['skip_mismatch'] = True  # Convolutions have a bias here, which slim's lack.
    if recipe is None:
        stages: list[dict[str, Any]] = [
            {'name': JOINT, 'init': dict.fromkeys(draft.init, origin), 'loss_weights': draft.loss_weights}
        ]
    else:
        stages = _of_recipe(draft, recipe, spec, origin)
    rests = draft.rests if loads else []
    if draft.rests and not loads:
        text = 'BatchNorm trains: no weights are loaded, and statistics at rest would be those of the initialiser'
        draft.account.say(draft.rests_at, Kind.REPORTED, text)
        draft.account.remark(draft.rests_at, text)
    return [_with_scopes(stage, spec, scopes, rests) for stage in stages]


def _of_recipe(draft: Draft, name: str, spec: specs.DetectorSpec, origin: dict[str, Any]) -> list[dict[str, Any]]:
    if name not in RECIPES:
        raise ConfigError(f"--recipe: found '{name}', expected one of {', '.join(RECIPES)}")
    if 'frcnn_class' not in draft.loss_weights:
        raise ConfigError(
            f'--recipe={name}: trains region proposals and a detector in turns; the file has no second stage of Faster R-CNN'
        )
    init = {module: schema.Init.model_validate(origin) for module in draft.init}
    recipe = schema.Recipe(name=name, init=init, loss_weights=draft.loss_weights)  # type: ignore[arg-type]
    stages = recipes.expand(recipe, spec)
    generator = draft.document['model']['roi_generator']
    for stage in stages:
        if 'proposals' in stage:
            stage['proposals'] |= {
                'max_per_image': generator['num_proposals'],
                'pre_nms_top_k': generator['pre_nms_top_k'],
                'nms_iou': generator['nms_iou_threshold'],
            }
    return stages


def _with_scopes(stage: dict[str, Any], spec: specs.DetectorSpec, scopes: list[str], rests: list[str]) -> dict[str, Any]:
    """Adds the scopes of modules that a stage holds, and that do not rest as a whole already."""
    held = {module for term in stage['loss_weights'] for module in spec.loss_modules[term]}
    own = stage.pop('freeze_variables', [])
    named = dict.fromkeys([*scopes, *rests])
    added = [scope for scope in named if _module(scope) in held and not _is_covered(scope, [*own, *scopes])]
    frozen = [*own, *added]
    fresh = [scope for scope in added if not _starts(stage, _module(scope))]
    return {
        'name': stage['name'],
        **({'init': stage['init']} if stage.get('init') else {}),
        **({'freeze_variables': frozen} if frozen else {}),
        **({'allow_frozen_fresh': fresh} if fresh else {}),
        **{key: value for key, value in stage.items() if key not in ('name', 'init')},
    }


def _module(scope: str) -> str:
    return scope.split('/')[0]


def _is_covered(scope: str, others: list[str]) -> bool:
    """Whether other scopes freeze the whole module of a scope already."""
    return rests_as_a_whole(_module(scope), [other for other in others if other != scope], None)


def _starts(stage: dict[str, Any], module: str) -> bool:
    origin = stage.get('init', {}).get(module, schema.FRESH)
    return schema.long_origin(origin)['from'] != schema.FRESH
