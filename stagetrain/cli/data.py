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

from stagetrain import outputs
from stagetrain.cli import streams
from stagetrain.config import schema
from stagetrain.data import convert, faults, objects, recognise, report, user_cache
from stagetrain.data.annotation import BadItem, Dataset, Kind
from stagetrain.data.index import dataset_digest, read_dataset
from stagetrain.data.writers import WRITERS
from stagetrain.errors import EXIT_BAD_INPUT, EXIT_DONE, BadInput, DataError

NUM_SHOWN = 20
"""Leaks, and remarks of each set, shown without `--all`."""


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

    A data set that cannot be read at all is a fault like others: the report comes in any case.

    Raises:
      BadInput: A pipeline file is wrong, or a format is not known.
    """
    asked_sets = _asked(options)
    report_file = None if options.json is None else outputs.file('--json', options.json, _is_report)
    sets = []
    for asked in asked_sets:
        sets.append(_examined(asked))
        _show(sets[-1], options.all, console)
    leaks = report.leaks(sets)
    _print_list(f'{len(leaks)} pictures stand in two sets', [str(leak) for leak in leaks], options.all, console)
    num_faults = sum(len(found.faults) for found in sets)
    if report_file is not None:
        content = {'sets': [found.to_json() for found in sets], 'leaks': [dataclasses.asdict(leak) for leak in leaks]}
        outputs.write_json('--json', report_file, content)
    console.print(f'{num_faults} faults, {len(leaks)} pictures in two sets', highlight=False, markup=False)
    return EXIT_BAD_INPUT if num_faults or leaks else EXIT_DONE


def convert_data(options: argparse.Namespace, console: rich.console.Console) -> int:
    """Writes a data set in another format, and says how to read it.

    Raises:
      BadInput: The data set cannot be used or converted, or `--out` is taken.
    """
    convert.require_format(options.to)
    if len(options.split) > 1:
        raise BadInput('--split: expected one; convert each split into a folder of its own')
    outputs.folder('--out', options.out)
    convert.require_free(options.out)
    (asked,) = _asked(options)
    source, reason = recognise.recognised(asked.source)
    console.print(f'{asked.name}: read as {source.format}: {reason}', highlight=False, markup=False, soft_wrap=True)
    dataset = _load(asked, source, None)
    if dataset.bad and (options.on_bad == 'error' or not dataset.examples):
        _print_faults(faults.by_kind(dataset, source), False, console)
        if not dataset.examples:
            raise BadInput(f'{asked.name}: not one image can be used; correct the faults')
        raise BadInput(f'{asked.name}: {len(dataset.bad)} faults; correct them, or leave them out with --on_bad skip')
    if options.drop_ignored:
        examples, num_dropped = convert.without_ignored(dataset)
        digest = dataset_digest(dataset.classes, examples)
        dataset = dataclasses.replace(dataset, examples=examples, digest=digest)
        console.print(f'{num_dropped} difficult or crowd objects are left out', highlight=False, markup=False)
    split = source.split or 'all'
    plan = convert.plan(dataset, options.to, split, num_shards=options.shards, max_image_pixels=asked.max_image_pixels)
    with outputs.explained('--out', options.out), rich.progress.Progress(console=console, transient=True) as progress:
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


def _is_report(value: Any) -> bool:
    return isinstance(value, dict) and 'sets' in value


def _asked(options: argparse.Namespace) -> list[_Asked]:
    if len(options.paths) == 1 and options.paths[0].endswith(('.yaml', '.yml')) and not recognise.is_data_set(options.paths[0]):
        return _asked_of_pipeline(pathlib.Path(options.paths[0]))
    asked = []
    for path in options.paths:
        for split in options.split or [None]:
            source = schema.DataSource(
                format=options.format, path=path, split=split, images=options.images, class_file=options.class_file
            )
            name = f'{path} {split}' if split else path
            one = _Asked(name, source, options.classes, options.ignore_classes, options.max_image_pixels)
            asked += _parts(one) if options.action == 'check' else [one]
    return asked


def _parts(asked: _Asked) -> list[_Asked]:
    """Returns a folder's splits, where it is no data set without one."""
    parts = recognise.parts(asked.source)
    if len(parts) == 1:
        return [asked]
    return [dataclasses.replace(asked, name=f'{asked.name} {part.split}', source=part) for part in parts]


