"""Which backbones the options of a network may choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from stagetrain.config.model_garden import backbones
from stagetrain.config.options import NetworkOptions, Strict, defaults

Part = TypeVar('Part', bound=Strict)


def with_backbones(model: type[NetworkOptions], more: Mapping[str, type[pydantic.BaseModel]]) -> type[NetworkOptions]:
    """Returns the type of a network's options with more choices for its backbone.

    Args:
      model: options; those of a network that does not choose its backbone in the Model Garden's way are returned as they are.
      more: name in `backbone.type` -> type of its options.
    """
    field = model.model_fields.get('backbone')
    choice = field.annotation if field else None
    if not isinstance(choice, type) or not issubclass(choice, backbones.Backbone):
        return model
    new = {name: kind for name, kind in more.items() if name not in choice.model_fields}
    return _extended(model, {'backbone': _extended(choice, new)}) if new else model


def _extended(part: type[Part], fields: Mapping[str, type[pydantic.BaseModel]]) -> type[Part]:
    """Returns a type with more fields, each of which may be left out."""
    definitions: dict[str, Any] = {name: (kind, defaults()) for name, kind in fields.items()}
    return pydantic.create_model(part.__name__, __base__=part, __doc__=part.__doc__, **definitions)
