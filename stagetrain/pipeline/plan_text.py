"""A plan in words, as `stagetrain plan` prints it and as `str(plan)` gives it.

for line in plan_lines(plan):
    print(line.head + line.text)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stagetrain.config import artefacts, specs
from stagetrain.config.stages import spec_of
from stagetrain.pipeline import plan as planning
from stagetrain.pipeline.plan import Plan, StagePlan


class Line(NamedTuple):
    """A line: `head` is the id of the stage that it introduces, elsewhere empty."""

    head: str
    text: str


def plan_lines(plan: Plan) -> Iterator[Line]:
    """Yields a plan, stage by stage."""
    facts = plan.facts
    train = _images(facts.num_train, facts.num_bad_train, 'training')
    validation = _images(facts.num_validation, facts.num_bad_validation, 'validation')
    yield Line('', f'data: {train}, {validation}')
    for remark in plan.remarks():
        yield Line('', remark)
    for stage in plan.stages:
        if not stage.selected and stage.node.variant is not None:
            continue
        yield Line('', '')
        yield Line(stage.id, f'  {_what(stage)}')
        for label, text in _lines(plan, stage):
            yield Line('', f'    {label:<12}{text}')


def _what(stage: StagePlan) -> str:
    if not stage.selected:
        return 'not selected'
    step = f' at step {stage.step}' if stage.action == planning.RESUME else ''
    return f'{stage.action}{step}: {stage.reason}'


def _lines(plan: Plan, stage: StagePlan) -> Iterator[tuple[str, str]]:
    train = stage.node.stage.train_variables
    up_to = stage.node.stage.freeze_up_to
    scopes = [*stage.node.stage.freeze_variables, *([f'backbone up to {up_to}'] if up_to else [])]
    reached = [module for module in stage.node.modules if module not in stage.idle]
    if stage.node.stage.model is not None:
        yield 'network', f'{stage.node.stage.model}: {spec_of(plan.loaded.pipeline, stage.node.stage).name}'
    yield 'starts from', '; '.join(f'{", ".join(modules)} <- {origin}' for origin, modules in _by_origin(plan, stage).items())
    yield (
        'trains',
        ', '.join(reached)
        + (f', only {", ".join(train)}' if train is not None else '')
        + (', less what is frozen' if scopes else ''),
    )
    if scopes or train is not None:
        yield 'freezes', ', '.join([*scopes, *(['everything else'] if train is not None else [])])
    yield 'losses', ', '.join(f'{name} {weight:g}' for name, weight in stage.losses.items())
    if stage.masked:
        yield 'masked', ', '.join(stage.masked)
    if stage.idle:
        yield 'idle', f'{", ".join(stage.idle)}: carried along, no loss reaches it'
    for artefact in stage.artefacts:
        action = 'made' if artefact.action == planning.RUN else 'read'
        yield artefact.kind, f'{action} from {artefact.from_stage}: {artefact.reason}'
    for kind in artefacts.kinds():
        describe = specs.load_implementation(kind.describe) if kind.describe else lambda *_: None
        text = describe(plan.loaded.pipeline, stage.node.stage, plan.facts.num_train)
        if text is not None:
            yield kind.name, text
    if stage.node.stage.require:
        bounds = ', '.join(f'{metric} {bound}' for metric, bound in stage.node.stage.require.items())
        yield 'requires', bounds + (f': not kept, so a run stops here: {stage.lacking}' if stage.lacking else '')
    yield 'length', f'{stage.num_steps:,} steps, {stage.num_images:,} images'


def _by_origin(plan: Plan, stage: StagePlan) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for module, origin in stage.node.origins.items():
        loose = (' (what fits)' if origin.skip_mismatch else '') + (' (classes by name)' if origin.by_class_name else '')
        source = plan.loaded.pipeline.sources.get(origin.name) if origin.kind not in ('stage', 'fresh') else None
        path = f' ({source.path})' if source else ''
        grouped.setdefault(f'{origin.name}{loose}{path}', []).append(module)
    return grouped


def _images(number: int, bad: int, split: str) -> str:
    return f'{number:,} {split} images' + (f' ({bad} bad items left out)' if bad else '')
