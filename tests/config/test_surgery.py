"""Surgery in a pipeline file: what is said of a slip, before TensorFlow is imported."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from stagetrain.config.surgery import Operation

CONV = {'type': 'Conv2D', 'name': 'new', 'filters': 8, 'kernel_size': 3}


@pytest.mark.parametrize(
    ('operation', 'message'),
    [
        ({}, 'exactly one of cut_after, insert_after, replace; found none'),
        ({'cut_after': 'a', 'replace': ['b']}, 'found cut_after and replace'),
        ({'insert_after': 'a'}, 'insert_after: without layers nothing is put in'),
        ({'insert_after': 'a', 'layers': [{**CONV, 'type': 'Dropout'}]}, "'Dropout' .*does not match any of the expected tags"),
        ({'insert_after': 'a', 'layers': [{**CONV, 'filter': 8}]}, 'filter\n.*Extra inputs'),
        ({'insert_after': 'a', 'layers': [{**CONV, 'name': 'block/new'}]}, 'should match pattern'),
        ({'insert_after': 'a', 'layers': [{**CONV, 'kernel_size': [3]}]}, 'at least 2 items'),
    ],
)
def test_slips_are_refused(operation: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        Operation.model_validate(operation)
