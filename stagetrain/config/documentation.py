"""The text that stands under a field in its class, for the JSON Schema: read from the source when asked for, for it takes longer
than all else that is done to make the type.

    class Head(Strict):
        num_convs: int = 1
        \"\"\"Convolutions in front.\"\"\"

    of_fields(Head)      # {'num_convs': 'Convolutions in front.'}
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import sys
from collections.abc import Mapping

import pydantic


def of_fields(kind: type[pydantic.BaseModel]) -> Mapping[str, str]:
    """Returns the documentation of a class's fields, its own and those of its bases; empty for a class made at run time."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= _of_module(base.__module__).get(base.__qualname__, {})
    return {name: text for name, text in found.items() if name in kind.model_fields}


@functools.cache
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Returns class -> field -> text, of the classes at the top of a module."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (KeyError, OSError, TypeError):  # Built in, or typed in at a prompt.
        return {}
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(node.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
