"""Which images a data set held: kept by digest, and compared by names."""

from __future__ import annotations

import pathlib
import shutil

from stagetrain.cli import main
from stagetrain.pipeline import data_items
from tests.fakes.project import Project

FORMER = {'a': '1111aaaa', 'b': '2222bbbb', 'c': '3333cccc'}


def test_changes_are_told_by_kind_with_counts_and_first_names() -> None:
    present = {'a': '9999aaaa', 'b': '2222eeee', **{f'n{number}': '00000000' for number in range(12)}}
    assert data_items.changes(FORMER, present) == (
        '12 added (n0, n1, n10 and 9 more), 1 removed (c), 1 with another image (a), 1 with other annotations (b)'
    )


def test_an_image_can_change_with_its_annotations() -> None:
    assert data_items.changes(FORMER, {**FORMER, 'b': '00000000'}) == '1 with another image (b), 1 with other annotations (b)'
    assert data_items.changes(FORMER, dict(FORMER)) == ''


def test_images_of_both_sets_are_counted_and_named_whatever_their_annotations() -> None:
    assert data_items.shared(FORMER, {'a': '4444aaaa', 'd': '5555aaaa'}) == ''
    assert data_items.shared(FORMER, {'b': '2222eeee'}) == '1 image is in data.train and in data.validation (b)'
    found = data_items.shared(FORMER, {'d': '1111aaaa', 'e': '3333eeee', 'f': '0000aaaa'})
    assert found == '2 images are in data.train and in data.validation (a as d, c as e)'
    many = {f'n{number}': f'{number:04d}aaaa' for number in range(1000, 1012)}
    assert data_items.shared(many, many).endswith(
        '12 images are in data.train and in data.validation (n1000, n1001, n1002 and 9 more)'
    )


def test_plan_and_run_say_so(project: Project) -> None:
    assert not [remark for remark in project.plan().remarks() if 'byte for byte' in remark]
    images = project.folder / 'data' / 'JPEGImages'
    shutil.copy(images / 'a.jpg', images / 'c.jpg')
    said = (
        '1 image is in data.train and in data.validation (a as c), byte for byte: metrics on such images do not tell how good a '
        f'detector is on new ones; stagetrain data check {project.config} names all'
    )
    assert said in project.plan().remarks()
    assert said in project.run()
    assert main.main(['data', 'check', str(project.config)]) == 2


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
