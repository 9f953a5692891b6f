"""Values of a pipeline file against the schema, with file and line in every error.

pipeline = validate(node, pipeline_type())
"""

from __future__ import annotations

import pathlib
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, Union

import pydantic

from stagetrain.config import document
from stagetrain.config.document import Node, Place
from stagetrain.config.options import UNKNOWN_BRANCH, OneOf
from stagetrain.errors import ConfigError, known_names, suggestion

Model = TypeVar('Model', bound=pydantic.BaseModel)
Path = tuple[str | int, ...]

MAX_PROBLEMS = 50
_EXPECTED = {
    'bool_type': 'true or false',
    'dict_type': 'a mapping',
    'float_type': 'a number',
    'int_from_float': 'an integer',
    'int_type': 'an integer',
    'list_type': 'a list',
    'model_attributes_type': 'a mapping',
    'model_type': 'a mapping',
    'string_pattern_mismatch': 'a name of small letters, digits and _ that starts with a letter',
    'string_type': "text (a number or true as text goes in quotes: '49')",
}
_MISSING = 'missing, and has no default'
_KINDS = {bool: 'true/false', int: 'integer', float: 'number', str: 'text'}


class Problem(NamedTuple):
    """What is wrong at a place of a file."""

    path: Path
    place: Place
    text: str
    kind: str
    """Pydantic's word for it."""

    def __str__(self) -> str:
        return f'{self.place}: {document.show_path(self.path) or "the file"}: {self.text}'


class Invalid(NamedTuple):
    """Why values do not have a type."""

    problems: list[Problem]
    error: pydantic.ValidationError


def validate(node: Node, model: type[Model], more_keys: Iterable[str] = ()) -> Model:
    """Returns `node` as `model`; see `validated`.

    Raises:
      ConfigError: Everything that is wrong, each with file, line, path, what was found and what was expected.
    """
    result = validated(node, model, more_keys)
    if isinstance(result, Invalid):
        raise_problems(map(str, result.problems), result.error)
    return result


def validated(node: Node, model: type[Model], more_keys: Iterable[str] = ()) -> Model | Invalid:
    """Returns `node` as `model`, or what is wrong in it.

    Args:
      node: The values, with places.
      model: The type they must have.
      more_keys: Keys that may stand at top level besides the model's own; shown among the known ones.
    """
    try:
        return model.model_validate(document.plain(node))
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False)
        return Invalid([Problem(*_problem(detail, node, model, tuple(more_keys)), detail['type']) for detail in details], error)


def problems_of(value: Mapping[str, Any], model: type[pydantic.BaseModel]) -> list[tuple[Path, str]]:
    """Returns what is wrong in a plain value that should be a `model`, each as its path inside the value and a text."""
    result = validated(document.from_plain(dict(value), Place('', None, pathlib.Path())), model)
    return [(problem.path, problem.text) for problem in result.problems] if isinstance(result, Invalid) else []


def raise_problems(problems: Iterable[str], cause: BaseException | None = None) -> typing.NoReturn:
    """Raises one `ConfigError` that lists the problems."""
    lines = list(dict.fromkeys(problems))
    rest = [f'... and {len(lines) - MAX_PROBLEMS} more'] if len(lines) > MAX_PROBLEMS else []
    raise ConfigError('\n'.join(lines[:MAX_PROBLEMS] + rest)) from cause


def _problem(
    detail: Mapping[str, Any], root: Node, model: type[pydantic.BaseModel], more_keys: tuple[str, ...]
) -> tuple[Path, Place, str]:
    """Returns where one error of pydantic's stands, and what is wrong there."""
    path, node = _locate(root, detail['loc'])
    last = str(detail['loc'][-1]) if detail['loc'] else ''
    if detail['type'] == 'missing':
        return (*path, last), node.place, _MISSING
    if detail['type'] == 'extra_forbidden':
        known = {*_known_keys(model, detail['loc'][:-1]), *(more_keys if len(path) == 1 else ())}
        return path, node.place, f'unknown key. Known here: {known_names(known)}.{suggestion(last, known)}'
    if detail['type'] == 'value_error':
        return path, node.place, detail['msg'].removeprefix('Value error, ')
    if detail['type'] == UNKNOWN_BRANCH:
        return _type_problem(detail['msg'], path, node)
    if detail['type'] == 'union_tag_not_found':
        return _missing_type(path, node)
    if detail['type'] == 'union_tag_invalid':
        tags = {tag.strip("'") for tag in detail['ctx']['expected_tags'].split(', ')}
        found = f'found {_show(detail["ctx"]["tag"])}, expected one of {known_names(tags)}.'
        return _type_problem(f'{found}{suggestion(detail["ctx"]["tag"], tags)}', path, node)
    expected = _EXPECTED.get(detail['type']) or detail['msg'].removeprefix('Input should be ').removeprefix('a valid ')
    if expected == 'a mapping' and (types_there := _types(_candidates(model, detail['loc']))):
        expected = _choice(detail['input'], types_there)
    if expected == 'a list' and isinstance(detail['input'], str | int | float):
        expected = f'a list, such as [{detail["input"]!r}]'
    if detail['type'] == 'too_short':
        expected = f'at least {detail["ctx"]["min_length"]}'
    nearest = suggestion(str(detail['input']), _choices(detail)) if detail['type'] == 'literal_error' else ''
    return path, node.place, f'found {_show(detail["input"])}; expected {expected}{"." if nearest else ""}{nearest}'


