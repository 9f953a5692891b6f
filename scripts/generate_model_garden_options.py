"""Writes `stagetrain/config/model_garden.json`: the names, types and defaults of the Model Garden's options.

The Model Garden describes its options as dataclasses that cannot be read without importing TensorFlow, accept wrong
types, and swallow unknown keys inside lists. This script walks those dataclasses once, so that a pipeline file is checked
in milliseconds and without TensorFlow. `tests/config/test_model_garden.py` fails when the file no longer equals the
installed Model Garden.

    python scripts/generate_model_garden_options.py            # rewrites the file
    python scripts/generate_model_garden_options.py OTHER      # writes another one
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import types
import typing

import official.vision  # noqa: F401  Registers the experiments.
from official.core import exp_factory
from official.modeling import hyperparams
from official.modeling.hyperparams import oneof
from official.modeling.optimization.configs import optimization_config
from official.vision.configs import maskrcnn, retinanet

OUTPUT = pathlib.Path(__file__).parents[1] / 'stagetrain' / 'config' / 'model_garden.json'
ROOTS = {
    'faster_rcnn': maskrcnn.MaskRCNN,
    'faster_rcnn_losses': maskrcnn.Losses,
    'faster_rcnn_parser': maskrcnn.Parser,
    'retinanet': retinanet.RetinaNet,
    'retinanet_losses': retinanet.Losses,
    'retinanet_parser': retinanet.Parser,
    'optimization': optimization_config.OptimizationConfig,
}


def describe_type(hint: object, classes: dict[str, object]) -> object:
    """Returns the JSON form of one annotation: a scalar's name, `{"list": ...}`, `{"union": [...]}` or `{"config": NAME}`."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return {'union': [describe_type(arg, classes) for arg in typing.get_args(hint)]}
    if origin in (list, tuple, typing.get_origin(typing.Sequence[int])):
        args = [arg for arg in typing.get_args(hint) if arg is not Ellipsis]
        return {'list': describe_type(args[0], classes) if args else 'any'}
    if origin is dict:
        return {'dict': True}
    if hint is type(None):
        return 'null'
    if hint in (bool, int, float, str):
        return hint.__name__
    if isinstance(hint, type) and issubclass(hint, hyperparams.Config):
        describe_class(hint, classes)
        return {'config': class_key(hint)} if dataclasses.fields(hint) else {'dict': True}
    return 'any'


def class_key(config_class: type) -> str:
    """Returns a name unique in the Model Garden: several of its files define a `Parser` or a `Losses`."""
    return f'{config_class.__module__.removeprefix("official.")}.{config_class.__name__}'


def describe_class(config_class: type, classes: dict[str, object]) -> None:
    """Adds one dataclass, and those it refers to, to `classes`."""
    key = class_key(config_class)
    if key in classes:
        return
    classes[key] = None
    hints = typing.get_type_hints(config_class)
    instance = config_class()
    fields = {}
    for field in dataclasses.fields(config_class):
        default = getattr(instance, field.name)
        fields[field.name] = {'type': describe_type(hints[field.name], classes)}
        if not isinstance(default, hyperparams.Config):
            fields[field.name]['default'] = default
    classes[key] = {'fields': fields, 'one_of': issubclass(config_class, oneof.OneOfConfig)}


def experiment_tasks() -> dict[str, type]:
    """Returns name -> class of the task's config, of every experiment that `official.vision` registers."""
    return {name: type(create().task) for name, create in sorted(exp_factory._REGISTERED_CONFIGS.items())}


def describe() -> dict[str, object]:
    """Returns the whole description: `{"roots": {name: class}, "experiments": {name: class}, "classes": {class: {"fields",
    "one_of"}}}`."""
    classes: dict[str, object] = {}
    tasks = experiment_tasks()
    for root in (*ROOTS.values(), *tasks.values()):
        describe_class(root, classes)
    return {
        'roots': {name: class_key(root) for name, root in ROOTS.items()},
        'experiments': {name: class_key(task) for name, task in tasks.items()},
        'classes': classes,
    }


if __name__ == '__main__':
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT
    output.write_text(json.dumps(describe(), indent=1, sort_keys=True, default=lambda config: config.as_dict()) + '\n')
