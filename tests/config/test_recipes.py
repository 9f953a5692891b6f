"""Recipes by name: what they expand to, for which detector, and how a file refines them."""

from __future__ import annotations

import pathlib
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from stagetrain.config import recipes, schema, specs
from stagetrain.config.check import check_pipeline
from stagetrain.config.load import Loaded, load_pipeline
from stagetrain.config.stages import all_stages
from stagetrain.errors import ConfigError
from stagetrain.pipeline.fingerprint import Facts, stage_fingerprint
from tests.config.conftest import Load, Write
from tests.config.test_shipped_configs import ENVIRON

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
ONE_STAGE = specs.DetectorSpec(
    name='one_stage',
    options=lambda: schema.PipelineBase,
    modules=('backbone', 'decoder', 'head'),
    loss_modules={'class': ('backbone', 'decoder', 'head'), 'box': ('backbone', 'decoder', 'head')},
    implementation='nowhere:at_all',
    detection_modules=('backbone', 'decoder', 'head'),
    loss_weights={'box': 50.0},
)
HEADS_FIRST = {'init': {'backbone': 'imagenet'}, 'freeze_up_to': ['block2', 'block1']}


def recipe(name: str, **keys: Any) -> schema.Recipe:
    return schema.Recipe.model_validate({'name': name, **keys})


def with_recipe(text: str) -> dict[str, str]:
    """Returns what puts a recipe into the small pipeline in place of its stages and its variant."""
    from tests.config.conftest import PIPELINE

    start = PIPELINE.index('stages:\n  - name: rpn')
    return {PIPELINE[start:]: text}


def fingerprints(loaded: Loaded) -> dict[str, str]:
    """Returns stage id -> fingerprint, as if every stage's sources had equal digests."""
    facts = Facts('train', 'validation', 10, 5, 0, 0, {}, {})
    return {
        entry.id: stage_fingerprint(loaded.pipeline, entry.stage, facts, origins={}, made_of={}, teachers={})[0]
        for entry in all_stages(loaded.pipeline)
    }


def test_four_step_by_name_is_the_hand_written_config_fingerprint_for_fingerprint() -> None:
    by_name = load_pipeline(CONFIGS / 'bccd' / 'recipe_four_step.yaml', environ=ENVIRON)
    by_hand = load_pipeline(CONFIGS / 'bccd' / 'four_step.yaml', environ=ENVIRON)
    assert fingerprints(by_name) == fingerprints(by_hand)
    assert list(fingerprints(by_name)) == ['rpn_1', 'detector_1', 'rpn_2', 'detector_2', 'end_to_end.joint']
    named, written = all_stages(by_name.pipeline), all_stages(by_hand.pipeline)
    assert [entry.stage.init for entry in named] == [entry.stage.init for entry in written]
    assert [entry.stage.proposals for entry in named] == [entry.stage.proposals for entry in written]


def test_four_step_carry_by_name_is_the_hand_written_config() -> None:
    by_hand = load_pipeline(CONFIGS / 'bccd' / 'four_step_carry.yaml', environ=ENVIRON).pipeline.stages
    stages = recipes.expand(recipe('four_step_carry', init={'backbone': 'imagenet'}), specs.detector('faster_rcnn'))
    for stage, written in zip(stages, by_hand, strict=True):
        named = schema.Stage.model_validate({**stage, 'train': written.train.model_dump(exclude_unset=True)})
        live = {loss: weight for loss, weight in written.loss_weights.items() if weight}
        assert (named.name, named.init, named.loss_weights) == (written.name, written.init, live)
        assert set(named.freeze_variables) == set(written.freeze_variables)


