"""Stages that train another network than the pipeline's, and experiments of the Model Garden, checked without TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stagetrain.config import specs
from stagetrain.config.builtin import experiment
from stagetrain.config.check import check_pipeline
from stagetrain.config.contracts import CodePlace
from stagetrain.config.stages import model_as_built, stage_modules
from stagetrain.errors import ConfigError

MODELS = """\
models:
  classifier:
    type: experiment
    name: image_classification
    modules: [backbone, top]
    input: crops
    overrides:
      task:
        model: {num_classes: 2, input_size: [32, 32, 3], backbone: {type: mobilenet, mobilenet: {model_id: MobileNetV2}}}
        losses: {label_smoothing: 0.1}
sources:
"""
STAGE = """\
stages:
  - name: classify
    model: classifier
    loss_weights: {loss: 1.0}
"""


def loaded(load: Any, *overrides: str, replace: dict[str, str] | None = None) -> Any:
    changes = {'sources:\n': MODELS, 'stages:\n': STAGE, 'init: {backbone: imagenet}': 'init: {backbone: classify}'}
    found = load(*overrides, replace=changes | (replace or {}))
    check_pipeline(found)
    return found


def test_a_stage_holds_the_modules_of_the_network_that_it_names(load: Any) -> None:
    pipeline = loaded(load).pipeline
    classify, rpn, _ = pipeline.stages
    assert stage_modules(pipeline, classify) == ('backbone', 'top')
    assert stage_modules(pipeline, rpn) == ('backbone', 'decoder', 'rpn_head')
    assert model_as_built(pipeline, classify).name == 'image_classification'
    assert model_as_built(pipeline, rpn) == pipeline.model


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('model: classifier', 'model: clasifier', r"stages\[0\]\.model: no model 'clasifier'.*Did you mean 'classifier'\?"),
        ('name: image_classification', 'name: image_clasification', r"models\.classifier\.name: no experiment 'image_clas"),
        ('label_smoothing: 0.1', 'label_smothing: 0.1', r"losses\.label_smothing: unknown key.*Did you mean 'label_smoothing'\?"),
        ('label_smoothing: 0.1', 'label_smoothing: a', r"losses\.label_smoothing: found 'a' \(text\); expected a number"),
        ('{type: mobilenet, mob', '{type: mobilenett, mob', r"backbone\.type: found 'mobilenett'.*Did you mean 'mobilenet'\?"),
        ('      task:\n', '      trainer: {}\n      task:\n', r'overrides\.trainer: only `task` can be overridden'),
        ('losses: {', 'init_checkpoint: x\n        losses: {', r"init_checkpoint: has no effect: .*a stage's `init`"),
        ('num_classes: 2', 'num_classes: 3', r'num_classes: found 3; expected 2, the number of data\.classes'),
        ('[32, 32, 3]', '[32, 32]', r'input_size: found \[32, 32\]; expected \[height, width, 3\]'),
        ('name: image_classification', 'name: retinanet', r"classifier\.input: found 'crops'.*so use input: task"),
        ('input: crops', 'input: task', r'train_data\.input_path: missing: with `input: task` the task reads its own files'),
        ('loss_weights: {loss: 1.0}', 'loss_weights: {los: 1.0}', r"loss_weights\.los: no loss of experiment.*'loss'"),
        ('backbone: classify', 'decoder: classify', r"init\.decoder: stage 'classify' holds no decoder, only"),
        ('model: classifier', 'model: classifier\n    features: disk', r'features: nothing of a network of type experiment'),
        ('model: classifier', 'model: classifier\n    proposals: {from: a}', r'proposals: experiment takes no proposals'),
        ('{from: rpn}', '{from: classify}', r"stage 'classify' holds no decoder, rpn_head, so it has no proposals to give"),
    ],
)  # fmt: skip
def test_what_an_experiment_cannot_do_is_refused(load: Any, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(load, replace={old: new})


def test_epochs_of_an_own_input_are_refused(load: Any) -> None:
    with pytest.raises(ConfigError, match=r'epochs: a stage of type experiment has an input of its own; say how many steps'):
        loaded(load, 'stages.classify.train.steps=null', 'stages.classify.train.epochs=2.0')


def test_files_of_an_own_input_are_named_by_absolute_patterns() -> None:
    task = {'train_data': {'input_path': '/data/a*,b*'}, 'validation_data': {'input_path': '/data/c'}}
    values = {'type': 'experiment', 'name': 'retinanet', 'modules': ['backbone'], 'overrides': {'task': task}}
    model = experiment.Experiment.model_validate(values)
    assert experiment.input_patterns(model) == ('/data/a*', 'b*', '/data/c')
    assert list(experiment.rules(model, 2)) == [
        (('overrides', 'task', 'train_data', 'input_path'), "found 'b*'; expected an absolute path, e.g. by ${NAME}")
    ]


def test_a_network_with_an_input_of_its_own_needs_an_evaluator_too() -> None:
    spec = dataclasses.replace(specs.detector('experiment'), name='half', evaluator=CodePlace(''))
    with pytest.raises(
        ConfigError, match=r"detector 'half': found input '.*ExperimentInput', evaluator ''; expected both, or neither"
    ):
        specs.register_detector(spec)


def test_detection_classification_and_segmentation_experiments_are_known() -> None:
    assert {'image_classification', 'retinanet_resnetfpn_coco', 'semantic_segmentation'} <= set(experiment.TASKS)
    assert {'model', 'losses', 'train_data'} <= set(experiment.task_options('retinanet_resnetfpn_coco').model_fields)
    assert specs.detector('experiment').detection_modules == ()


def test_a_recipe_cannot_know_an_experiments_modules(load: Any) -> None:
    text = {'type: faster_rcnn': 'type: experiment', 'stages:\n': 'recipe: end_to_end\nnone:\n'}
    with pytest.raises(ConfigError, match=r'recipe: the modules of experiment are those that its options name; write `stages`'):
        load(replace=text)
