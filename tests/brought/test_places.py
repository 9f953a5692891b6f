"""Where output goes: places that cannot be written, that are taken, or whose names mean something to shells and patterns."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

from tests.brought import sets
from tests.brought.case import RUN_FILES, Case, Hold, Step, each
from tests.fakes import project

NAMES = ('lr[0.1]*?', "my o'run %d{1,2}$HOME", '实验\n[bold]x', 'K\udce4fer')
"""What means something to patterns, shells, formats, terminals and markup, or is not UTF-8."""

LONG = 'n' * 300


def _project(folder: pathlib.Path) -> None:
    project.make_project(folder)


def _finished(folder: pathlib.Path) -> None:
    project.make_project(folder).run()


def _weights_by_their_parts(folder: pathlib.Path) -> None:
    project.make_project(folder)
    for name in ('ck/model.ckpt-1.index', 'ck/model.ckpt-1.data-00000-of-00001', 'ck/model.ckpt-1.meta', 'ck/checkpoint'):
        sets.write(folder / name, b'\x00table')
    for name in ('sm/saved_model.pb', 'frozen_inference_graph.pb', 'a.onnx'):
        sets.write(folder / name, b'\n\x1f\n\x0cimage_tensor')
    (folder / 'empty').mkdir()


def _coco(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]]})


def _coco_and(*made: str) -> Callable[[pathlib.Path], None]:
    """A data set, files, and folders (names that end with a slash)."""

    def make(folder: pathlib.Path) -> None:
        _coco(folder)
        for name in made:
            if name.endswith('/'):
                (folder / name).mkdir(parents=True)
            else:
                sets.write(folder / name, 'mine')

    return make


def _run_named(name: str) -> Case:
    quoted = "'" + name.replace("'", "'\\''") + "'"
    changes = ('*/*', *RUN_FILES)
    return Case(
        name,
        _project,
        Step(f'run four.yaml --run_dir {quoted}', made=[f'{_plain(name)}/pipeline.lock'], changes=RUN_FILES),
        Step(f'status {quoted}', says=[r'(done.*){4}']),
        Step(f'run four.yaml --run_dir {quoted}', says=['all 4 stages are up to date'], changes=changes),
        Step(f'verify {quoted} --files_only', changes=changes),
        Step(f'clean {quoted}', changes=changes),
        Step(f'eval {quoted} --stage detector_2', says=['AP50'], changes=changes),
    )


def _plain(name: str) -> str:
    """A pattern that means the name itself."""
    return ''.join(f'[{letter}]' if letter in '[*?' else letter for letter in name)


def _data_named(name: str) -> Case:
    def make(folder: pathlib.Path) -> None:
        sets.voc(folder / name / 'voc')
        sets.coco(folder / name / 'a.json', {'1.jpg': [[5, 5, 20, 20]]})
        sets.tfrecord(folder / name / 'a.tfrecord', sets.record('1'))
        sets.csv(folder / name / 'boxes.csv', ['1.jpg,10,5,40,30,thing'], ['1.jpg'])

    def quoted(file: str) -> str:
        return "'" + f'{name}/{file}'.replace("'", "'\\''") + "'"

    return Case(
        name,
        make,
        Step(f'data check {quoted("voc")}', says=['images 2;', '0 faults']),
        Step(f'data check {quoted("a.json")}', says=['images 1;', '0 faults']),
        Step(f'data check {quoted("boxes.csv")}', says=['images 1;', '0 faults']),
        Step(f'data check {quoted("a.tfrecord")} --class_file {quoted("label_map.pbtxt")}', says=['images 1;', '0 faults']),
        Step(
            f'data convert {quoted("voc")} --to tfrecord --out {quoted("out")} --processes 1',
            says=['written and read back equal'],
        ),
    )


RUNS = [_run_named(name) for name in NAMES]
DATA = [_data_named(name) for name in NAMES]

REFUSED = [
    Case(
        'report into no folder',
        _coco,
        Step('data check a.json --json none/r.json', code=2, says=['none', '--json'], silent=['images 1']),
    ),
    Case(
        'report at a folder',
        _coco_and('r/'),
        Step('data check a.json --json r', code=2, says=[r'\br\b', '--json'], silent=['images 1']),
    ),
    Case(
        'report below a file',
        _coco_and('r'),
        Step('data check a.json --json r/x.json', code=2, says=[r'\br\b', '--json'], silent=['images 1']),
    ),
    Case(
        'report into /proc',
        _coco,
        Step('data check a.json --json /proc/r.json', code=2, says=['/proc', '--json'], silent=['images 1']),
    ),
    Case('convert into no folder', _coco, Step('data convert a.json --to csv --out none/deep/csv', made=['none/deep/csv/*.csv'])),
    Case('convert to a file', _coco_and('out'), Step('data convert a.json --to csv --out out', code=2, says=[r'\bout\b'])),
    Case('convert below a file', _coco_and('out'), Step('data convert a.json --to csv --out out/csv', code=2, says=[r'\bout\b'])),
    Case('convert into /proc', _coco, Step('data convert a.json --to csv --out /proc/csv', code=2, says=['/proc'])),
    Case(
        'convert into a folder with something',
        _coco_and('out/mine.txt'),
        Step('data convert a.json --to csv --out out', code=2, says=[r'\bout\b']),
    ),
    Case('convert over itself', _coco, Step('data convert a.json --to coco --out .', code=2, says=['is there already'])),
    Case('run at a file', _project, Step('run four.yaml --run_dir four.yaml', code=2, says=['four.yaml'])),
    Case('run below a file', _project, Step('run four.yaml --run_dir four.yaml/run', code=2, says=['four.yaml'])),
    Case('run into /proc', _project, Step('run four.yaml --run_dir /proc/run', code=2, says=['/proc/run'])),
    Case('run into a folder with something', _project, Step('run four.yaml --run_dir data', code=2, says=['data'])),
    Case(
        'a name too long',
        _project,
        *(
            Step(f'{verb} {LONG}', code=2, says=['nnn', 'too long|as long as'])
            for verb in ('run four.yaml --run_dir', 'status', 'clean', 'verify', 'check', 'plan')
        ),
    ),
    Case('status of a file', _project, Step('status four.yaml', code=2, says=['four.yaml'])),
    Case('clean of a data set', _project, Step('clean data', code=2, says=['data', 'run directory'])),
    Case('detections at a file', _finished, Step('detect run data/JPEGImages/a.jpg --out four.yaml', code=2, says=['four.yaml'])),
    Case(
        'detections below a file',
        _finished,
        Step('detect run data/JPEGImages/a.jpg --out four.yaml/x', code=2, says=['four.yaml']),
    ),
    Case('detections into /proc', _finished, Step('detect run data/JPEGImages/a.jpg --out /proc/x', code=2, says=['/proc'])),
    Case(
        'detections of no image', _finished, Step('detect run none.jpg --out out', code=2, says=['none.jpg'], not_made=['out/*'])
    ),
    Case(
        'metrics at a folder', _finished, Step('eval run --data data --split test --json data', code=2, says=['data', '--json'])
    ),
    Case(
        'metrics into no folder',
        _finished,
        Step('eval run --data data --split test --json none/m.json', code=2, says=['none', '--json']),
    ),
    Case('weights that are a folder', _project, Step('weights show data', code=2, says=['data'])),
    Case('weights that are an image', _project, Step('weights show data/JPEGImages/a.jpg', code=2, says=['a.jpg'])),
    Case(
        'what is named is one of several files',
        _weights_by_their_parts,
        *(
            Step(f"plan four.yaml --set 'sources.imagenet={{{kind}: {name}}}'", code=2, says=[re.escape(name), *says])
            for kind, name, says in (
                (
                    'checkpoint',
                    'ck/model.ckpt-1.data-00000-of-00001',
                    ['a part of a checkpoint', r'begin with, .*/ck/model\.ckpt-1$'],
                ),
                ('tf1_checkpoint', 'ck/model.ckpt-1.meta', [r'begin with, .*/ck/model\.ckpt-1$']),
                ('checkpoint', 'ck/checkpoint', ['name the folder, .*/ck$']),
                ('saved_model', 'sm/saved_model.pb', ['name its folder as saved_model: .*/sm$']),
                ('checkpoint', 'frozen_inference_graph.pb', ['a frozen graph']),
                ('keras_h5', 'a.onnx', ['a model of ONNX']),
                ('checkpoint', 'empty', ['a folder without files']),
            )
        ),
    ),
    Case('weights of nothing', _project, Step('weights diff none.h5 weights.h5', code=2, says=['none.h5'])),
]


@each(RUNS)
def test_a_run_directory_may_have_any_name(case: Case, hold: Hold) -> None:
    hold(case)


@each(DATA)
def test_data_may_lie_in_folders_of_any_name(case: Case, hold: Hold) -> None:
    hold(case)


@each(REFUSED)
def test_a_place_that_cannot_be_used_is_refused_before_the_work(case: Case, hold: Hold) -> None:
    hold(case)