def names_and_frozen(stages: list[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    for stage in stages:
        yield stage['name'], stage.get('freeze_variables') or stage.get('freeze_up_to')


@pytest.mark.parametrize('spec', [specs.detector('faster_rcnn'), ONE_STAGE], ids=['two stages', 'one stage'])
def test_gradual_unfreezing_goes_from_the_heads_to_the_front(spec: specs.DetectorSpec) -> None:
    stages = recipes.expand(recipe('gradual_unfreeze', **HEADS_FIRST), spec)
    expected = [('heads', ['backbone/.*']), ('unfreeze_1', 'block2'), ('unfreeze_2', 'block1'), ('all', None)]
    assert list(names_and_frozen(stages)) == expected
    assert stages[0]['init'] == {'backbone': {'from': 'imagenet'}}
    assert stages[3]['init'] == {module: {'from': 'unfreeze_2'} for module in spec.modules}


def test_a_detector_with_usual_loss_weights_of_its_own_gets_them() -> None:
    (joint,) = recipes.expand(recipe('end_to_end'), ONE_STAGE)
    assert joint == {'name': 'joint', 'init': {}, 'loss_weights': {'class': 1.0, 'box': 50.0}}
    (joint,) = recipes.expand(recipe('end_to_end', loss_weights={'box': 2.0}), ONE_STAGE)
    assert joint['loss_weights'] == {'class': 1.0, 'box': 2.0}


@pytest.mark.parametrize('name', ['four_step', 'four_step_carry', 'unshared'])
def test_a_detector_without_proposals_cannot_train_by_turns(name: str) -> None:
    with pytest.raises(
        ConfigError, match=f"'{name}' trains .* one_stage has no proposals. .*: end_to_end, gradual_unfreeze, heads"
    ):
        recipes.expand(recipe(name), ONE_STAGE)


def test_a_network_whose_options_name_its_modules_has_no_recipes() -> None:
    with pytest.raises(ConfigError, match="the modules of 'experiment' are named by its options, so it has no recipes"):
        recipes.expand(recipe('end_to_end'), specs.detector('experiment'))


NEEDED = {
    'faster_rcnn_single_scale': ['model.roi_head={type: fc, fc: {fc_dims: 16}}'],
    'mask_rcnn': ['data.train={format: coco, path: train.json, masks: true}'],
}
"""What some detectors cannot do without."""
EVERY_RECIPE = [(detector.name, name) for detector in specs.detectors() for name in recipes.available(detector)]


@pytest.mark.parametrize(('detector', 'name'), EVERY_RECIPE)
def test_every_recipe_of_every_detector_is_accepted(load: Load, detector: str, name: str) -> None:
    keys = {'init': '{backbone: imagenet}', 'freeze_up_to': '[conv_pw_11_relu]'}
    text = f'recipe: {{name: {name}, ' + ', '.join(f'{key}: {value}' for key, value in keys.items()) + '}\n'
    has_pyramid = detector in ('faster_rcnn', 'mask_rcnn', 'retinanet')
    pyramid = {'  min_level: 3\n  max_level: 5\n': '', '  decoder: {type: fpn}\n': ''} if not has_pyramid else {}
    loaded = load(*NEEDED.get(detector, ()), replace={**with_recipe(text), **pyramid, 'type: faster_rcnn': f'type: {detector}'})
    check_pipeline(loaded)
    assert len(loaded.pipeline.stages) == {'end_to_end': 1, 'unshared': 2, 'heads_then_all': 2, 'gradual_unfreeze': 3}.get(
        name, 4
    )


def test_single_stages_are_refined_and_overridden(load: Load) -> None:
    text = (
        'recipe:\n  name: four_step\n  init: {backbone: imagenet}\n'
        '  stages: {rpn_2: {train: {epochs: 2}, seed: 7}, detector_1: {proposals: {max_per_image: 50}}}\n'
    )
    stages = load('stages.detector_2.train.steps=3', 'stages.rpn_1.seed=4', replace=with_recipe(text)).pipeline.stages
    assert [(stage.train.steps, stage.train.epochs, stage.seed) for stage in stages] == [
        (10, None, 4),
        (10, None, None),
        (None, 2, 7),
        (3, None, None),
    ]
    assert stages[1].proposals is not None and stages[1].proposals.max_per_image == 50
    assert stages[1].proposals.origin == 'rpn_1'


def test_a_variant_has_a_recipe_too(load: Load) -> None:
    text = 'recipe: {name: unshared, init: {}}\ncompare: {joint: {recipe: {name: end_to_end, init: {backbone: imagenet}}}}\n'
    loaded = load('compare.joint.stages.joint.train.steps=77', replace=with_recipe(text))
    assert [entry.id for entry in all_stages(loaded.pipeline)] == ['rpn_1', 'detector_1', 'joint.joint']
    assert all_stages(loaded.pipeline)[2].stage.train.steps == 77


def test_a_child_file_refines_its_bases_recipe_or_replaces_its_stages(write: Write) -> None:
    from tests.config.conftest import PIPELINE

    write(name='base.yaml')
    with_stages = load_pipeline(
        write('base: base.yaml\nrecipe: {name: end_to_end, init: {}}\ncompare: {}\n', 'b.yaml'), environ={}
    )
    assert [stage.name for stage in with_stages.pipeline.stages] == ['joint']
    ((old, new),) = with_recipe('recipe: {name: end_to_end, init: {}}\n').items()
    write(PIPELINE.replace(old, new), 'recipe.yaml')
    refined = load_pipeline(write('base: recipe.yaml\nrecipe: {stages: {joint: {seed: 3}}}\n', 'c.yaml'), environ={})
    assert refined.pipeline.stages[0].seed == 3


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('recipe: four_steps\n', r"a.yaml:18: recipe.name: found 'four_steps' .* Did you mean 'four_step'\?"),
        ('recipe: four_step\n', r'a.yaml:18: recipe.init: missing, though the file has sources \(imagenet\)'),
        ('recipe: {name: four_step, intt: {}}\n', r"a.yaml:18: recipe.intt: unknown key. .*Did you mean 'init'\?"),
        ('recipe: {name: heads_then_all, init: {}}\n', r"a.yaml:18: recipe.init: 'heads_then_all' keeps a pretrained backbone"),
        ('recipe: {name: gradual_unfreeze, init: {backbone: imagenet}}\n', r'a.yaml:18: recipe.freeze_up_to: missing'),
        (
            'recipe: {name: end_to_end, init: {bakbone: imagenet}}\n',
            r"recipe.init.bakbone: no module .*Did you mean 'backbone'\?",
        ),
        ('recipe: {name: end_to_end, init: {}, loss_weights: {rpn: 1.0}}\n', r'recipe.loss_weights.rpn: no loss of faster_rcnn'),
        ('recipe: {name: end_to_end, init: {}, stages: {all: {}}}\n', r'a.yaml:18: recipe.stages.all: no stage .* here: joint\.'),
        (
            'recipe:\n  name: end_to_end\n  init: {}\n  stages:\n    joint:\n      sed: 3\n',
            r'a.yaml:23: stages\[0\].sed: unknown key',
        ),
        ('recipe: {name: end_to_end, init: {}, stages: {joint: {name: a}}}\n', r'recipe.stages.joint.name: .* keep their names'),
        ('recipe: end_to_end\nstages: []\n', r'a.yaml:18: recipe: found beside stages \(.*a.yaml:19\)'),
        ('recipe: [end_to_end]\n', r'a.yaml:18: recipe: found a list of 1; expected a mapping'),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told_with_its_line(load: Load, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(replace=with_recipe(text))


def test_a_recipe_needs_a_detector(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"a.yaml:2: model.type: found 'faster', known here: .*faster_rcnn"):
        load(replace={**with_recipe('recipe: {name: end_to_end, init: {}}\n'), 'type: faster_rcnn': 'type: faster'})


def test_every_recipe_that_a_file_may_name_is_there() -> None:
    assert set(recipes.available(specs.detector('faster_rcnn'))) == set(typing.get_args(schema.RecipeName))