def _asked_of_pipeline(path: pathlib.Path) -> list[_Asked]:
    from stagetrain.cli import prepare

    data = prepare.checked(path).pipeline.data
    names = tuple(data.classes), tuple(data.ignore_classes)
    return [_Asked(part, getattr(data, part), *names, data.max_image_pixels) for part in ('train', 'validation')]


def _examined(asked: _Asked) -> report.SetReport:
    """Reads a data set and counts; what cannot be read becomes a data set without images, with the reason as its fault."""
    source, read_as = asked.source, 'nothing could be read'
    try:
        source, reason = recognise.recognised(asked.source)
        read_as = f'{source.format}: {reason}'
        dataset = _with_use(_load(asked, source, user_cache.folder()), source)
    except DataError as error:
        fault = BadItem(source.path, '', str(error).removeprefix(f'{source.path}: '), Kind.UNREADABLE)
        dataset = Dataset(asked.name, (), (), (fault,), '')
    return report.examine(asked.name, dataset, read_as, faults.by_kind(dataset, source))


def _with_use(dataset: Dataset, source: schema.DataSource) -> Dataset:
    """Adds a fault where nothing can be learned, unless other faults leave nothing."""
    found = objects.to_learn(dataset, include_difficult=source.include_difficult)
    if found.num_usable or (dataset.bad and not found.num_objects):
        return dataset
    reason = f'{len(dataset.examples)} images, but nothing to learn in them: {found}'
    fault = BadItem(source.path, '', ' '.join([f'{reason}.', *found.remedies]), Kind.NOTHING_TO_LEARN)
    return dataclasses.replace(dataset, bad=(*dataset.bad, fault))


def _load(asked: _Asked, source: schema.DataSource, user_cache_dir: pathlib.Path | None) -> Dataset:
    told = asked.classes or _told(source)
    data = schema.Data.model_construct(  # Unchecked: without class names, too, it must be read, to see what is wrong with it.
        classes=[name for name in told if name not in asked.ignore_classes],
        ignore_classes=list(asked.ignore_classes),
        train=source,
        validation=source,
        on_bad='skip',
        max_image_pixels=asked.max_image_pixels,
    )
    return read_dataset(source, data, 'train', None, user_cache_dir=user_cache_dir)


def _told(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the class names that a data set tells; none where it tells none, or what is wrong with it shows in reading it."""
    try:
        return recognise.class_names(source)
    except DataError:
        return ()


def _show(found: report.SetReport, show_all: bool, console: rich.console.Console) -> None:
    table = rich.table.Table(box=None, show_header=False, pad_edge=False, title_justify='left')
    table.add_column(no_wrap=True)
    table.add_column(overflow='fold')
    for name, value in _rows(found):
        table.add_row(name, rich.text.Text(value))
    console.print(rich.text.Text(found.name, 'bold'), soft_wrap=True)
    console.print(table)
    _print_list(f'{len(found.remarks)} remarks', found.remarks, show_all, console)
    _print_faults(found.kinds, show_all, console)
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


def _print_faults(kinds: Sequence[faults.FaultGroup], show_all: bool, console: rich.console.Console) -> None:
    """Prints the faults by kind, the first of each or all."""
    if not kinds:
        return
    count = sum(len(group.items) for group in kinds)
    hint = '' if show_all or count <= faults.NUM_EXAMPLES else '; --all lists each'
    console.print(rich.text.Text(f'{count} faults of {len(kinds)} {"kind" if len(kinds) == 1 else "kinds"}{hint}:'))
    for line in faults.lines(kinds, None if show_all else faults.NUM_EXAMPLES):
        console.print(rich.text.Text(f'  {line}'), soft_wrap=True)


def _as_yaml(source: schema.DataSource, dataset: Dataset) -> str:
    """Returns the lines of a pipeline file that read the data set."""
    given = source.model_dump(exclude_defaults=True)
    content = {'data': {'classes': list(dataset.classes), 'train': given}}
    style: dict[str, Any] = {'sort_keys': False, 'default_flow_style': None, 'width': 1000}
    return streams.fitting(lambda allow_unicode: yaml.safe_dump(content, allow_unicode=allow_unicode, **style)).rstrip()
