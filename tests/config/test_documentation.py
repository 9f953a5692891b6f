from __future__ import annotations

import pydantic

from stagetrain.config import documentation
from stagetrain.config.options import Strict


class Part(Strict):
    documented: int = 1
    """Two lines of
    text."""
    plain: int = 2


class Whole(Part):
    more: int = pydantic.Field(3, alias='rest')
    """Under an alias."""


def test_the_text_under_a_field_is_found_also_in_bases() -> None:
    assert documentation.of_fields(Whole) == {'documented': 'Two lines of\ntext.', 'more': 'Under an alias.'}


def test_a_class_made_at_run_time_has_what_its_bases_have() -> None:
    made = pydantic.create_model('Made', __base__=Part, another=(int, 1))
    assert documentation.of_fields(made) == {'documented': 'Two lines of\ntext.'}


def test_the_json_schema_has_it_under_the_names_that_a_file_uses() -> None:
    properties = Whole.model_json_schema()['properties']
    assert {name: part.get('description') for name, part in properties.items()} == {
        'documented': 'Two lines of\ntext.',
        'plain': None,
        'rest': 'Under an alias.',
    }
