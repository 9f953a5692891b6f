"""Label maps of the Object Detection API."""

from __future__ import annotations

import pathlib

import pytest

from stagetrain.data.label_map import read_label_map, render_label_map
from stagetrain.errors import DataError


def read(folder: pathlib.Path, text: str) -> dict[int, str]:
    (folder / 'map.pbtxt').write_text(text, encoding='utf-8')
    return read_label_map(folder / 'map.pbtxt')


def test_names_come_in_the_order_of_their_ids(tmp_path: pathlib.Path) -> None:
    text = "# pets\nitem { id: 7 name: 'dog' display_name: 'Dog' }\nitem {\n  name: \"chat's\"\n  id: 3\n}\n"
    assert read(tmp_path, text) == {3: "chat's", 7: 'dog'}


def test_what_is_not_needed_is_passed_over(tmp_path: pathlib.Path) -> None:
    text = "item { id: 1 name: 'cat' keypoints { id: 1 label: 'nose' } ancestor_ids: [4, 5] frequency: COMMON }"
    assert read(tmp_path, text) == {1: 'cat'}


def test_the_background_is_no_class(tmp_path: pathlib.Path) -> None:
    assert read(tmp_path, "item { id: 0 name: 'background' } item { id: 1 name: 'cat' }") == {1: 'cat'}


def test_what_is_rendered_is_read_back(tmp_path: pathlib.Path) -> None:
    names = {1: 'cat', 2: 'Bär "x"\n\\', 9: '猫'}
    assert read(tmp_path, render_label_map(names)) == names


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'the label map is empty'),
        ("item { id: 1 name: 'cat'", 'not a label map'),
        ('cat\ndog', 'not a label map'),
        ("item { id: 'one' name: 'cat' }", 'not a label map'),
        ("item { id: 0 name: 'cat' }", "item 1: found id 0 and name 'cat'; expected an id from 1"),
        ("item { id: 1 display_name: 'cat' }", "item 1: found id 1 and name ''"),
        ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "item 2: id 1 or name 'b' is given twice"),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "item 2: id 2 or name 'a' is given twice"),
    ],
)
def test_what_is_no_label_map_is_refused(tmp_path: pathlib.Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match='map.pbtxt: cannot be read: No such file or directory'):
        read_label_map(tmp_path / 'map.pbtxt')
