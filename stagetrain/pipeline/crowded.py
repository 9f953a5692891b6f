"""Images that hold more objects than a stage has room for, or than detections are made and counted. Pure.

Training refuses such an image, for the rest of its objects would be lost; here that shows before the first step. An evaluation
goes on, and `remarks` says what it misses and which option lifts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from stagetrain.config import schema
from stagetrain.config.stages import detection_limit, measured, model_as_built
from stagetrain.pipeline.fingerprint import Facts

COCO_LIMIT = 100
"""Detections of a class in an image that COCO's metrics count."""


def faults(pipeline: schema.PipelineBase, stages: Iterable[schema.Stage], facts: Facts) -> Iterator[str]:
    """Yields, for each network of stages that are to be trained, that images have more objects than it takes."""
    for name in dict.fromkeys(stage.model for stage in stages):
        model = pipeline.model if name is None else pipeline.models[name]
        limit = getattr(getattr(model, 'parser', None), 'max_num_instances', None)
        if limit is not None and max(facts.train_objects, default=0) > limit:
            yield (
                f'{"model" if name is None else f"models.{name}"}.parser.max_num_instances: found {limit}, but '
                f'{_beyond(facts.train_objects, limit)} (data.train: {pipeline.data.train.path}); the rest would be lost. Set it '
                f'to at least {max(facts.train_objects)}'
            )


def remarks(pipeline: schema.PipelineBase, stages: Iterable[schema.Stage], facts: Facts) -> list[str]:
    """Returns a line when validation images have more objects than detections of an image are made, or counted."""
    most, counted = max(facts.validation_objects, default=0), pipeline.evaluation.max_detections or COCO_LIMIT
    made = [limit for stage in stages if (limit := _made(pipeline, stage)) is not None]
    if not made or most <= min(*made, counted):
        return []
    enough = max(most, COCO_LIMIT + 1)
    return [
        f'validation: {_beyond(facts.validation_objects, min(*made, counted))}; at most {min(made)} detections of an image are '
        f'made, and AP counts {counted} of a class. Set evaluation.max_detections: {enough} to lift both: AP@{enough} is then '
        "measured beside COCO's AP"
    ]


def _made(pipeline: schema.PipelineBase, stage: schema.Stage) -> int | None:
    """Returns how many detections of an image a stage makes; None for one that makes none, or tells no limit."""
    return detection_limit(model_as_built(pipeline, stage)) if measured(pipeline, stage).detections else None


def _beyond(objects: Sequence[int], limit: int) -> str:
    number = sum(count > limit for count in objects)
    images = '1 image holds' if number == 1 else f'{number} images hold'
    return f'{images} more than {limit} objects ({max(objects)} at most)'
