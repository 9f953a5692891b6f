"""What every type of a pipeline file builds on: strict parts, choices by `type`, the options of a network.

    class Head(Strict):
        num_convs: int = 1

    Head.model_validate({'num_conv': 2})      # refused: there is no such key

`stagetrain/config/model_garden/` has the Model Garden's own options, generated.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from stagetrain.config import documentation
from stagetrain.errors import known_names, suggestion

Value = TypeVar('Value')
UNKNOWN_BRANCH: Final = 'unknown_branch'
"""What pydantic calls a choice whose `type` is none of its branches."""


class _CosmeticMark:
    """Stands in the annotation of a key that does not count when a stage is judged up to date."""


Cosmetic = Annotated[Value, _CosmeticMark()]
"""`key: Cosmetic[int]`: a key that changes no result. Its documentation begins with this word too."""


def is_cosmetic(field: FieldInfo) -> bool:
    """Returns whether a key of a pipeline file is marked as `Cosmetic`."""
    return any(isinstance(mark, _CosmeticMark) for mark in field.metadata)


class Strict(pydantic.BaseModel):
    """A part of a pipeline file: unknown keys and wrong types are refused, values do not change after loading."""

    model_config = pydantic.ConfigDict(extra='forbid', strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: pydantic.GetJsonSchemaHandler) -> dict[str, Any]:
        """Adds the documentation of the fields."""
        described = handler(core_schema)
        texts, properties = documentation.of_fields(cls), handler.resolve_ref_schema(described).get('properties', {})
        for name, field in cls.model_fields.items():
            if name in texts:
                properties[field.alias or name].setdefault('description', texts[name])
        return described


class NoOptions(Strict):
    """Of what has none."""


class ModelGardenConfig(Strict):
    """A config class of the Model Garden, generated. It has no validator of its own until it is asked for one, for the pipeline's
    does its work."""

    model_config = pydantic.ConfigDict(defer_build=True)


def defaults() -> Any:
    """Returns the default of a part that may be left out: all of its own. The validator of the whole makes it from nothing, where
    a call of the part's type would have a validator built for it."""
    return pydantic.Field(default_factory=dict, validate_default=True)


class OneOf(ModelGardenConfig):
    """A choice in the Model Garden's way: `type` names the branch whose options count; other branches may not be given."""

    type: str | None = None

    @property
    def chosen(self) -> Any:
        """The options of the branch that `type` names, which must be given."""
        return getattr(self, str(self.type))

    @pydantic.model_validator(mode='after')
    def _only_the_chosen_branch(self) -> OneOf:
        branches = set(type(self).model_fields) - {'type'}
        chosen = self.type
        if chosen is not None and chosen not in branches:
            text = f"found '{chosen}', expected one of {known_names(branches)}.{suggestion(chosen, branches)}"
            raise PydanticCustomError(UNKNOWN_BRANCH, '{text}', {'text': text})
        for name in sorted((self.model_fields_set & branches) - {chosen}):
            found = f"type is '{chosen}'" if chosen else 'type is not given'
            raise ValueError(f"options of '{name}' are given, but {found}: remove them or set type: {name}")
        return self


class NetworkOptions(Strict):
    """What `model`, or a name of `models`, says of a network; `type` tells which class of options it is."""

    type: str
