"""What `stagetrain data` takes, without importing what it does."""

from __future__ import annotations

import pathlib

from stagetrain.cli.command_line import Parser, add_verb, data_format, folder, path_text, written_format


def add_arguments(parser: Parser) -> None:
    """Adds the actions `check` and `convert`, each with what it takes, to the verb's parser."""
    actions = parser.add_subparsers(dest='action', required=True)
    checking = add_verb(
        actions, 'check', 'list what data sets hold and what is wrong with them', 'data check annotations.json --images=photos/'
    )
    checking.add_argument('paths', type=path_text, nargs='+', metavar='PATH', help='data sets, or one pipeline file for its two')
    checking.add_argument('--all', action='store_true', help='show all faults, not the first ones only')
    checking.add_argument('--json', type=pathlib.Path, metavar='FILE', help='write the report there, too')
    converting = add_verb(
        actions, 'convert', 'write a data set in another format', 'data convert VOC2007/ --split=trainval --to=coco --out=as_coco'
    )
    converting.add_argument('paths', type=path_text, nargs=1, metavar='PATH', help='a data set')
    converting.add_argument(
        '--to', type=written_format, required=True, metavar='FORMAT', help='coco, csv, tfrecord, voc, ...: a wrong name lists all'
    )
    converting.add_argument('--out', required=True, type=folder, help='folder to make')
    converting.add_argument(
        '--on_bad', choices=['error', 'skip'], default='error', help='what happens with faults: stop, or leave them out'
    )
    converting.add_argument('--drop_ignored', action='store_true', help='leave out difficult objects and crowds')
    converting.add_argument('--shards', type=int, help='number of TFRecord files; default: 128 MiB each')
    converting.add_argument('--processes', type=int, default=2, choices=range(1, 65), metavar='N', help='default: 2')
    for action in (checking, converting):
        action.add_argument(
            '--format', type=data_format, default='auto', help='name of a format; default: auto, which recognises it'
        )
        action.add_argument('--split', action='append', default=[], help='repeatable with check')
        action.add_argument('--classes', type=_names, default=(), metavar='A,B', help='default: those of the data set')
        action.add_argument('--ignore_classes', type=_names, default=(), metavar='A,B', help='leave their objects out')
        action.add_argument('--images', type=path_text, help='the image folder of formats that list images in a file')
        action.add_argument('--class_file', type=path_text, help='csv and others: the class file; tfrecord: the label map')
        action.add_argument('--max_image_pixels', type=int, default=50_000_000, help='larger images are faults')


def add_evaluated_data(parser: Parser) -> None:
    """Adds what `stagetrain eval` takes to measure on a data set that is not the run's own."""
    parser.add_argument('--data', type=path_text, metavar='PATH', help='a data set to measure on, in place of the validation set')
    parser.add_argument('--format', type=data_format, default='auto', help='of --data: name of a format; default: auto')
    parser.add_argument('--split', help='of --data')
    parser.add_argument('--images', type=path_text, help='of --data, coco or csv: the image folder')
    parser.add_argument('--class_file', type=path_text, help='of --data, csv: the class file; tfrecord: the label map')
    parser.add_argument('--masks', action='store_true', help='of --data, coco: measure masks, too')
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help='write the metrics of --data there, too')


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(',') if name.strip())
