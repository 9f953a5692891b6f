"""Terminals, pipes and encodings: what is shown fits them, and what does not fit, or what a terminal would obey, is escaped."""

from __future__ import annotations

import json
import pathlib

from tests.brought import sets
from tests.brought.case import RUN_FILES, SUBPROCESS, Case, Hold, Step, each
from tests.fakes import project

ASCII = {'PYTHONIOENCODING': 'ascii', 'LC_ALL': 'C'}
LATIN_1 = {'PYTHONIOENCODING': 'latin-1', 'LC_ALL': 'C'}
NARROW = {'COLUMNS': '40'}
ESCAPED = r'\\u7(?i:ea2)'
"""The first letter of the class's name."""
NAME = '红细胞'


def _finished(folder: pathlib.Path) -> None:
    project.make_project(folder).run()


def _with_class(folder: pathlib.Path) -> None:
    made = project.make_project(folder)
    made.config.write_text(made.config.read_text().replace('[thing]', f'[{NAME}]'), encoding='utf-8')
    for path in (folder / 'data' / 'Annotations').iterdir():
        path.write_text(path.read_text().replace('thing', NAME), encoding='utf-8')


def _unknown_class(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data', objects=sets.voc_object(name=NAME))


OBEYED = '\x1b[2J\u202ered'
"""A class whose name erases the screen and has what follows written backwards."""
HARMLESS = r'\\x1b\[2J\\u202ered'
RAW = '[\x1b\u202e]'


def _obeyed_class(folder: pathlib.Path) -> None:
    made = project.make_project(folder)
    text = project.PIPELINE.replace('[thing]', json.dumps([OBEYED]))
    for part, split, names in (('train', 'trainval', '12'), ('validation', 'test', '34')):
        text = text.replace(f'{{format: voc, path: data, split: {split}}}', f'{{format: coco, path: {part}/a.json}}')
        sets.coco(folder / part / 'a.json', {f'{name}.jpg': [[5, 5, 20, 20]] for name in names}, classes=[OBEYED])
    made.config.write_text(text)


def _obeyed_file(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data', ['\x1b]0;title\x07\x9b2K'])
    next((folder / 'data' / 'JPEGImages').iterdir()).write_bytes(b'')


OBEYED_CASES = [
    Case(
        'a class that a terminal would obey',
        _obeyed_class,
        Step('data check four.yaml', says=[HARMLESS], silent=[RAW]),
        Step('data check train/a.json --classes thing', code=2, says=[HARMLESS], silent=[RAW]),
        Step('data convert train/a.json --to csv --out out --processes 1', says=['read back equal'], silent=[RAW]),
        Step('check four.yaml', says=['correct'], silent=[RAW]),
        Step('check four.yaml --set stages.rpn_1.train.best_metric=AP/thing', code=2, says=[HARMLESS], silent=[RAW]),
        Step('plan four.yaml', says=['detector_2'], silent=[RAW]),
        Step('plan four.yaml --expand', says=['classes'], silent=[RAW]),
        Step('run four.yaml --run_dir run', says=['detector_2'], silent=[RAW], changes=RUN_FILES),
        Step('status run', says=['(done.*){4}'], silent=[RAW], changes=RUN_FILES),
        Step('eval run', says=['detector_2'], silent=[RAW], changes=RUN_FILES),
        Step('compare four.yaml --run_dir run', says=['joint'], silent=[RAW], changes=RUN_FILES),
        Step('verify run --files_only', silent=[RAW], changes=RUN_FILES),
        Step('clean run', silent=[RAW], changes=RUN_FILES),
    ),
    Case(
        'a file name that a terminal would obey',
        _obeyed_file,
        Step('data check data', code=2, says=[r'\\x1b\]0;title', r'\\x9b2K', '1 faults'], silent=['[\x1b\x07\x9b]']),
        Step('data check data --split \x1b[2J', code=2, says=[r'\\x1b\[2J'], silent=[RAW]),
        Step('plan \x1b[2J.yaml', code=2, says=[r'\\x1b\[2J'], silent=[RAW]),
        Step('plan a b \x1b[2J', code=2, says=[r'\\x1b\[2J'], silent=[RAW]),
    ),
]

CASES = [
    Case(
        'ascii and a class in chinese',
        _with_class,
        Step('data check four.yaml', says=[ESCAPED, '0 faults, 0 pictures in two sets'], where=SUBPROCESS, environ=ASCII),
    ),
    Case(
        'latin-1 and a class in chinese',
        _with_class,
        Step('plan four.yaml --expand', says=[ESCAPED], where=SUBPROCESS, environ=LATIN_1),
    ),
    Case(
        'latin-1 and a fault',
        _unknown_class,
        Step('data check data --classes thing', code=2, says=[ESCAPED], where=SUBPROCESS, environ=LATIN_1),
    ),
    Case(
        'ascii and a converted set',
        _with_class,
        Step('data convert data --split test --to coco --out out --processes 1', says=[ESCAPED], where=SUBPROCESS, environ=ASCII),
    ),
    Case(
        'a narrow terminal',
        _finished,
        Step('status run', says=['detector_1', 'detector_2', 'rpn_1', 'rpn_2'], environ=NARROW),
        Step('plan four.yaml --run_dir run', says=['detector_2'], environ=NARROW),
    ),
    Case(
        'a narrow terminal and variants',
        _finished,
        Step('compare four.yaml --run_dir run', says=['joint', 'unshared', 'four'], environ=NARROW, changes=RUN_FILES),
    ),
    Case('a terminal of one column', _finished, Step('status run', environ={'COLUMNS': '1'})),
    Case('no columns at all', _finished, Step('status run', says=['detector_2', 'done'], environ={'COLUMNS': '0'})),
    Case('columns that are no number', _finished, Step('status run', says=['detector_2'], environ={'COLUMNS': 'wide'})),
]


@each(CASES)
def test_what_is_shown_fits_where_it_is_shown(case: Case, hold: Hold) -> None:
    hold(case)


@each(OBEYED_CASES)
def test_no_name_reaches_a_terminal_as_an_order(case: Case, hold: Hold) -> None:
    hold(case)