def _choice(found: Any, types: Collection[str]) -> str:
    """Returns what stands for a choice by `type`, where something else than a mapping was found."""
    if isinstance(found, str) and found in types:
        return f'a mapping: {{type: {found}}}'
    nearest = suggestion(found, types) if isinstance(found, str) else ''
    return f'a mapping whose type is one of {known_names(types)}{nearest and "."}{nearest}'


def _type_problem(text: str, path: Path, node: Node) -> tuple[Path, Place, str]:
    """A choice reports on its mapping; the reader looks at the line with the wrong `type`."""
    return (*path, 'type'), node.value['type'].place, text


def _missing_type(path: Path, node: Node) -> tuple[Path, Place, str]:
    """What a mapping that is a choice by `type` lacks; without it no other key of the mapping can be judged."""
    for key, value in node.value.items():
        if suggestion(str(key), ['type']):
            return (*path, key), value.place, "unknown key. Did you mean 'type'?"
    return (*path, 'type'), node.place, _MISSING


def _locate(root: Node, location: tuple[str | int, ...]) -> tuple[Path, Node]:
    """Follows pydantic's location as far as the file goes; names of union members in it lead nowhere and are left out."""
    path: Path = ()
    node = root
    for part in location:
        if part in _keys(node):
            path, node = (*path, part), node.value[part]
    return path, node


def _keys(node: Node) -> Collection[str | int]:
    return range(len(node.value)) if isinstance(node.value, list) else node.value if isinstance(node.value, dict) else ()


def _known_keys(model: type[pydantic.BaseModel], location: tuple[str | int, ...]) -> set[str]:
    """Returns the keys known at pydantic's location; in a choice by `type` only those of the type that was chosen."""
    return {key for candidate in _candidates(model, location) if _is_model(candidate) for key in _fields(candidate)}


def _types(candidates: Collection[Any]) -> set[str]:
    """Returns the types of a choice by `type`: a class for each, or one with a field for each; none where it is no choice."""
    models = [candidate for candidate in candidates if _is_model(candidate) and 'type' in candidate.model_fields]
    if len(models) > 1:
        return {tag for tag in map(_tag, models) if tag is not None}
    return {name for candidate in models if issubclass(candidate, OneOf) for name in _fields(candidate)} - {'type'}


def _candidates(model: type[pydantic.BaseModel], location: tuple[str | int, ...]) -> list[Any]:
    """Returns the types that a value at pydantic's location may have."""
    candidates: list[Any] = [model]
    for part in location:
        chosen = [candidate for candidate in candidates if _is_model(candidate) and _tag(candidate) == part]
        inner = [inner for candidate in candidates for inner in _inside(candidate, part)]
        candidates = chosen or inner or candidates  # Names of other union members lead nowhere.
    return candidates


def _tag(model: type[pydantic.BaseModel]) -> str | None:
    """Returns the one value that the field `type` of a member of a choice may have."""
    values = typing.get_args(model.model_fields['type'].annotation) if 'type' in model.model_fields else ()
    return values[0] if len(values) == 1 else None


def _inside(annotation: Any, part: str | int) -> list[Any]:
    """Returns the types that a value of type `annotation` may have under a key or index."""
    if _is_model(annotation):
        return _members(_fields(annotation).get(str(part)))
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    return _members(args[-1]) if origin in (list, dict) and args else []


def _members(annotation: Any) -> list[Any]:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _members(args[0])
    if origin in (Union, types.UnionType):
        return [member for arg in args for member in _members(arg)]
    return [annotation]


def _fields(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def _choices(detail: Mapping[str, Any]) -> list[str]:
    return [part.strip("' ") for part in detail['ctx']['expected'].replace(' or ', ', ').split(',')]


def _show(value: Any) -> str:
    if value is None:
        return 'nothing (null)'
    if isinstance(value, dict):
        return f'a mapping with {known_names(str(key) for key in value)}'
    if isinstance(value, list):
        return f'a list of {len(value)}'
    text = repr(value)
    return f'{text if len(text) <= 80 else text[:77] + "..."} ({_KINDS.get(type(value), type(value).__name__)})'
