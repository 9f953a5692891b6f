"""Whether the validation set can measure what stages are judged by. Pure.

Of a class without objects, or where all objects are ignored, a metric is None. A stage that hands over its best checkpoint,
ends early, lowers its learning rate or must keep a bound by such a metric is refused before its first step; other stages run, and
`remarks` says what will not be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from stagetrain.config import metric_names, schema
from stagetrain.config.builtin import experiment
from stagetrain.config.stages import judged_by_best_metric, measured_metrics, model_of
from stagetrain.pipeline.fingerprint import Facts


def reason(metric: str, unmeasured: Mapping[str, str]) -> str | None:
    """Returns why a metric will be None; None when it can be measured."""
    return unmeasured.get(metric_names.ALL) or unmeasured.get(metric_names.group(metric_names.canonical(metric)))


def judges(stage: schema.Stage) -> Iterator[tuple[str, str]]:
    """Yields (key, metric) of what decides about a stage by a metric."""
    yield from ((f'train.{key}', stage.train.best_metric) for key in judged_by_best_metric(stage.train))
    yield from ((f'require.{metric}', metric) for metric in stage.require)


def faults(pipeline: schema.PipelineBase, stage_id: str, stage: schema.Stage, facts: Facts) -> Iterator[str]:
    """Yields what decides about a stage by a metric that cannot be measured."""
    place = f'data.validation: {pipeline.data.validation.path}'
    model = model_of(pipeline, stage)
    if isinstance(model, experiment.Experiment):
        if model.input == 'crops' and facts.validation_objects and not any(facts.validation_objects):
            yield f'stages.{stage_id}: measured on crops of objects, but {place} holds crowds only, which are not cut out'
        return  # The names of its metrics are its task's.
    for key, metric in judges(stage):
        why = reason(metric, facts.unmeasured)
        if why is not None:
            yield (
                f'stages.{stage_id}.{key}: the metric {metric} would never be measured: {why} ({place}). '
                f'{_remedy(pipeline, stage, facts)}'
            )


def remarks(pipeline: schema.PipelineBase, stages: Iterable[schema.Stage], facts: Facts) -> list[str]:
    """Returns what of the metrics of stages will not be measured, a line for each group of objects that is missing."""
    measured = dict.fromkeys(name for stage in stages for name in measured_metrics(pipeline, stage))
    unmeasured = facts.unmeasured
    if metric_names.ALL in unmeasured and measured:
        return [f'validation: no metric will be measured: {unmeasured[metric_names.ALL]}']
    by_reason: dict[str, list[str]] = {}
    for name in measured:
        why = reason(name, unmeasured)
        # COCO's three sizes are seldom all there, which nobody misses who has not asked for one.
        if why is not None and metric_names.class_of(name) is not None:
            by_reason.setdefault(why, []).append(name)
    return [f'validation: {", ".join(names)} will not be measured: {why}' for why, names in by_reason.items()]


def _remedy(pipeline: schema.PipelineBase, stage: schema.Stage, facts: Facts) -> str:
    left = [name for name in measured_metrics(pipeline, stage) if reason(name, facts.unmeasured) is None]
    if not left:
        return 'Expected a validation set with objects that are neither difficult nor a crowd; or remove this key.'
    return f'Expected such objects in the validation set, or another metric. Measured there: {", ".join(left)}.'
