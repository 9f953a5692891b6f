"""`stagetrain detect` before and behind TensorFlow: what is asked for, and what is left. The detections are made up."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from stagetrain import files
from stagetrain.errors import BadInput, DataError
from stagetrain.evaluation.metrics import Detections
from stagetrain.inference import request, results
from stagetrain.inference.written import LEDGER
from tests.fakes.project import Project, make_project

Make = Callable[..., request.DetectionRequest]


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run on VOC images, class `thing`. Not to be changed."""
    project = make_project(tmp_path_factory.mktemp('finished'))
    project.run()
    return project


@pytest.fixture
def make(finished: Project, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Returns what makes a request; images lie in the present folder: `cam1/1.jpg`, `cam2/1.jpg`, `1.png`."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(('cam1/1.jpg', 'cam2/1.jpg', '1.png')):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new('RGB', (60, 40), (number, 0, 0)).save(path)

    def made(*images: str, out: str = 'out', **options: object) -> request.DetectionRequest:
        return request.make(finished.directory.path, None, images, pathlib.Path(out), **options)  # type: ignore[arg-type]

    return made


def detect(asked: request.DetectionRequest) -> list[str]:
    """Writes one detection in each image; returns the pictures' names."""
    count = len(asked.dataset.examples)
    boxes = np.tile(np.array([[5, 10, 25, 50]], np.float32), (count, 1))
    index = np.arange(count, dtype=np.int32)
    found = Detections(index, boxes, np.full(count, 0.75, np.float32), np.ones(count, np.int32))
    return [str(path.relative_to(asked.out.path)) for path in results.write(asked, found)]


def bytes_of(*paths: str) -> list[bytes]:
    return [pathlib.Path(path).read_bytes() for path in paths]


def written() -> list[str]:
    return sorted(str(path.relative_to('out')) for path in pathlib.Path('out').rglob('*') if path.is_file())


def test_every_image_has_a_picture_that_tells_its_origin(make: Make) -> None:
    assert detect(make('cam1/1.jpg', 'cam2/1.jpg', '1.png')) == ['cam1/1.png', 'cam2/1.png', '1.png']
    assert written() == [LEDGER, '1.png', 'cam1/1.png', 'cam2/1.png', 'detections.json', 'images.json']
    with Image.open('out/cam2/1.png') as picture:
        assert (picture.size, picture.format) == ((60, 40), 'PNG')


def test_folders_and_patterns_give_the_same_pictures(make: Make) -> None:
    assert make('.').pictures == ('1.png', 'cam1/1.png', 'cam2/1.png')
    assert make('cam*/*.jpg').pictures == ('cam1/1.png', 'cam2/1.png')
    assert make('cam1').pictures == ('1.png',)


def test_a_second_call_gives_the_same_and_looks_at_no_picture_of_the_first(make: Make) -> None:
    first = detect(make('.'))
    before = {name: (pathlib.Path('out') / name).read_bytes() for name in written()}
    again = make('.')
    assert '3 files skipped: pictures of earlier detections' in again.remarks
    assert detect(again) == first
    assert {name: (pathlib.Path('out') / name).read_bytes() for name in written()} == before


@pytest.mark.parametrize('out', ['.', 'cam1', 'cam1/inside', './cam2/..'])
def test_out_at_or_inside_the_images_folder_harms_none(make: Make, out: str) -> None:
    names = ('cam1/1.jpg', 'cam2/1.jpg', '1.png')
    before = bytes_of(*names)
    for _ in range(2):
        asked = make('.', out=out)
        assert (len(asked.dataset.examples), len(set(detect(asked)))) == (3, 3)
        assert bytes_of(*names) == before
    assert '1.png.png' in os.listdir('.') or out not in ('.', './cam2/..')


def test_a_json_file_of_the_users_stands_in_the_way(make: Make) -> None:
    pathlib.Path('out').mkdir()
    pathlib.Path('out/detections.json').write_text('[]')
    with pytest.raises(BadInput, match=r'--out out: found detections.json, which `detect` did not write or which changed since'):
        make('1.png')
    pathlib.Path('out/detections.json').unlink()
    pathlib.Path('out/cam1').touch()
    with pytest.raises(BadInput, match=r'--out out: found a file cam1; expected a folder for the pictures'):
        make('1.png', 'cam1/1.jpg')


def test_without_an_annotation_file_images_are_counted_from_one_and_listed(make: Make) -> None:
    asked = make('cam1/1.jpg', 'cam2/1.jpg')
    assert asked.remarks == ('image ids: 1 to 2, as images.json lists them',)
    detect(asked)
    truth = COCO('out/images.json')
    assert [truth.imgs[number]['file_name'] for number in (1, 2)] == ['cam1/1.jpg', 'cam2/1.jpg']
    found = truth.loadRes('out/detections.json')
    assert [one['image_id'] for one in found.anns.values()] == [1, 2]
    assert found.anns[1]['bbox'] == [10.0, 5.0, 40.0, 20.0]


def annotate(names: list[str], first: int = 40, category: str = 'thing') -> pathlib.Path:
    """Writes COCO JSON with ids from `first`."""
    images = [{'id': first + n, 'file_name': name, 'height': 40, 'width': 60} for n, name in enumerate(names)]
    content = {'images': images, 'annotations': [], 'categories': [{'id': 18, 'name': category}, {'id': 3, 'name': 'other'}]}
    pathlib.Path('mine.json').write_text(json.dumps(content))
    return pathlib.Path('mine.json')


def test_ids_are_those_of_the_annotation_file_that_is_named(make: Make) -> None:
    file = annotate(['cam2/1.jpg', 'cam1/1.jpg', 'cam3/1.jpg'])
    asked = make('.', annotations=file)
    assert asked.remarks == ('1 files skipped: no images', '1 images skipped: not in mine.json', 'image ids: those of mine.json')
    detect(asked)
    found = COCO('mine.json').loadRes('out/detections.json')
    assert sorted((one['image_id'], one['category_id']) for one in found.anns.values()) == [(40, 18), (41, 18)]


@pytest.mark.parametrize(
    ('names', 'category', 'images', 'message'),
    [
        (
            ['cam1/1.jpg'],
            'cow',
            ['.'],
            r'no category is named thing; expected all classes of the run. Categories there: cow, other',
        ),
        (['cam1/1.jpg'], 'thing', ['cam1', 'cam2/1.jpg'], r'1 images are not in it: cam2/1.jpg; expected the end of their paths'),
        (['cam4/1.jpg'], 'thing', ['.'], r'none of the 3 images is in it, by the ends of their paths'),
        (['1.jpg'], 'thing', ['.'], r"cam1/1.jpg and cam2/1.jpg both end in '1.jpg', the image of id 40"),
    ],
)
def test_an_annotation_file_that_does_not_fit_is_refused(
    make: Make, names: list[str], category: str, images: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=f'--annotations mine.json: .*{message}'):
        make(*images, annotations=annotate(names, category=category))


def test_an_annotation_file_that_is_not_there_is_refused(make: Make) -> None:
    with pytest.raises(DataError, match=r'none.json: no such file; expected a COCO JSON'):
        make('1.png', annotations=pathlib.Path('none.json'))


def test_images_of_a_coco_validation_set_keep_their_ids(finished: Project, make: Make, tmp_path: pathlib.Path) -> None:
    file = annotate(['cam2/1.jpg', '1.png'])
    shutil.copytree(finished.directory.path, tmp_path / 'run')
    config = yaml.safe_load((tmp_path / 'run' / 'run.yaml').read_text())
    config['data']['validation'] = {'format': 'coco', 'path': str(tmp_path / file)}
    files.write_json(tmp_path / 'run' / 'run.yaml', config)
    asked = request.make(tmp_path / 'run', None, ['cam1/1.jpg', 'cam2/1.jpg', '1.png'], pathlib.Path('out'))
    assert asked.numbering.image_ids == (42, 40, 41)
    assert asked.remarks == (f'image ids: those of {tmp_path}/{file}',)
    detect(asked)
    assert len(COCO('out/images.json').loadRes('out/detections.json').anns) == 3


@pytest.mark.parametrize('name', ['lr[0.1]', 'a*b?', '-x', 'two\nlines', '細胞', os.fsdecode(b'\xe9')])
def test_names_may_hold_any_letter(make: Make, name: str) -> None:
    for place in (f'{name}.png', f'{name}/1.jpg'):
        pathlib.Path(place).parent.mkdir(exist_ok=True)
        shutil.copy('1.png', place)
    assert detect(make(f'{name}.png', name, out=f'{name}/out')) == [f'{name}.png', f'{name}/1.png']
    assert len(COCO(f'{name}/out/images.json').loadRes(f'{name}/out/detections.json').anns) == 2


@pytest.mark.parametrize(
    ('out', 'message'),
    [
        ('1.png', r'--out 1.png: .*/1.png is no folder; expected a folder, or a name that is free'),
        ('1.png/x', r'--out 1.png/x: .*/1.png is no folder'),
        ('/proc/x', r'--out /proc/x: cannot be written: '),
        ('/dev/full', r'--out /dev/full: /dev/full is no folder'),
        ('x' * 300, r'--out x+: cannot be written: File name too long; choose a shorter name'),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(make: Make, out: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make('1.png', out=out)


def test_a_place_that_can_no_longer_be_written_is_one_paragraph(make: Make) -> None:
    asked = make('cam1/1.jpg', 'cam2/1.jpg')
    pathlib.Path('out').mkdir()
    pathlib.Path('out/cam2').touch()
    with pytest.raises(BadInput, match=r'--out out: cannot be written: File exists; name another place'):
        detect(asked)
    assert pathlib.Path('out/cam1/1.png').is_file()
