"""Every key of a pipeline file, found in the schema itself: a key that is added to it is in every test that walks over them."""

from __future__ import annotations

import copy
import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union

import pydantic

from stagetrain.config import options
from tests.fakes import project

Path = tuple[str | int, ...]
LAST_STAGE: Path = ('stages', 3)


def document() -> dict[str, Any]:
    """Returns a resolved pipeline with every part that may be left out, and origins in their long form."""
    loaded = copy.deepcopy(_plain_document())
    stage = loaded['stages'][3]
    stage['train'] |= {'validation_interval': 2, 'warmup': {'type': 'linear', 'linear': {'warmup_steps': 2}}}
    stage['features'] = {'store': 'auto', 'views': 2}
    stage['init'] = {module: {'from': origin} for module, origin in stage['init'].items()}
    return loaded


@functools.cache
def _plain_document() -> dict[str, Any]:
    return project.make_document()


def changed(changes: Mapping[Path, Any]) -> dict[str, Any]:
    """Returns the document with other values at some paths."""
    result = document()
    for path, value in changes.items():
        place: Any = result
        for key in path[:-1]:
            place = place[key] if isinstance(key, int) else place.setdefault(key, {})
        place[path[-1]] = copy.deepcopy(value)
    return result


def keys(value: pydantic.BaseModel, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yields path and annotation of every key of a pipeline; of stages the last, of choices the chosen branch."""
    for name, field in type(value).model_fields.items():
        inner, key = getattr(value, name), field.alias or name
        if isinstance(value, options.OneOf) and name not in ('type', value.type):
            continue
        if name != 'compare':  # Its stages are like the others.
            yield (*path, key), field.rebuild_annotation()
            yield from _inside(inner, (*path, key))


def _inside(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, pydantic.BaseModel):
        yield from keys(value, path)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(item, (*path, key))
    elif path == ('stages',):
        yield from keys(value[-1], (*path, len(value) - 1))


def leaves(pipeline: pydantic.BaseModel) -> Iterator[tuple[Path, Any, Any]]:
    """Yields path, annotation and value of every key that holds no other keys."""
    for path, annotation in keys(pipeline):
        value = functools.reduce(_step, path, pipeline)
        if not isinstance(value, pydantic.BaseModel) and path not in (('stages',), ('sources',), (*LAST_STAGE, 'init')):
            yield path, annotation, value


def _step(value: Any, key: str | int) -> Any:
    if isinstance(value, pydantic.BaseModel):
        return next(getattr(value, name) for name, field in type(value).model_fields.items() if key in (name, field.alias))
    return value[key]


def kinds(annotation: Any) -> set[Any]:
    """Returns the plain types that a key takes; a `Literal` takes no text of ours."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return kinds(args[0])
    if origin in (Union, types.UnionType):
        return {kind for argument in args for kind in kinds(argument)}
    if origin is Literal:
        return set()
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return set()
    kind = origin or annotation
    return {int, float} if kind is float else set() if kind in (list, dict) else {kind}


def is_number(annotation: Any) -> bool:
    return bool(kinds(annotation) & {int, float})
