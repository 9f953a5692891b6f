"""`stagetrain data check` and `stagetrain data convert`: what is in a data set, and the same data set in another format.

stagetrain data check $BCCD --split trainval --split test
stagetrain data convert $BCCD --split trainval --to coco --out bccd_coco --on_bad skip
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import rich.box
import rich.console
import rich.progress
import rich.table
import rich.text
import yaml

from stagetrain import files
from stagetrain.cli import streams
from stagetrain.config import schema
from stagetrain.data import convert, recognise, report
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import dataset_digest, read_dataset
from stagetrain.data.writers import WRITERS
from stagetrain.errors import EXIT_BAD_INPUT, EXIT_DONE, BadInput

NUM_SHOWN = 20
"""Faults, leaks and remarks shown of each set without `--all`."""


@dataclasses.dataclass(frozen=True)
class _Asked:
    """One data set to look at; `classes` is empty when it shall tell them itself."""

    name: str
    source: schema.DataSource
    classes: tuple[str, ...] = ()
    ignore_classes: tuple[str, ...] = ()
    max_image_pixels: int = 50_000_000


def check(options: argparse.Namespace, console: rich.console.Console) -> int:
    """Prints what data sets hold and what is wrong with them; exit code 2 when something is.

    Raises:
      BadInput: A data set as a whole cannot be used, or a pipeline file is wrong.
    """
    sets = []
    for asked in _asked(options):
        source, reason = recognise.recognised(asked.source)
        dataset = _load(asked, source)
        sets.append(report.examine(asked.name, dataset, f'{source.format}: {reason}'))
        _show(sets[-1], None if options.all else NUM_SHOWN, console)
    leaks = report.leaks(sets)
    _print_list(f'{len(leaks)} pictures stand in two sets', [str(leak) for leak in leaks], options.all, console)
    num_faults = sum(len(found.faults) for found in sets)
    if options.json:
        content = {'sets': [found.to_json() for found in sets], 'leaks': [dataclasses.asdict(leak) for leak in leaks]}
        files.write_json(options.json, content)
    console.print(f'{num_faults} faults, {len(leaks)} pictures in two sets', highlight=False, markup=False)
    return EXIT_BAD_INPUT if num_faults or leaks else EXIT_DONE


def convert_data(options: argparse.Namespace, console: rich.console.Console) -> int:
    """Writes a data set in another format, and says how to read it.

    Raises:
      BadInput: The data set cannot be used or converted, or `--out` is taken.
    """
    if len(options.split) > 1:
        raise BadInput('--split: expected one; convert each split into a folder of its own')
    (asked,) = _asked(options)
    source, reason = recognise.recognised(asked.source)
    console.print(f'{asked.name}: read as {source.format}: {reason}', highlight=False, markup=False, soft_wrap=True)
    dataset = _load(asked, source)
    if dataset.bad and options.on_bad == 'error':
        _print_list(f'{len(dataset.bad)} faults', [str(item) for item in dataset.bad], False, console)
        raise BadInput(f'{asked.name}: {len(dataset.bad)} faults; correct them, or leave them out with --on_bad skip')
    if options.drop_ignored:
        examples, num_dropped = convert.without_ignored(dataset)
        digest = dataset_digest(dataset.classes, examples)
        dataset = dataclasses.replace(dataset, examples=examples, digest=digest)
        console.print(f'{num_dropped} difficult or crowd objects are left out', highlight=False, markup=False)
    split = source.split or 'all'
    plan = convert.plan(dataset, options.to, split, num_shards=options.shards, max_image_pixels=asked.max_image_pixels)
    with rich.progress.Progress(console=console, transient=True) as progress:
        task = progress.add_task('images', total=len(dataset.examples))
        written = convert.convert(
            plan, options.out, num_processes=options.processes, progress=lambda count: progress.advance(task, count)
        )
    left_out = f', {len(dataset.bad)} faults left out' if dataset.bad else ''
    done = 'written and read back equal' if written else 'is there already, of the same data'
    console.print(
        f'{options.out}: {len(dataset.examples)} images, {dataset.num_boxes} objects{left_out}; {done}',
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    console.print(
        _as_yaml(WRITERS[options.to].source(options.out, split), dataset), highlight=False, markup=False, soft_wrap=True
    )
    return EXIT_DONE


def _asked(options: argparse.Namespace) -> list[_Asked]:
    if len(options.paths) == 1 and pathlib.Path(options.paths[0]).suffix in ('.yaml', '.yml'):
        return _asked_of_pipeline(pathlib.Path(options.paths[0]))
    asked = []
    for path in options.paths:
        for split in options.split or [None]:
            source = schema.DataSource(
                format=options.format, path=path, split=split, images=options.images, class_file=options.class_file
            )
            name = f'{path} {split}' if split else path
            asked.append(_Asked(name, source, options.classes, options.ignore_classes, options.max_image_pixels))
    return asked


def _asked_of_pipeline(path: pathlib.Path) -> list[_Asked]:
    from stagetrain.cli import prepare

    data = prepare.checked(path).pipeline.data
    names = tuple(data.classes), tuple(data.ignore_classes)
    return [_Asked(part, getattr(data, part), *names, data.max_image_pixels) for part in ('train', 'validation')]


def _load(asked: _Asked, source: schema.DataSource) -> Dataset:
    told = asked.classes or recognise.class_names(source)
    data = schema.Data.model_validate(
        {
            'classes': [name for name in told if name not in asked.ignore_classes],
            'ignore_classes': list(asked.ignore_classes),
            'train': source,
            'validation': source,
            'on_bad': 'skip',
            'max_image_pixels': asked.max_image_pixels,
        }
    )
    return read_dataset(source, data, 'train', None)


def _show(found: report.SetReport, limit: int | None, console: rich.console.Console) -> None:
    table = rich.table.Table(box=None, show_header=False, pad_edge=False, title_justify='left')
    table.add_column(no_wrap=True)
    table.add_column(overflow='fold')
    for name, value in _rows(found):
        table.add_row(name, rich.text.Text(value))
    console.print(rich.text.Text(found.name, 'bold'), soft_wrap=True)
    console.print(table)
    _print_list(f'{len(found.remarks)} remarks', found.remarks, limit is None, console)
    _print_list(f'{len(found.faults)} faults', [str(item) for item in found.faults], limit is None, console)
    console.print()


def _rows(found: report.SetReport) -> list[tuple[str, str]]:
    smallest, median, largest = found.objects_per_image
    flagged = f'; {found.num_difficult} difficult, {found.num_crowds} crowds'
    more_sizes = found.num_image_sizes - len(found.image_sizes)
    classes = {name: f'{count} in {found.images_by_class[name]} images' for name, count in found.objects_by_class.items()}
    return [
        ('read as', found.read_as),
        ('images', f'{found.num_images}; {found.num_without_objects} without objects'),
        ('kinds', _counts(found.image_kinds)),
        ('sizes', _counts(found.image_sizes) + (f', {more_sizes} others' if more_sizes else '')),
        ('objects', f'{found.num_objects}{flagged}; an image has {smallest} to {largest}, median {median:g}'),
        ('object sizes', _counts(found.objects_by_size)),
        ('classes', _counts(classes)),
        ('digest', found.digest),
    ]


def _counts(values: Any) -> str:
    return ', '.join(f'{name}: {count}' for name, count in values.items())


def _print_list(head: str, lines: Sequence[str], show_all: bool, console: rich.console.Console) -> None:
    if not lines:
        return
    console.print(rich.text.Text(f'{head}:'))
    for line in lines if show_all else lines[:NUM_SHOWN]:
        console.print(rich.text.Text(f'  {line}'), soft_wrap=True)
    if not show_all and len(lines) > NUM_SHOWN:
        console.print(f'  and {len(lines) - NUM_SHOWN} more; --all shows them')


def _as_yaml(source: schema.DataSource, dataset: Dataset) -> str:
    """Returns the lines of a pipeline file that read the data set."""
    given = source.model_dump(exclude_defaults=True)
    content = {'data': {'classes': list(dataset.classes), 'train': given}}
    style: dict[str, Any] = {'sort_keys': False, 'default_flow_style': None, 'width': 1000}
    return streams.fitting(lambda allow_unicode: yaml.safe_dump(content, allow_unicode=allow_unicode, **style)).rstrip()
