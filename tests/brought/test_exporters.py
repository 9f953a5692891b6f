"""Data sets that an exporter wrote wrongly, all of it in the same way: what is wrong is said, where, and what it looks like."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

from tests.brought import sets
from tests.brought.case import Case, Hold, Step, each

CORNERS = [[10, 5, 60, 45], [30, 20, 62, 47]]
"""Boxes as (x1, y1, x2, y2) where COCO has (x, y, width, height): all reach out of the image."""


def _csv(*lines: str, classes: str = 'thing,0\n') -> object:
    return lambda folder: sets.csv(folder / 'boxes.csv', lines, classes=classes)


def _corners(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': CORNERS, '2.jpg': CORNERS})


def _fractions(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': [[0.1, 0.1, 0.5, 0.5]], '2.jpg': [[0.2, 0.2, 0.3, 0.3]]})


def _several_boxes(folder: pathlib.Path) -> None:
    one = sets.voc_object()
    box = one[one.index('<bndbox>') : one.index('</object>')]
    sets.voc(folder / 'data', objects=one.replace('</object>', f'{box}</object>'))


def _swapped_axes(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data', objects=sets.voc_object((5, 10, 30, 60)))


def _pixel_records(folder: pathlib.Path) -> None:
    edges = dict(zip(('xmin', 'ymin', 'xmax', 'ymax'), map(float, sets.BOX), strict=True))
    changes = {f'object/bbox/{edge}': [value] for edge, value in edges.items()}
    sets.tfrecord(folder / 'a.tfrecord', *(sets.record(name, **changes) for name in '123'))


def _labels_of_another_map(folder: pathlib.Path) -> None:
    sets.tfrecord(folder / 'a.tfrecord', *(sets.record(name, **{'object/class/label': [17]}) for name in '123'))


def _pixel_records_without_names(folder: pathlib.Path) -> None:
    _pixel_records(folder)
    (folder / 'label_map.pbtxt').unlink()


def _windows_paths(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]], '2.jpg': [[5, 5, 20, 20]]})
    text = (folder / 'a.json').read_text()
    sets.write(folder / 'a.json', text.replace('"1.jpg"', '"C:\\\\data\\\\1.jpg"').replace('"2.jpg"', '"C:\\\\data\\\\2.jpg"'))


def _one_of_five(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {f'{n}.jpg': [[5, 5, 20, 20] if n < 5 else [5, 5, 0, 20]] for n in range(1, 6)})


def _labelme_apart(folder: pathlib.Path) -> None:
    sets.image(folder / 'set' / 'images' / 'a.jpg')
    shape = {'label': 'cat', 'points': [[5, 5], [20, 20]], 'shape_type': 'rectangle'}
    size = {'imageHeight': sets.HEIGHT, 'imageWidth': sets.WIDTH}
    content = {'version': '5.0', 'flags': {}, 'shapes': [shape], 'imagePath': '..\\images\\a.jpg', 'imageData': None, **size}
    sets.write(folder / 'set' / 'json' / 'a.json', json.dumps(content))


def _csv_apart(folder: pathlib.Path) -> None:
    sets.csv(folder / 'csv' / 'boxes.csv', ['../images/1.jpg,10,5,40,30,thing'], images=())
    sets.image(folder / 'images' / '1.jpg')


def _without_folder(folder: pathlib.Path) -> None:
    path = folder / 'csv' / 'boxes.csv'
    path.write_text(path.read_text().replace('../images/', ''))


def _open_images(folder: pathlib.Path) -> None:
    sets.image(folder / 'images' / 'a1.jpg')
    header = 'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside'
    sets.write(folder / 'boxes.csv', f'{header}\na1,xclick,/m/01g317,1,0.1,0.5,0.2,0.6,0,0,0,0,0\n')


def _moved_images(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'train/1.jpg': [[5, 5, 20, 20]]})
    (folder / 'elsewhere').mkdir()
    (folder / 'train').rename(folder / 'elsewhere' / 'train')


def _coco_named(name: str) -> Callable[[pathlib.Path], object]:
    def make(folder: pathlib.Path) -> None:
        text = sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]]}).read_text()
        sets.write(folder / 'a.json', text.replace('1.jpg', name))

    return make


def _voc_moved(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data', ['1'])
    (folder / 'data' / 'pics').mkdir()
    (folder / 'data' / 'JPEGImages' / '1.jpg').rename(folder / 'data' / 'pics' / '1.jpg')


CASES = [
    Case(
        'csv with semicolons',
        _csv('1.jpg;10;5;40;30;thing', '2.jpg;10;5;40;30;thing'),
        Step('data check boxes.csv', code=2, says=[r'boxes\.csv.*line 1\b', r'semicolon|;']),
        Step('data check boxes.csv --classes thing', code=2, says=[r'boxes\.csv.*line 1\b', r'semicolon|;']),
    ),
    Case(
        'csv with tabs',
        _csv('1.jpg\t10\t5\t40\t30\tthing', '2.jpg\t10\t5\t40\t30\tthing'),
        Step('data check boxes.csv', code=2, says=[r'boxes\.csv.*line 1\b', r'\btabs?\b']),
    ),
    Case(
        'csv with x, y, width, height',
        _csv('1.jpg,40,30,20,15,thing', '2.jpg,30,20,10,10,thing'),
        Step('data check boxes.csv', code=2, says=[r'boxes\.csv.*line 1\b', r'x, y, width, height', r'2 faults']),
    ),
    Case(
        'csv with classes that are not in the class file',
        _csv('1.jpg,10,5,40,30,Thing', '2.jpg,10,5,40,30,Thing'),
        Step('data check boxes.csv', code=2, says=[r'boxes\.csv.*line 1\b', r"'Thing'", r"'thing'", r'2 faults']),
    ),
    Case(
        'coco with corners',
        _corners,
        Step('data check a.json', code=2, says=[r'a\.json.*annotation', r'4 faults', r'x1, y1, x2, y2|corners']),
        Step('data check a.json --all', code=2, says=[r'(a\.json.*annotation.*){4}']),
        Step('data check a.json --json r.json', code=2, made=['r.json'], says=['4 faults']),
    ),
    Case(
        'coco with fractions',
        _fractions,
        Step(
            'data check a.json',
            code=2,
            says=[r'a\.json: 2 images, but nothing to learn', r'2 no larger than a pixel', r'from 0 to 1'],
        ),
    ),
    Case(
        'coco of which one box in five has no area',
        _one_of_five,
        Step('data check a.json', code=2, says=[r'a\.json.*annotation', r'1 faults?\b', r'images +5\b']),
    ),
    Case(
        'coco with other class names than asked for',
        lambda folder: sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]]}, ['person']),
        Step('data check a.json --classes cat,dog', code=2, says=['person', 'cat', 'dog']),
    ),
    Case(
        'open images',
        _open_images,
        Step(
            'data check boxes.csv',
            code=2,
            says=[r'boxes\.csv: line 1', 'Open Images', 'fractions', 'filename,width,height,class'],
        ),
    ),
    Case(
        'csv of many columns',
        lambda folder: sets.csv(folder / 'boxes.csv', [','.join(['1.jpg', *'1' * 19])] * 2),
        Step('data check boxes.csv', code=2, says=['most of them have 12 or more fields', 'found 20']),
    ),
    Case(
        'coco with the folder of its images moved',
        _moved_images,
        Step(
            'data check a.json', code=2, says=[r'1 of 1 lie in \./elsewhere/train: name \./elsewhere as the folder of the images']
        ),
        Step('data check a.json --images elsewhere', says=['images 1;', '0 faults']),
    ),
    Case(
        'coco with links to a web page',
        _coco_named('http://images.cocodataset.org/val2017/1.jpg'),
        Step('data check a.json', code=2, says=['no such file', 'named as http://images', 'begin in the folder of the images']),
    ),
    Case(
        'voc with images in another folder',
        _voc_moved,
        Step(
            'data check data',
            code=2,
            says=[r'lie in data/pics: move or link them to where they are named, such as JPEGImages/1\.jpg'],
        ),
    ),
    Case(
        'the folder of annotations alone',
        lambda folder: sets.voc(folder / 'data'),
        Step('data check data/Annotations', code=2, says=['holds annotations alone: name the folder that it lies in']),
    ),
    Case(
        "the development kit's folder above all",
        lambda folder: [sets.voc(folder / 'VOCdevkit' / year) for year in ('VOC2007', 'VOC2012')],
        Step('data check VOCdevkit', code=2, says=['name one of the data sets in it: VOCdevkit/VOC2007, VOCdevkit/VOC2012']),
        Step('data check VOCdevkit/VOC2007', says=['images 2;', '0 faults']),
    ),
    Case(
        'labelme with images in a folder beside',
        _labelme_apart,
        Step('data check set/json', code=2, says=['beside the annotations: name the folder above both, set\\b', '1 faults']),
        Step('data check set', says=['images 1;', '0 faults']),
    ),
    Case(
        'csv with images in a folder beside',
        _csv_apart,
        Step(
            'data check csv/boxes.csv', code=2, says=[r'all begin with \.\./images/: take that off the names, and name images as']
        ),
        Step(
            'data check csv/boxes.csv --images images', says=['images 1;', '0 faults'], before=_without_folder, changes=['csv/*']
        ),
    ),
    Case(
        'coco with paths of Windows',
        _windows_paths,
        Step('data check a.json', code=2, says=[r'a\.json', r'C:', r'2 faults']),
    ),
    Case(
        'voc with two boxes in an object',
        _several_boxes,
        Step('data check data', code=2, says=[r'data.*xml', r'bndbox', r'2 faults']),
    ),
    Case(
        'voc with x and y exchanged',
        _swapped_axes,
        Step('data check data', code=2, says=[r'data.*xml', r'2 faults', r'fit as y1, x1, y2, x2']),
    ),
    Case(
        'records in pixels',
        _pixel_records,
        Step('data check a.tfrecord --class_file label_map.pbtxt', code=2, says=[r'a\.tfrecord.*record', r'3 faults', r'pixels']),
    ),
    Case(
        'records in pixels and no label map',
        _pixel_records_without_names,
        Step('data check a.tfrecord', code=2, says=[r'a\.tfrecord.*record', r'pixels']),
    ),
    Case(
        'records with ids of another label map',
        _labels_of_another_map,
        Step('data check a.tfrecord --class_file label_map.pbtxt', code=2, says=[r'a\.tfrecord.*record', r'3 faults', r'\b17\b']),
    ),
]


@each(CASES)
def test_what_an_exporter_got_wrong_is_told(case: Case, hold: Hold) -> None:
    hold(case)
