"""From a pipeline file to its plan: the checked config, the facts around it, what the run directory holds. Without TensorFlow."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stagetrain.api import lengths
from stagetrain.config import check, load, schema, versions
from stagetrain.data import faults, judged, recognise, user_cache
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from stagetrain.pipeline import class_lists, fingerprint
from stagetrain.pipeline.fingerprint import Facts
from stagetrain.pipeline.plan import make_plan
from stagetrain.pipeline.planned import Plan, Selection
from stagetrain.pipeline.rundir import EMPTY, RunDirectory

Tell = Callable[[str], None]
"""Takes a remark: something that is right, and that the person should know."""


def silent(text: str) -> None:
    """Takes a remark and drops it: for callers that ask for the facts themselves."""
    del text


def checked(
    source: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] = (), tell: Tell = silent
) -> load.Loaded:
    """Returns a pipeline that obeys all rules.

    Args:
      source: a pipeline file, or what one would hold.
      overrides: `PATH=VALUE` each.
      tell: takes what overrides cut off of a stage's schedules.

    Raises:
      ConfigError: rules are broken; every one is listed.
    """
    loaded = load.load_pipeline(source, overrides)
    check.check_pipeline(loaded)
    for remark in check.remarks(loaded):
        tell(f'note: {remark}')
    return loaded


def gather_facts(pipeline: schema.PipelineBase, cache: pathlib.Path | None, tell: Tell = silent) -> Facts:
    """Reads the data sets and the sources' digests, from the caches where nothing has changed.

    Args:
      pipeline: a checked pipeline.
      cache: folder of a run directory's caches; None: there is none, the user's cache of data sets alone counts.
      tell: takes how a data set of `format: auto` is read, and why nothing can be kept.

    Raises:
      DataError: a data set cannot be used.
      WeightsError: sources are not there, or are no weights.
    """
    # The sources first: a data set may take minutes.
    sources = fingerprint.source_digests(pipeline, cache / 'sources.json' if cache else None)
    lack = user_cache.fault(user_cache.folder()) if cache is None else None
    if lack is not None:
        tell(f'note: {lack}')
    train = _dataset(pipeline, 'train', cache, tell)
    validation = _dataset(pipeline, 'validation', cache, tell)
    return Facts(
        train_digest=train.digest,
        validation_digest=validation.digest,
        num_train=len(train.examples),
        num_validation=len(validation.examples),
        num_bad_train=len(train.bad),
        num_bad_validation=len(validation.bad),
        sources=sources,
        versions=versions.package_versions(),
        unrecorded=versions.unrecorded(),
        inputs=fingerprint.input_digests(pipeline),
        items={dataset.digest: dataset.items for dataset in (train, validation)},
        unmeasured=judged.nothing_to_measure(validation),
        source_classes=class_lists.of_sources(pipeline),
        train_objects=judged.objects_per_image(train, include_difficult=pipeline.data.train.include_difficult),
        left_out=[_left_out(dataset, pipeline.data) for dataset in (train, validation) if dataset.bad],
        validation_objects=judged.objects_per_image(validation, include_difficult=True),
    )


Settle = Callable[[load.Loaded, Facts], load.Loaded]
"""Decides lengths that depend on this machine; see `api.lengths`."""


def planned(
    loaded: load.Loaded, directory: RunDirectory, select: Selection, tell: Tell = silent, settle: Settle | None = None
) -> Plan:
    """Returns the plan for a run directory, which need not be there yet; nothing but caches is written.

    Args:
      loaded: a checked pipeline.
      directory: the run directory.
      select: which stages.
      tell: takes remarks.
      settle: decides what depends on this machine's speed; by default as far as that is known.

    Raises:
      RunDirectoryError: something else is there, or the directory is damaged.
      BadInput: as `gather_facts` and `make_plan`.
    """
    directory.require_usable()
    there = directory.exists()
    facts = gather_facts(loaded.pipeline, directory.cache if there or directory.path.is_dir() else None, tell)
    known = settle(loaded, facts) if settle else lengths.settled(loaded, directory, facts)
    return make_plan(known, facts, directory.state() if there else EMPTY, select=select)


def _left_out(dataset: Dataset, data: schema.Data) -> str:
    head = f'data.{dataset.name}: {len(dataset.bad)} boxes or images are left out:'
    return '\n'.join([head, *faults.summary(dataset, getattr(data, dataset.name), data)])


def _dataset(pipeline: schema.PipelineBase, split: str, cache: pathlib.Path | None, tell: Tell) -> Dataset:
    source = getattr(pipeline.data, split)
    if source.format == recognise.AUTO:
        found, reason = recognise.recognised(source)
        tell(f'data.{split}: format auto: read as {found.format}: {reason}')
    return load_dataset(source, pipeline.data, split, cache, user_cache_dir=user_cache.folder())
