"""What became of every stage of a run directory, in words. Pure, and without TensorFlow.

for stage in stage_statuses(plan, state, ledger_lines):
    print(stage.id, stage.state, stage.text)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stagetrain.pipeline import planned
from stagetrain.pipeline.actions import extended
from stagetrain.pipeline.answers import StageResult
from stagetrain.pipeline.fingerprint import mixed
from stagetrain.pipeline.lock import Entry
from stagetrain.pipeline.planned import Plan, StagePlan
from stagetrain.pipeline.reasons import NOT_RUN
from stagetrain.pipeline.rundir import Partial, RunState

DONE = 'done'
PARTIAL = 'partial'
STALE = 'stale'
MISSING = 'missing'


@dataclasses.dataclass(frozen=True)
class StageStatus:
    """One stage: `done`, `partial`, `stale` or `missing`, and why."""

    id: str
    state: str
    text: str
    finished: str | None
    """UTC time; None while it is not finished."""
    seconds: float | None
    """Training time over all sessions; None while it is not finished."""
    metrics: Mapping[str, Any]


def stage_statuses(plan: Plan, state: RunState, ledger: Iterable[Mapping[str, Any]]) -> tuple[StageStatus, ...]:
    """Returns the status of every stage of a plan that was made with `plan.assess`, in its order."""
    failures = _failures(ledger)
    return tuple(_status(stage, state, failures.get(stage.id)) for stage in plan.stages)


def unjudged_statuses(stage_ids: Sequence[str], state: RunState) -> tuple[StageStatus, ...]:
    """Returns statuses without saying what is stale, for when the data cannot be read."""
    return tuple(_from_state(stage_id, state) for stage_id in stage_ids)


def _status(stage: StagePlan, state: RunState, failure: str | None) -> StageStatus:
    entry, partial = state.lock.stages.get(stage.id), state.partial.get(stage.id)
    if entry is not None:
        text = stage.lacking if stage.action == planned.SKIP else stage.reason.changes or str(stage.reason)
        again = f'trained again, at step {partial.step} of {stage.num_steps}' if partial is not None and partial.step else ''
        return _finished(stage.id, entry, DONE if stage.action == planned.SKIP else STALE, _joined(text, again))
    if partial is not None and partial.step:
        since = str(stage.reason) if stage.action == planned.REFUSE else ', '.join(_new_versions(stage, partial))
        changed = f'changed since: {since}' if since else ''
        failed = f'failed: {failure}' if failure else ''
        text = _joined(f'at step {partial.step} of {stage.num_steps}', _marks(partial), changed, failed)
        return StageStatus(stage.id, PARTIAL, text, None, None, {})
    return StageStatus(stage.id, MISSING, f'failed: {failure}' if failure else str(stage.reason), None, None, {})


def _from_state(stage_id: str, state: RunState) -> StageStatus:
    entry, partial = state.lock.stages.get(stage_id), state.partial.get(stage_id)
    if entry is not None:
        return _finished(stage_id, entry, DONE, 'whether it is up to date is not known')
    if partial is not None and partial.step:
        text = _joined(f'at step {partial.step}', _marks(partial))
        return StageStatus(stage_id, PARTIAL, text, None, None, {})
    return StageStatus(stage_id, MISSING, str(NOT_RUN), None, None, {})


def _finished(stage_id: str, entry: Entry[StageResult], state: str, text: str) -> StageStatus:
    text = _joined(text, _marks(entry))
    return StageStatus(stage_id, state, text, entry.finished, entry.result.get('seconds'), entry.result.get('metrics') or {})


def _marks(begun: Entry[StageResult] | Partial) -> str:
    """Why its bits are not those of an undisturbed run; empty when they are."""
    return _joined(mixed(begun.mixed_versions), extended(begun.extended))


def _new_versions(stage: StagePlan, partial: Partial) -> tuple[str, ...]:
    return stage.mixed_versions[len(partial.mixed_versions) :]


def _joined(*texts: str) -> str:
    return '; '.join(filter(None, texts))


def _failures(ledger: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Returns stage id -> message of those whose last event is a failure."""
    last = {line['job']: line for line in ledger if line['event'] != 'note'}
    return {job: line['text'] for job, line in last.items() if line['event'] == 'failed'}
