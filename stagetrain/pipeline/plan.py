"""The plan: what runs, what is skipped, and why. It writes and starts nothing and does not import TensorFlow.

    plan = make_plan(loaded, facts, state, select=Selection(only='rpn_2'))
    for stage in plan.stages:
        print(stage.id, stage.action, stage.reason)

A stage is up to date when its fingerprint is the one in `pipeline.lock`. While a stage that it starts from has yet to run, that
cannot be known: it is planned to run, and decided again when its turn comes (`decide`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from stagetrain import files
from stagetrain.config import artefacts, check, load, losses, schema, stage_kinds
from stagetrain.config.stages import live_losses, reached_modules, spec_of
from stagetrain.errors import ConfigError, known_names, suggestion
from stagetrain.pipeline import actions, class_lists, crowded, data_items, fingerprint, judging, reasons
from stagetrain.pipeline.actions import Asked, SayChanges, Wishes
from stagetrain.pipeline.answers import StageResult
from stagetrain.pipeline.fingerprint import Facts, OriginDigest
from stagetrain.pipeline.graph import Graph, StageNode, build_graph, num_steps
from stagetrain.pipeline.lock import Entry
from stagetrain.pipeline.planned import (
    EVERYTHING,
    EXTEND,
    REFUSE,
    RUN,
    SKIP,
    TRAINS,
    ArtefactPlan,
    Plan,
    Selection,
    StagePlan,
    counted_steps,
)
from stagetrain.pipeline.reasons import Because, Reason
from stagetrain.pipeline.rundir import EMPTY, Partial, RunState

NUM_DIFFERENCES_SHOWN = 5

Begun = TypeVar('Begun', Entry[StageResult], Partial)


def make_plan(loaded: load.Loaded, facts: Facts, state: RunState = EMPTY, *, select: Selection = EVERYTHING) -> Plan:
    """Returns what happens to each stage, and refuses what cannot be done.

    Args:
      loaded: a checked pipeline file.
      facts: digests of data and sources, versions of packages.
      state: what is in the run directory.
      select: what the command is about.

    Raises:
      ConfigError: an unknown stage is selected, a stage that is not selected is missing or stale but needed, a half-done
        stage's config has changed, or a stage that would begin would be judged by what cannot be measured.
    """
    plan = assess(loaded, facts, state, select=select)
    _refuse_before_the_first_step(plan, state)
    for stage in plan.stages:
        if stage.selected:
            _refuse(stage)
            _require_sources(plan, stage)
    return plan


def assess(loaded: load.Loaded, facts: Facts, state: RunState = EMPTY, *, select: Selection = EVERYTHING) -> Plan:
    """Returns what `make_plan` returns, without refusing: a stage that cannot go on has the action `refuse`.

    Raises:
      ConfigError: an unknown stage is selected.
    """
    graph = build_graph(loaded.pipeline)
    selected = _selected(graph, select)
    stages: dict[str, StagePlan] = {}
    for stage_id in graph.nodes:
        busy = {other for other, plan in stages.items() if plan.action in (*TRAINS, REFUSE)}
        stages[stage_id] = _decide(graph, graph.nodes[stage_id], facts, state, busy, select, stage_id in selected)
    return Plan(loaded, facts, graph, select, tuple(stages.values()))


def decide(plan: Plan, stage_id: str, state: RunState) -> StagePlan:
    """Returns what happens to a stage now that all that it starts from is done.

    Raises:
      ConfigError: it is half-done under another config.
    """
    stage = _decide(plan.graph, plan.graph.nodes[stage_id], plan.facts, state, set(), plan.select, True)
    _refuse(stage)
    return stage


def origin_digests(node: StageNode, facts: Facts, state: RunState) -> dict[str, OriginDigest]:
    """Returns the content that each module of a stage starts from; every stage it starts from must be in the lock."""
    return {module: _origin_digest(module, node, facts, state) for module in node.origins}


def _origin_digest(module: str, node: StageNode, facts: Facts, state: RunState) -> OriginDigest:
    origin = node.origins[module]
    classes = facts.source_classes.get(origin.name) if origin.by_class_name else None
    return OriginDigest(_digest(module, node, facts, state), origin.skip_mismatch, classes)


def _decide(
    graph: Graph, node: StageNode, facts: Facts, state: RunState, busy: set[str], select: Selection, selected: bool
) -> StagePlan:
    pipeline = graph.pipeline
    tell, state = _teller(graph, node, facts, state), _as_recorded_now(state, facts)
    first = [parent for parent in node.parents if parent in busy or parent not in state.lock.stages]
    origins = {} if first else origin_digests(node, facts, state)
    made_of = {} if first else {kind: _artefact_weights(graph, node, kind, state) for kind in node.reads}
    teachers = {} if first else {term: _teacher_weights(graph, node, term, state) for term in node.teachers}
    results = [] if first else [_weights_of(graph.nodes[stage_id], node.modules, state) for stage_id in node.made_of]
    whole, parts = fingerprint.stage_fingerprint(
        pipeline, node.stage, facts, origins=origins, made_of=made_of, teachers=teachers, results=results
    )
    trains = stage_kinds.trains(node.stage)
    steps = num_steps(node.stage.train, facts.num_train)
    plan = StagePlan(
        node=node,
        selected=selected,
        action=RUN,
        reason=reasons.NOT_RUN,
        step=0,
        fingerprint=None if first else whole,
        parts=parts,
        evaluation_parts=fingerprint.evaluation_parts(pipeline, facts),
        artefacts=tuple(_artefact_plan(graph, node, kind, facts, state, first) for kind in node.reads),
        losses=live_losses(node.stage),
        masked=_masked(pipeline, node.stage) if trains else (),
        idle=_idle(pipeline, node) if trains else (),
        num_steps=steps,
        num_images=steps * node.stage.train.batch_size if trains else 0,
    )
    asked = Asked(node.id, whole, parts, plan.evaluation_parts, steps)
    wishes = Wishes(node.id in select.force, node.id in select.extend, node.id in select.evaluate)
    decision = actions.decide(asked, state, tell, first=first, wishes=wishes)
    metrics = state.lock.stages[node.id].result.get('metrics') if decision.action == SKIP else None
    return dataclasses.replace(plan, **vars(decision), metrics=metrics or {})


def _as_recorded_now(state: RunState, facts: Facts) -> RunState:
    """Returns what is in a run directory with all that an older stagetrain did not record of its versions."""

    def completed(begun: Begun) -> Begun:
        parts = fingerprint.as_recorded_now(begun.parts, facts)
        return begun if parts == begun.parts else dataclasses.replace(begun, parts=parts, fingerprint=files.digest_of(parts))

    stages = {stage_id: completed(entry) for stage_id, entry in state.lock.stages.items()}
    partial = {stage_id: completed(begun) for stage_id, begun in state.partial.items()}
    return dataclasses.replace(state, lock=dataclasses.replace(state.lock, stages=stages), partial=partial)


def _refuse(stage: StagePlan) -> None:
    if stage.action == REFUSE:
        raise ConfigError(f'stage {stage.id} {stage.refusal}')


def _refuse_before_the_first_step(plan: Plan, state: RunState) -> None:
    """Refuses what would end a stage, or judge it by nothing, after its steps. A stage that is half-done goes on to its end."""
    pipeline, facts = plan.loaded.pipeline, plan.facts
    begun = {stage_id for stage_id, partial in state.partial.items() if partial.step}
    new = [stage for stage in plan.stages if stage.selected and stage.action == RUN and stage.id not in begun]
    faults = [fault for stage in new for fault in judging.faults(pipeline, stage.id, stage.node.stage, facts)]
    faults += [fault for stage in new for fault in class_lists.faults(pipeline, stage.id, stage.node.stage, facts.source_classes)]
    faults += crowded.faults(pipeline, [stage.node.stage for stage in new], facts)
    faults += check.beyond_the_end(plan.loaded, counted_steps(new))[0]
    if faults:
        raise ConfigError('\n'.join(faults))


def _artefact_plan(graph: Graph, node: StageNode, kind: str, facts: Facts, state: RunState, first: list[str]) -> ArtefactPlan:
    maker = graph.nodes[node.reads[kind]]
    if maker.id in first:
        return ArtefactPlan(kind, maker.id, RUN, Reason(Because.PENDING, f'decided after {maker.id}'), None, {})
    weights = _artefact_weights(graph, node, kind, state)
    settings = artefacts.read_by(node.stage)[kind]
    key, parts = fingerprint.artefact_fingerprint(
        graph.pipeline, artefacts.artefact(kind), maker.stage, settings, facts, weights=weights
    )
    made = state.lock.artefacts.get(kind, {})
    older = fingerprint.as_recorded_before(parts, facts)
    if key not in made and older is not None and files.digest_of(older) in made:
        key, parts = files.digest_of(older), older
    entry = made.get(key)
    if entry is not None and key not in state.missing:
        since = Reason(Because.UP_TO_DATE, f'up to date since {entry.finished}: fingerprint {key[:12]}')
        return ArtefactPlan(kind, maker.id, SKIP, since, key, parts)
    lost = state.missing.get(key)
    why = Reason(Because.NOT_RUN, 'not made yet') if lost is None else Reason(Because.LOST, lost)
    return ArtefactPlan(kind, maker.id, RUN, why, key, parts)


def _teacher_weights(graph: Graph, node: StageNode, term: str, state: RunState) -> dict[str, OriginDigest]:
    teacher = graph.nodes[node.teachers[term]]
    return _weights_of(teacher, losses.loss(term).teacher_modules(spec_of(graph.pipeline, teacher.stage)), state)


def _weights_of(maker: StageNode, modules: Iterable[str], state: RunState) -> dict[str, OriginDigest]:
    digests = state.lock.stages[maker.id].result['digests']
    return {module: OriginDigest(digests[module]) for module in modules}


def _artefact_weights(graph: Graph, node: StageNode, kind: str, state: RunState) -> dict[str, OriginDigest]:
    maker = graph.nodes[node.reads[kind]]
    return _weights_of(maker, artefacts.artefact(kind).modules(spec_of(graph.pipeline, maker.stage)), state)


def _digest(module: str, node: StageNode, facts: Facts, state: RunState) -> str | None:
    origin = node.origins[module]
    if origin.kind == 'fresh':
        return None
    if origin.kind == 'stage':
        return str(state.lock.stages[origin.name].result['digests'][module])
    return facts.sources[origin.name]


def _selected(graph: Graph, select: Selection) -> set[str]:
    if select.evaluate:
        return set(select.evaluate)
    known = [stage_id for stage_id, node in graph.nodes.items() if select.variants or node.variant is None]
    chosen = [
        ('--only', select.only),
        ('--from', select.from_),
        ('--until', select.until),
        *(('--force', name) for name in select.force),
        *(('--extend', name) for name in select.extend),
    ]
    for option, name in chosen:
        if name is not None and name not in known:
            raise ConfigError(f"{option}: no stage '{name}'. Known here: {known_names(known)}.{suggestion(name, known)}")
    if select.only is not None and (select.from_ or select.until):
        raise ConfigError(f'--only {select.only}: found together with --from or --until; expected one or the other')
    first = known.index(select.from_) if select.from_ else 0
    last = known.index(select.until) if select.until else len(known) - 1
    if first > last:
        raise ConfigError(
            f'--from {select.from_} --until {select.until}: {select.from_} stands behind {select.until}; nothing would run'
        )
    selected = {select.only} if select.only is not None else set(known[first : last + 1])
    for option, name in chosen[3:]:
        if name not in selected:
            raise ConfigError(
                f'{option} {name}: the stage is not among those selected ({", ".join(i for i in known if i in selected)})'
            )
    for name in set(select.force) & set(select.extend):
        raise ConfigError(f'--force {name} --extend {name}: one starts it again, the other goes on; expected one of them')
    return selected


def _require_sources(plan: Plan, stage: StagePlan) -> None:
    """A selected stage must not start from one that is not selected and would have to run."""
    needed = (
        [other for other in plan.stages if other.id in stage.node.parents and not other.selected] if stage.action != SKIP else []
    )
    for other in needed:
        if other.action in (*TRAINS, REFUSE):
            raise ConfigError(
                f'stage {stage.id} starts from {other.id}, which is {_lack(other)} and is not selected here. '
                f'Run that first: stagetrain run {plan.loaded.path or "CONFIG"} --until {other.id} (with the same --run_dir)'
            )


def _lack(stage: StagePlan) -> str:
    if stage.step and stage.action != EXTEND:
        return f'half-done at step {stage.step}'
    return 'missing' if stage.reason.kind is Because.NOT_RUN else f'not up to date ({stage.reason})'


def _masked(pipeline: schema.PipelineBase, stage: schema.Stage) -> tuple[str, ...]:
    live = live_losses(stage)
    return tuple(name for name in spec_of(pipeline, stage).loss_modules if name not in live)


def _idle(pipeline: schema.PipelineBase, node: StageNode) -> tuple[str, ...]:
    reached = reached_modules(pipeline, node.stage)
    return tuple(module for module in node.modules if module not in reached)


def _labels(node: StageNode, modules: Iterable[str]) -> dict[str, str]:
    """Names the parts of a fingerprint that are digests as a person would."""
    labels = {**fingerprint.DATA_SETS, 'init': 'sources'}
    for module, origin in node.origins.items():
        if origin.kind != 'fresh':
            labels[f'init.{module}'] = f"{origin.name}'s weights of {module}"
    teachers = {f'losses.{term}': maker for term, maker in node.teachers.items()}
    for kind, maker in {**node.reads, **teachers}.items():
        labels |= {f'{kind}.weights.{module}': f"{maker}'s weights of {module}" for module in modules}
    for number, maker in enumerate(node.made_of):
        place = f'{node.stage.kind}[{number}].weights'
        labels |= {f'{place}.{module}': f"{maker}'s weights of {module}" for module in node.modules}
    return labels


def _teller(graph: Graph, node: StageNode, facts: Facts, state: RunState) -> SayChanges:
    """Returns what says how two sets of parts of a stage differ; empty when they do not. Of data sets it names the images."""
    labels = _labels(node, graph.modules())
    begun = state.lock.stages.get(node.id) or state.partial.get(node.id)
    unrecorded = fingerprint.explained(begun.parts, facts) if begun is not None else {}

    def images(old: Any, new: Any) -> str:
        former, present = state.items(old) if old and new and old != new else None, facts.items.get(new)
        return data_items.changes(former, present) if former is not None and present is not None else ''

    def tell(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
        names = {part: found for part in fingerprint.DATA_SETS if (found := images(old.get(part), new.get(part)))}
        return _few(fingerprint.differences(old, new, labels, {**unrecorded, **names}))

    return tell


def _few(changes: list[str]) -> str:
    shown = '; '.join(changes[:NUM_DIFFERENCES_SHOWN])
    rest = len(changes) - NUM_DIFFERENCES_SHOWN
    return f'{shown}; and {rest} more' if rest > 0 else shown
