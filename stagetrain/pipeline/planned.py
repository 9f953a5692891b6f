"""What is planned for a pipeline's stages, as values and in words; `plan` decides it.

for stage in plan.stages:
    print(stage.id, stage.action, stage.reason)
print(plan)                                       # as `stagetrain plan` does
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from stagetrain.config import artefacts, check, load, specs, stage_kinds
from stagetrain.config.stages import spec_of
from stagetrain.pipeline import crowded, data_items, gates, judging
from stagetrain.pipeline.fingerprint import Facts
from stagetrain.pipeline.graph import Graph, StageNode
from stagetrain.pipeline.reasons import Reason

RUN = 'run'
RESUME = 'resume'
EXTEND = 'extend'
EVALUATE = 'evaluate'
SKIP = 'skip'
REFUSE = 'refuse'
TRAINS = (RUN, RESUME, EXTEND)


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which stages a command is about; each stage by its id (`rpn_1`, or `end_to_end.joint` in a variant)."""

    only: str | None = None
    """This stage alone."""
    from_: str | None = None
    """This stage and those behind it."""
    until: str | None = None
    """This stage and those before it."""
    force: tuple[str, ...] = ()
    """Start these again from their sources, up to date or not."""
    extend: tuple[str, ...] = ()
    """Go on with these from the steps that they have, though an undisturbed run would have done those otherwise."""
    variants: bool = False
    """The stages of `compare` too."""
    evaluate: tuple[str, ...] = ()
    """These alone, and of them only the evaluation, again."""


EVERYTHING = Selection()
_UNMEASURED = (
    '{asked.place}: recipe.budget {asked.budget}: not measured yet on this machine with this data and network. `stagetrain run` '
    'measures how fast its stages are first, and decides their steps by that'
)


@dataclasses.dataclass(frozen=True)
class ArtefactPlan:
    """What a stage reads of another. The fingerprint is None while the stage that it is made of has yet to run."""

    kind: str
    from_stage: str
    action: str
    reason: Reason
    fingerprint: str | None
    parts: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class StagePlan:
    """What happens to one stage."""

    node: StageNode
    selected: bool
    action: str
    """`run` from its sources, `resume` at `step`, `extend` a finished one from `step`, `evaluate` alone, `skip`, or `refuse`."""
    reason: Reason
    step: int
    """Steps done already."""
    fingerprint: str | None
    """None while a stage that it starts from has yet to run; `parts` lack the digests of its sources then."""
    parts: Mapping[str, Any]
    evaluation_parts: Mapping[str, Any]
    artefacts: tuple[ArtefactPlan, ...]
    losses: Mapping[str, float]
    masked: tuple[str, ...]
    """Loss terms of the detector that are not built."""
    idle: tuple[str, ...]
    """Modules that are carried along and that no live loss reaches."""
    num_steps: int
    num_images: int
    mixed_versions: tuple[str, ...] = ()
    """Which packages changed while it was half-done, and at which step."""
    extended: tuple[str, ...] = ()
    """What an undisturbed run would have done otherwise in steps that were kept."""
    refusal: str = ''
    """Why it is refused, and the ways on."""
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What was measured of it, while that is up to date."""

    @property
    def lacking(self) -> str:
        """Which of the bounds that it must keep do not hold, in words; empty when all do or nothing was measured yet."""
        return gates.unmet(gates.judge(self.node.stage.require, self.metrics)) if self.metrics else ''

    @property
    def id(self) -> str:
        """The stage's id."""
        return self.node.id


