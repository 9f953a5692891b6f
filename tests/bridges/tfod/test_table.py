"""The page of all fields is what the code says."""

from __future__ import annotations

from stagetrain.bridges.tfod import fields, table
from tests.fakes.project import ROOT


def test_the_page_is_current() -> None:
    assert (ROOT / 'docs/migrating_fields.md').read_text() == table.render(), 'run the command at its top'


def test_the_page_has_every_field() -> None:
    text = table.render()
    for message, field, _ in fields.all_fields():
        section = text.split(f'\n## {message}\n')[1].split('\n## ')[0]
        assert f'| `{field}` |' in section
