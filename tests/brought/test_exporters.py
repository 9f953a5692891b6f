"""Data sets that an exporter wrote wrongly, all of it in the same way: what is wrong is said, where, and what it looks like."""

from __future__ import annotations

import json
import pathlib

from tests.brought import sets
from tests.brought.case import Case, Hold, Step, each


def _labelme(folder: pathlib.Path) -> None:
    sets.image(folder / '1.jpg')
    shape = {'label': 'thing', 'points': [[10, 5], [40, 30]], 'shape_type': 'rectangle'}
    sets.write(folder / 'a.json', json.dumps({'version': '5.0', 'shapes': [shape], 'imagePath': '1.jpg', 'imageHeight': 48}))


def _yolo(folder: pathlib.Path) -> None:
    sets.image(folder / 'images' / '1.jpg')
    sets.write(folder / 'labels' / '1.txt', '0 0.5 0.5 0.2 0.2\n')
    sets.write(folder / 'data.yaml', 'names: [thing]\ntrain: images\n')


def _one_of_five(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {f'{n}.jpg': [[5, 5, 20, 20] if n < 5 else [5, 5, 0, 20]] for n in range(1, 6)})


CASES = [
    Case(
        'coco of which one box in five has no area',
        _one_of_five,
        Step('data check a.json', code=2, says=[r'a\.json.*annotation', r'1 faults?\b', r'images +5\b']),
    ),
    Case(
        'labelme',
        _labelme,
        Step('data check a.json', code=2, says=[r'a\.json', r'images']),
        Step('data check a.json --format coco', code=2, says=[r'a\.json', r"'images'|images"]),
    ),
    Case('yolo', _yolo, Step('data check .', code=2, says=['coco, csv, tfrecord, voc'])),
]


@each(CASES)
def test_what_an_exporter_got_wrong_is_told(case: Case, hold: Hold) -> None:
    hold(case)
