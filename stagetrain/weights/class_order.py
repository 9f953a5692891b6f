"""The numbers of each class in a layer, put into the order of another class list.

reordered(kernel, {'take': [0, 2, 1], 'num_classes': 3, 'layers': {...}}, numbers_of_a_class=1)

Such a layer's last axis holds, once or once for each anchor, all numbers of the first class, then all of the second, and so on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np


def of_variable(name: str, value: Any, order: Mapping[str, Any]) -> Any:
    """Returns the value of a variable with its classes as they are asked for, or as it is where it has none.

    Args:
      name: canonical name.
      value: array `[..., A x K x N]` for A anchors, K classes and N numbers of each.
      order: `{"take": [k', ...], "num_classes": K, "layers": {pattern: N}}`.
    """
    count = numbers_of_a_class(name, order)
    return value if count is None else reordered(value, order['take'], order['num_classes'], count)


def numbers_of_a_class(name: str, order: Mapping[str, Any]) -> int | None:
    """Returns how many numbers of a variable belong to each class; None where it has none for each."""
    return next((count for pattern, count in order['layers'].items() if re.fullmatch(pattern, name)), None)


def reordered(value: np.ndarray, take: list[int], num_classes: int, count: int) -> np.ndarray:
    """Returns the chosen classes of a layer, in the order of `take`; a layer of one set for all classes stays as it is."""
    size = value.shape[-1]
    if size % (num_classes * count):
        return value
    by_class = value.reshape(*value.shape[:-1], size // (num_classes * count), num_classes, count)
    return np.ascontiguousarray(by_class[..., take, :].reshape(*value.shape[:-1], -1))
