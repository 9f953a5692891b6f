"""The Model Garden's options as strict types, without importing TensorFlow.

`model_garden.json` (made by `scripts/generate_model_garden_options.py`) describes the Model Garden's config dataclasses; this
module turns a description into a pydantic model that refuses unknown keys, wrong types and values out of range (`ranges`).

    FasterRcnnOptions = options_model('faster_rcnn')
    FasterRcnnOptions.model_validate({'rpn_head': {'num_convs': 1}})
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Optional, Union

import pydantic

from stagetrain.config import ranges
from stagetrain.errors import known_names, suggestion

DESCRIPTION_FILE = pathlib.Path(__file__).with_name('model_garden.json')
BACKBONE = 'vision.configs.backbones.Backbone'
# Backbones registered by stagetrain or a plugin: name in `backbone.type` -> the model of their options.
_registered_backbones: dict[str, type[pydantic.BaseModel]] = {}


class Strict(pydantic.BaseModel):
    """A part of a pipeline file: unknown keys and wrong types are refused, values do not change after loading."""

    model_config = pydantic.ConfigDict(
        extra='forbid', strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False, protected_namespaces=()
    )


class _Generated(Strict):
    """A type made at run time: it has no source text to look for documentation in, and looking costs half a second."""

    model_config = pydantic.ConfigDict(use_attribute_docstrings=False)


class OneOf(_Generated):
    """A choice in the Model Garden's way: `type` names the branch whose options count; other branches may not be given."""

    type: str | None = None

    @pydantic.model_validator(mode='after')
    def _only_the_chosen_branch(self) -> OneOf:
        branches = set(type(self).model_fields) - {'type'}
        chosen = self.type
        if chosen is not None and chosen not in branches:
            raise ValueError(f"type: found '{chosen}', expected one of {known_names(branches)}.{suggestion(chosen, branches)}")
        for name in sorted((self.model_fields_set & branches) - {chosen}):
            found = f"type is '{chosen}'" if chosen else 'type is not given'
            raise ValueError(f"options of '{name}' are given, but {found}: remove them or set type: {name}")
        return self


def register_backbone_options(name: str, options: type[pydantic.BaseModel]) -> None:
    """Makes `backbone: {type: NAME, NAME: {...}}` valid in types that are made from now on."""
    _registered_backbones[name] = options
    _class_model.cache_clear()
    options_model.cache_clear()


@functools.cache
def options_model(root: str, exclude: tuple[str, ...] = ()) -> type[Strict]:
    """Returns the strict type of a root of `model_garden.json` (e.g. `faster_rcnn`), less the fields in `exclude`.

    Raises:
      KeyError: `root` is not described.
    """
    return _class_model(_description()['roots'][root], exclude)


def experiment_tasks() -> Mapping[str, str]:
    """Returns name of an experiment of the Model Garden -> the class of its task's config."""
    return _description()['experiments']


def experiment_task(name: str) -> type[Strict]:
    """Returns the strict type of an experiment's task.

    Raises:
      KeyError: the Model Garden has no experiment of that name.
    """
    return _class_model(experiment_tasks()[name])


@functools.cache
def _description() -> dict[str, Any]:
    return json.loads(DESCRIPTION_FILE.read_text(encoding='utf-8'))


@functools.cache
def _class_model(key: str, exclude: tuple[str, ...] = ()) -> type[Strict]:
    description = _description()['classes'][key]
    fields: dict[str, Any] = {name: _field(name, field) for name, field in description['fields'].items() if name not in exclude}
    if key == BACKBONE:
        fields.update(
            {name: (options, pydantic.Field(default_factory=options)) for name, options in _registered_backbones.items()}
        )
    base = OneOf if description['one_of'] else _Generated
    return pydantic.create_model(key.rsplit('.', 1)[1], __base__=base, __module__=f'model_garden.{key}', **fields)


def _field(name: str, field: Mapping[str, Any]) -> tuple[Any, Any]:
    annotation = _annotation(name, field['type'])
    if 'default' not in field:  # A nested config: its default is that of its own fields.
        parts = field['type'].get('union', [field['type']])
        nested = [part['config'] for part in parts if 'config' in part]
        return annotation, pydantic.Field(default_factory=_class_model(nested[0]) if nested else dict)
    default = field['default']
    if default is None:
        annotation = Optional[annotation]  # The Model Garden leaves `Optional` out in places.
    if isinstance(default, (list, dict)):
        return annotation, pydantic.Field(default_factory=functools.partial(json.loads, json.dumps(default)))
    return annotation, default


def _annotation(name: str, description: Any) -> Any:
    if isinstance(description, str):
        return _plain(name, {'bool': bool, 'int': int, 'float': float, 'str': str, 'null': type(None), 'any': Any}[description])
    if 'list' in description:
        return list[_annotation(name, description['list'])]  # type: ignore[misc]
    if 'union' in description:
        return Union[tuple(_annotation(name, part) for part in description['union'])]
    if 'config' in description:
        return _class_model(description['config'])
    return dict[str, Any]


def _plain(name: str, kind: Any) -> Any:
    """Narrows numbers and words to what makes sense (`ranges`)."""
    constraint, choices = ranges.constraint(name), ranges.choices(name)
    if constraint and kind in (int, float):
        return Annotated[kind, pydantic.Field(**constraint)]
    return Literal[choices] if choices and kind is str else kind
