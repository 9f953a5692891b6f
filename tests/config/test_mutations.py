"""Every key of a pipeline file, with a value of each wrong type, one out of range, or misspelt, is refused: 0 silent accepts."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic
import pytest

from stagetrain.config import check, document, load, model_garden, ranges, schema, specs
from stagetrain.errors import ConfigError
from tests.fakes import every_key
from tests.fakes.every_key import Path

VALUES: dict[Any, Any] = {
    bool: True,
    int: 7,
    float: 1.5,
    str: 'nonsense',
    list: [[]],
    dict: {'nonsense': []},
    types.NoneType: None,
}
"""A value of each type; as text, a list or a mapping it is right nowhere."""
NUM_AT_ONCE = 40
"""Changes made at once: a refusal lists at most 50 problems."""
ANY_NUMBER = {'beta_2_decay', 'power'}
"""Numbers without a bound."""
FREE_TEXT = {
    *('name', 'activation', 'best_metric', 'images', 'keras_h5', 'class_file', 'path', 'split', 'stage', 'classes'),
    *('ignore_classes', 'plugins', 'freeze_up_to', 'run', 'checkpoint', 'saved_model', 'tf1_checkpoint', 'model_id'),
}
"""Words that only the data, the files or the built network can judge; all are judged before the first step or evaluation."""


@pytest.fixture(scope='module')
def pipeline() -> schema.PipelineBase:
    return accepted(every_key.document())


def accepted(resolved: dict[str, Any]) -> schema.PipelineBase:
    loaded = load.load_resolved(resolved)
    check.check_pipeline(loaded)
    return loaded.pipeline


def refusals(changes: Mapping[Path, Any]) -> dict[str, str | None]:
    """Returns for each change, made with others at a time, what is said to its key; None when it is taken."""
    leaves = [path for path in changes if not any(path == other[: len(path)] != other for other in changes)]
    groups = [leaves[start : start + NUM_AT_ONCE] for start in range(0, len(leaves), NUM_AT_ONCE)]
    groups += [[path] for path in changes if path not in leaves]
    said = {path: line for group in groups for path, line in _said({path: changes[path] for path in group}).items()}
    for path in changes:
        if said[path] is None:  # What is found across keys is told only when every key for itself is right.
            said[path] = _said({path: changes[path]})[path]
    return {document.show_path(path): said[path] for path in changes}


def _said(changes: Mapping[Path, Any]) -> dict[Path, str | None]:
    try:
        accepted(every_key.changed(changes))
    except ConfigError as error:
        lines = str(error).splitlines()
        if len(changes) == 1:
            return dict.fromkeys(changes, lines[0])
        return {path: next((line for line in lines if f': {document.show_path(path)}: ' in line), None) for path in changes}
    return dict.fromkeys(changes)


def accepted_ones(said: Mapping[str, str | None]) -> list[str]:
    return [path for path, line in said.items() if line is None]


@pytest.mark.parametrize('kind', VALUES)
def test_a_value_of_a_wrong_type_is_refused(pipeline: schema.PipelineBase, kind: Any) -> None:
    wrong = [
        path for path, annotation in every_key.keys(pipeline) if annotation is not Any and kind not in every_key.kinds(annotation)
    ]
    said = refusals(dict.fromkeys(wrong, VALUES[kind]))
    assert len(said) > 60
    assert accepted_ones(said) == []


def test_a_number_out_of_range_is_refused(pipeline: schema.PipelineBase) -> None:
    numbers = [
        path for path, annotation in every_key.keys(pipeline) if every_key.is_number(annotation) and path[-1] not in ANY_NUMBER
    ]
    said = refusals(dict.fromkeys(numbers, -(10**9)))
    assert len(said) > 70
    assert accepted_ones(said) == []


def test_a_word_that_is_not_known_is_refused(pipeline: schema.PipelineBase) -> None:
    texts = [
        path for path, annotation in every_key.keys(pipeline) if str in every_key.kinds(annotation) and path[-1] not in FREE_TEXT
    ]
    said = refusals(dict.fromkeys(texts, 'nonsense'))
    assert len(said) > 8
    assert accepted_ones(said) == []


def test_a_misspelt_key_is_refused_with_the_nearest(pipeline: schema.PipelineBase) -> None:
    said = refusals({(*path[:-1], f'{path[-1]}x'): None for path, _ in every_key.keys(pipeline)})
    assert len(said) > 150
    assert {
        path: line for path, line in said.items() if not re.search('unknown key. Known here: .*Did you mean', str(line))
    } == {}


def test_the_bounds_of_every_number_of_the_model_garden_were_decided() -> None:
    roots = [schema.Train, *(spec.options for spec in specs.detectors())]
    used = {name for root in roots for name in _numbers_of_the_model_garden(root)}
    assert len(used) > 80
    assert {name for name in used if not ranges.is_known(name)} == set()


def _numbers_of_the_model_garden(model: type[pydantic.BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        for inner in _models(field.rebuild_annotation()):
            yield from _numbers_of_the_model_garden(inner)
        if every_key.is_number(field.rebuild_annotation()) and model.__module__.startswith(model_garden.__name__):
            yield name


def _models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
