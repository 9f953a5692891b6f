"""Terminals, pipes and encodings: what is shown fits them, and what does not fit is escaped."""

from __future__ import annotations

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


CASES = [
    Case(
        'ascii and a class in chinese',
        _with_class,
        Step('data check four.yaml', code=2, says=[ESCAPED, '0 faults, 1 pictures in two sets'], where=SUBPROCESS, environ=ASCII),
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
    Case('columns that are no number', _finished, Step('status run', says=['detector_2'], environ={'COLUMNS': 'wide'})),
]


@each(CASES)
def test_what_is_shown_fits_where_it_is_shown(case: Case, hold: Hold) -> None:
    hold(case)
