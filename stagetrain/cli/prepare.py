"""What verbs need before they can begin: the checked config, the facts around it, the run directory."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from stagetrain.config import check, load, schema, versions
from stagetrain.data import faults, judged, recognise
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from stagetrain.pipeline import fingerprint
from stagetrain.pipeline.fingerprint import Facts
from stagetrain.pipeline.plan import Plan, Selection, make_plan
from stagetrain.pipeline.rundir import EMPTY, RunDirectory


def checked(config: pathlib.Path, overrides: Sequence[str] = ()) -> load.Loaded:
    """Returns a pipeline file that obeys all rules; raises `ConfigError` with every one that is broken.

    What `--set` cuts off of a stage's schedules is told on standard error.
    """
    loaded = load.load_pipeline(config, overrides)
    check.check_pipeline(loaded)
    for remark in check.remarks(loaded):
        print(f'note: {remark}', file=sys.stderr)
    return loaded


def run_directory(given: pathlib.Path | None, config: pathlib.Path) -> RunDirectory:
    """Returns the run directory that was named, or `runs/<name of the config file>`."""
    return RunDirectory(given or pathlib.Path('runs') / config.stem)


def selection(options: argparse.Namespace) -> Selection:
    """Returns what `--only`, `--from`, `--until` and `--force` say."""
    return Selection(only=options.only, from_=options.from_, until=options.until, force=tuple(options.force))


def gather_facts(pipeline: schema.PipelineBase, cache: pathlib.Path | None) -> Facts:
    """Reads the data sets and the sources' digests, from the cache where nothing has changed.

    Raises:
      DataError: a data set cannot be used.
      WeightsError: a source is not there.
    """
    train = _dataset(pipeline, 'train', cache)
    validation = _dataset(pipeline, 'validation', cache)
    return Facts(
        train_digest=train.digest,
        validation_digest=validation.digest,
        num_train=len(train.examples),
        num_validation=len(validation.examples),
        num_bad_train=len(train.bad),
        num_bad_validation=len(validation.bad),
        sources=fingerprint.source_digests(pipeline, cache / 'sources.json' if cache else None),
        versions=versions.package_versions(),
        unrecorded=versions.unrecorded(),
        inputs=fingerprint.input_digests(pipeline),
        items={dataset.digest: dataset.items for dataset in (train, validation)},
        unmeasured=judged.nothing_to_measure(validation),
        train_objects=judged.objects_per_image(train, include_difficult=pipeline.data.train.include_difficult),
        left_out=[_left_out(dataset, pipeline.data) for dataset in (train, validation) if dataset.bad],
        validation_objects=judged.objects_per_image(validation, include_difficult=True),
    )


def planned(loaded: load.Loaded, directory: RunDirectory, select: Selection) -> Plan:
    """Returns the plan for a run directory, which need not be there yet; nothing but caches is written."""
    there = directory.exists()
    facts = gather_facts(loaded.pipeline, directory.cache if there or directory.path.is_dir() else None)
    return make_plan(loaded, facts, directory.state() if there else EMPTY, select=select)


def _left_out(dataset: Dataset, data: schema.Data) -> str:
    head = f'data.{dataset.name}: {len(dataset.bad)} boxes or images are left out:'
    return '\n'.join([head, *faults.summary(dataset, getattr(data, dataset.name), data)])


def _dataset(pipeline: schema.PipelineBase, split: str, cache: pathlib.Path | None) -> Dataset:
    source = getattr(pipeline.data, split)
    if source.format == recognise.AUTO:
        found, reason = recognise.recognised(source)
        print(f'data.{split}: format auto: read as {found.format}: {reason}', file=sys.stderr)
    return load_dataset(source, pipeline.data, split, cache)
