"""Which images a data set held: kept by digest, and compared by names."""

from __future__ import annotations

import pathlib

from stagetrain.pipeline import data_items

FORMER = {'a': '1111aaaa', 'b': '2222bbbb', 'c': '3333cccc'}


def test_changes_are_told_by_kind_with_counts_and_first_names() -> None:
    present = {'a': '9999aaaa', 'b': '2222eeee', **{f'n{number}': '00000000' for number in range(12)}}
    assert data_items.changes(FORMER, present) == (
        '12 added (n0, n1, n10 and 9 more), 1 removed (c), 1 with another image (a), 1 with other annotations (b)'
    )


def test_an_image_can_change_with_its_annotations() -> None:
    assert data_items.changes(FORMER, {**FORMER, 'b': '00000000'}) == '1 with another image (b), 1 with other annotations (b)'
    assert data_items.changes(FORMER, dict(FORMER)) == ''


def test_items_are_kept_while_a_stage_or_the_present_data_needs_them(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / 'data'
    data_items.keep(folder, {'one': FORMER, 'two': {}}, [])
    assert data_items.read(folder, 'one') == FORMER
    data_items.keep(folder, {'three': {'a': '00'}}, ['one'])
    assert sorted(path.name for path in folder.iterdir()) == ['one.json', 'three.json']


def test_what_nobody_kept_or_is_damaged_has_no_items(tmp_path: pathlib.Path) -> None:
    data_items.keep(tmp_path, {'one': FORMER}, [])
    assert data_items.read(tmp_path, 'two') is None
    file = tmp_path / 'one.json'
    file.write_bytes(file.read_bytes().replace(b'1111', b'1112'))
    assert data_items.read(tmp_path, 'one') is None