@dataclasses.dataclass(frozen=True)
class Plan:
    """A pipeline with what happens to each of its stages, in order."""

    loaded: load.Loaded
    facts: Facts
    graph: Graph
    select: Selection
    stages: tuple[StagePlan, ...]

    def remarks(self) -> list[str]:
        """Returns what a person should know of the data before the selected stages run, a line each."""
        selected = [stage for stage in self.stages if stage.selected]
        given = (self.loaded.pipeline, [stage.node.stage for stage in selected], self.facts)
        found = [*judging.remarks(*given), *crowded.remarks(*given)]
        unmeasured = [_UNMEASURED.format(asked=asked) for asked in self.loaded.unmeasured]
        return [
            *self.facts.left_out,
            *self._shared_images(),
            *found,
            *check.beyond_the_end(self.loaded, counted_steps(selected))[1],
            *self.loaded.length_notes,
            *unmeasured,
        ]

    def _shared_images(self) -> Iterator[str]:
        items = self.facts.items
        found = data_items.shared(items.get(self.facts.train_digest, {}), items.get(self.facts.validation_digest, {}))
        if found:
            command = f'; stagetrain data check {shlex.quote(str(self.loaded.path))} names all' if self.loaded.path else ''
            yield f'{found}, byte for byte: metrics on such images do not tell how good a detector is on new ones{command}'

    def __str__(self) -> str:
        """Returns what `stagetrain plan` prints."""
        return '\n'.join(line.head + line.text for line in plan_lines(self))

    def jobs(self) -> int:
        """Returns how many child processes the plan needs at most."""
        busy = [stage for stage in self.stages if stage.selected and stage.action != SKIP]
        return len(busy) + sum(artefact.action == RUN for stage in busy for artefact in stage.artefacts)


def counted_steps(stages: Iterable[StagePlan]) -> dict[str, int]:
    """Returns the steps of the stages whose file says epochs; `check` has looked at the others."""
    return {stage.id: stage.num_steps for stage in stages if stage.node.stage.train.epochs is not None}


class PlanLine(NamedTuple):
    """A line: `head` is the id of the stage that it introduces, elsewhere empty."""

    head: str
    text: str


def plan_lines(plan: Plan) -> Iterator[PlanLine]:
    """Yields a plan, stage by stage."""
    facts = plan.facts
    train = _images(facts.num_train, facts.num_bad_train, 'training')
    validation = _images(facts.num_validation, facts.num_bad_validation, 'validation')
    yield PlanLine('', f'data: {train}, {validation}')
    for remark in plan.remarks():
        yield PlanLine('', remark)
    for stage in plan.stages:
        if not stage.selected and stage.node.variant is not None:
            continue
        yield PlanLine('', '')
        yield PlanLine(stage.id, f'  {_what(stage)}')
        for label, text in _lines(plan, stage):
            yield PlanLine('', f'    {label:<12}{text}')


def _what(stage: StagePlan) -> str:
    if not stage.selected:
        return 'not selected'
    step = f' at step {stage.step}' if stage.action == RESUME else ''
    return f'{stage.action}{step}: {stage.reason}'


def _lines(plan: Plan, stage: StagePlan) -> Iterator[tuple[str, str]]:
    if stage.node.stage.model is not None:
        yield 'network', f'{stage.node.stage.model}: {spec_of(plan.loaded.pipeline, stage.node.stage).name}'
    trains = stage_kinds.trains(stage.node.stage)
    if trains:
        yield from _training_lines(plan, stage)
    else:
        kind = stage_kinds.stage_kind(stage.node.stage.kind)
        yield kind.name, kind.describe(stage_kinds.settings_of(stage.node.stage))
        yield 'holds', ', '.join(stage.node.modules)
    if stage.node.stage.require:
        bounds = ', '.join(f'{metric} {bound}' for metric, bound in stage.node.stage.require.items())
        yield 'requires', bounds + (f': not kept, so a run stops here: {stage.lacking}' if stage.lacking else '')
    if any(stage.id in given.stages for given in plan.loaded.unmeasured):
        yield 'length', 'decided by recipe.budget, once this machine is measured'
    elif trains:
        yield 'length', f'{stage.num_steps:,} steps, {stage.num_images:,} images'


def _training_lines(plan: Plan, stage: StagePlan) -> Iterator[tuple[str, str]]:
    train = stage.node.stage.train_variables
    up_to = stage.node.stage.freeze_up_to
    scopes = [*stage.node.stage.freeze_variables, *([f'backbone up to {up_to}'] if up_to else [])]
    reached = [module for module in stage.node.modules if module not in stage.idle]
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
        action = 'made' if artefact.action == RUN else 'read'
        yield artefact.kind, f'{action} from {artefact.from_stage}: {artefact.reason}'
    for kind in artefacts.kinds():
        describe = specs.load_implementation(kind.describe) if kind.describe else lambda *_: None
        text = describe(plan.loaded.pipeline, stage.node.stage, plan.facts.num_train)
        if text is not None:
            yield kind.name, text


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
