"""Rules across the options of one network: the Model Garden's, as far as it has them, and those of its spec."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from stagetrain.config import specs
from stagetrain.config.detector_options import DetectorOptions, of_detector
from stagetrain.config.options import NetworkOptions

Path = tuple[str | int, ...]
Problem = tuple[Path, str]


def problems(model: NetworkOptions, num_classes: int) -> Iterator[Problem]:
    """Yields what is wrong with a network's options, with the place inside them.

    Args:
      model: the value of `model`, or one of `models`.
      num_classes: classes without background.
    """
    spec = specs.spec_of(model)
    if spec.rules is not None:
        yield from spec.rules(model, num_classes)
    if _option(model, 'min_level') is not None:
        yield from _levels(of_detector(model))
    yield from _fixed_options(model)
    smallest, largest = _option(model, 'parser', 'aug_scale_min'), _option(model, 'parser', 'aug_scale_max')
    if smallest is not None and not 0 < smallest <= largest:
        text = f'found {smallest}; expected more than 0 and at most aug_scale_max, which is {largest}'
        yield ('parser', 'aug_scale_min'), text
    weights = _option(model, 'losses', 'class_weights')
    if weights is not None and len(weights) != num_classes + 1:
        expected = f'{num_classes + 1}: one for the background and one for each class'
        yield ('losses', 'class_weights'), f'found {len(weights)} weights; expected {expected}'


def _fixed_options(model: NetworkOptions) -> Iterator[Problem]:
    fixed = specs.spec_of(model).fixed_options
    plain = type(model).model_validate({'type': model.type}) if fixed else None
    for option in fixed:
        names = option.split('.')
        default = functools.reduce(getattr, names, plain)
        if _option(model, *names) != default:
            yield tuple(names), f'found {_option(model, *names)}; only {default} is supported, so remove it'


def _option(model: NetworkOptions, *names: str) -> Any:
    value: Any = model
    for name in names:
        value = getattr(value, name, None)
    return value


def _levels(model: DetectorOptions) -> Iterator[Problem]:
    if model.min_level > model.max_level:
        yield ('min_level',), f'found {model.min_level}; expected at most max_level, which is {model.max_level}'
    yield from _input_size(model.input_size, model.max_level)


def _input_size(size: list[int], max_level: int) -> Iterator[Problem]:
    path = ('input_size',)
    stride = 2**max_level
    if len(size) != 3 or size[2] != 3:
        yield path, f'found {size}; expected [height, width, 3]'
    elif any(side <= 0 or side % stride for side in size[:2]):
        yield path, f'found {size}; height and width must be multiples of {stride} (2 to the power of max_level, {max_level})'
