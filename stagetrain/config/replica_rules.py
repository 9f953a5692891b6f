"""What stages cannot do on several replicas."""

from __future__ import annotations

from collections.abc import Iterator

from stagetrain.config import stage_kinds, strategies
from stagetrain.config.model_rules import Problem
from stagetrain.config.schema import PipelineBase
from stagetrain.config.stages import all_stages, path_of, spec_of


def problems(pipeline: PipelineBase, options: strategies.ReplicaOptions) -> Iterator[Problem]:
    """Yields what of a pipeline is refused, as path and text."""
    del options
    name, number = pipeline.runtime.strategy, strategies.num_replicas(pipeline.runtime)
    for entry in all_stages(pipeline):
        train, path = entry.stage.train, path_of(pipeline, entry)
        if not stage_kinds.trains(entry.stage):
            continue
        if not spec_of(pipeline, entry.stage).reads_images:
            yield path, f"its network computes the losses of whole batches, which '{name}' would divide; use one_device"
        if number > 1 and train.gradient_accumulation > 1:
            text = f"found {train.gradient_accumulation}; expected 1 with '{name}', whose replicas divide a batch already"
            yield (*path, 'train', 'gradient_accumulation'), text
        if train.batch_size % number:
            text = f'found {train.batch_size}; expected a multiple of {number}, the number of replicas that share a batch'
            yield (*path, 'train', 'batch_size'), text
