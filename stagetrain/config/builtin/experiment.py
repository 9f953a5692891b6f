"""Any experiment of the Model Garden as a network that stages train: its options and their rules, without TensorFlow.

    models:
      classifier:
        type: experiment
        name: image_classification
        modules: [backbone, head]
        input: crops
        overrides: {task: {model: {num_classes: 3, input_size: [64, 64, 3], backbone: {type: mobilenet}}}}

`config/model_garden/` has the experiments' names and the keys and types of their tasks.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from stagetrain.config import model_garden, options, specs
from stagetrain.config.contracts import CodePlace
from stagetrain.config.model_garden.experiments import TASKS
from stagetrain.config.validation import problems_of
from stagetrain.errors import known_names, suggestion

Problem = tuple[tuple[str | int, ...], str]

TYPE = 'experiment'
"""What `type` of a model says."""
TERM = 'loss'
"""The one loss term of an experiment: the task's own loss, as the task weighs its parts, without regularisation."""
_CLASSIFICATION = 'image_classification:ImageClassificationTask'
_WITHOUT_CLASSES = ('backbone', 'decoder')
_NOT_HERE = {
    'init_checkpoint': "weights come from a stage's `init`",
    'init_checkpoint_modules': "weights come from a stage's `init`",
    'freeze_backbone': "a stage's freeze_variables says what rests",
}


class Crops(options.Strict):
    """How objects are cut out of the training images, to be classified."""

    margin: Annotated[float, Field(ge=0)] = 0.1
    """What is added on each side, as a part of the box's height and width."""
    flip_horizontal: bool = True
    """Mirror every second crop, by chance, in training."""


class Experiment(options.NetworkOptions):
    """An experiment of the Model Garden, trained through its own task: its model, its losses, and its input if asked for."""

    type: Literal['experiment']
    name: str
    """What `official.core.exp_factory` knows it as, e.g. image_classification, retinanet_resnetfpn_coco."""
    modules: Annotated[list[Annotated[str, StringConstraints(pattern=r'^[a-z][a-z0-9_]*$')]], Field(min_length=1)]
    """The parts that are handed on, in network order: those of the model's `checkpoint_items`, and at most one more name for
    the layers that stand in none of them."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """What differs from the experiment's own config, in the form of the Model Garden's files: `task: {...}`. Loss weights,
    `losses.l2_weight_decay` and the like stand here; loss weights of stages know one term, `loss`."""
    input: Literal['crops', 'task'] = 'task'
    """`crops`: objects cut out of the pipeline's own images, for an image classification. `task`: what the task itself reads,
    from `task.train_data.input_path` and `task.validation_data.input_path`."""
    crops: Crops = Field(default_factory=Crops)
    """With `input: crops`."""

    @property
    def task(self) -> Mapping[str, Any]:
        """What differs from the experiment's own task."""
        return self.overrides.get('task') or {}

    @property
    def input_size(self) -> list[int] | None:
        """Height, width and channels of its images, where the overrides tell."""
        return (self.task.get('model') or {}).get('input_size')

    @property
    def crop_size(self) -> list[int]:
        """With `input: crops`: height, width and channels of a crop, which `rules` demands."""
        assert self.input_size is not None
        return self.input_size


def task_options(name: str) -> type[options.Strict]:
    """Returns the type of an experiment's task.

    Raises:
      KeyError: the Model Garden has no experiment of that name.
    """
    module, task = TASKS[name].split(':')
    return getattr(importlib.import_module(f'{model_garden.__name__}.{module}'), task)


def input_patterns(model: Experiment) -> tuple[str, ...]:
    """Returns the file patterns that an experiment's own task reads; none when it is given crops."""
    if model.input == 'crops':
        return ()
    return tuple(pattern for _, pattern in _paths(model))


def rules(model: Experiment, num_classes: int) -> Iterator[Problem]:
    """Yields what is wrong in an experiment's options, as (path below the model, text).

    Args:
      model: the options.
      num_classes: classes of the pipeline's data.
    """
    if model.name not in TASKS:
        yield ('name',), f"no experiment '{model.name}'. Known here: {known_names(TASKS)}.{suggestion(model.name, TASKS)}"
        return
    for key in sorted(set(model.overrides) - {'task'}):
        yield ('overrides', key), 'only `task` can be overridden; a stage says how it is trained, `runtime` on what'
    for path, text in problems_of(model.task, task_options(model.name)):
        yield ('overrides', 'task', *path), text
    for key in sorted(set(model.task) & set(_NOT_HERE)):
        yield ('overrides', 'task', key), f'has no effect: {_NOT_HERE[key]}; remove it'
    yield from (_crops if model.input == 'crops' else _own_input)(model, num_classes)


def _crops(model: Experiment, num_classes: int) -> Iterator[Problem]:
    path = ('overrides', 'task', 'model')
    if TASKS[model.name] != _CLASSIFICATION:
        yield ('input',), f"found 'crops', which are classified; {model.name} is no image classification, so use input: task"
        return
    size = model.input_size
    if not isinstance(size, list) or len(size) != 3 or size[2] != 3:
        yield (*path, 'input_size'), f'found {size}; expected [height, width, 3], the size of a crop'
    found = (model.task.get('model') or {}).get('num_classes')
    if found != num_classes:
        yield (*path, 'num_classes'), f'found {found}; expected {num_classes}, the number of data.classes'


def _own_input(model: Experiment, num_classes: int) -> Iterator[Problem]:
    del num_classes
    given = list(_paths(model))
    for part in ('train_data', 'validation_data'):
        path = ('overrides', 'task', part, 'input_path')
        patterns = [pattern for where, pattern in given if where == part]
        if not patterns:
            yield path, 'missing: with `input: task` the task reads its own files'
        for pattern in patterns:
            if not os.path.isabs(pattern):
                yield path, f"found '{pattern}'; expected an absolute path, e.g. by ${{NAME}}"


def _paths(model: Experiment) -> Iterator[tuple[str, str]]:
    """Yields (part, pattern) of the input files; the Model Garden takes a list, or text with commas."""
    for part in ('train_data', 'validation_data'):
        found = (model.task.get(part) or {}).get('input_path') or []
        patterns: Sequence[str] = found.split(',') if isinstance(found, str) else list(found)
        yield from ((part, pattern) for pattern in patterns)


def _with_modules(spec: specs.DetectorSpec, model: Experiment) -> specs.DetectorSpec:
    modules = tuple(model.modules)
    # What classifies crops has the classes of the data; which layers of a task's own network do is not known.
    of_classes = tuple(module for module in modules if module not in _WITHOUT_CLASSES) if model.input == 'crops' else ()
    loss_modules = dict.fromkeys(spec.loss_modules, modules)
    return dataclasses.replace(spec, modules=modules, loss_modules=loss_modules, class_modules=of_classes)


specs.register_detector(
    specs.DetectorSpec(
        name=TYPE,
        options=Experiment,
        modules=(),
        loss_modules={TERM: ()},
        implementation=CodePlace('stagetrain.detectors.experiment:Experiment'),
        rules=rules,
        input=CodePlace('stagetrain.training.experiment:ExperimentInput'),
        evaluator=CodePlace('stagetrain.training.experiment:ExperimentEvaluator'),
        adapt=_with_modules,
    )
)
