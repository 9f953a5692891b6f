"""What happens to one stage: decided from what was recorded of it and what is asked for now. Pure.

decision = decide(asked, state, tell, first=[], wishes=Wishes())
decision.action, str(decision.reason)        # 'extend', 'extends from step 4 to 8: the schedule of the steps done is unchanged'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stagetrain.pipeline import extension, fingerprint, reasons
from stagetrain.pipeline.answers import StageResult
from stagetrain.pipeline.extension import Change
from stagetrain.pipeline.lock import Entry
from stagetrain.pipeline.planned import EVALUATE, EXTEND, REFUSE, RESUME, RUN, SKIP
from stagetrain.pipeline.reasons import Because, Reason
from stagetrain.pipeline.rundir import Partial, RunState

UNCHANGED = 'the schedule of the steps done is unchanged'

SayChanges = Callable[[Mapping[str, Any], Mapping[str, Any]], str]
"""Former parts and present ones -> what differs, in words."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """A stage as it is asked for now."""

    id: str
    fingerprint: str
    parts: Mapping[str, Any]
    evaluation_parts: Mapping[str, Any]
    num_steps: int


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What the command says of one stage."""

    force: bool = False
    extend: bool = False
    evaluate: bool = False


@dataclasses.dataclass(frozen=True)
class Decision:
    """What happens to a stage."""

    action: str
    """`run` from its sources, `resume` at `step`, `extend` a finished one from `step`, `evaluate` alone, `skip`, or `refuse`."""
    step: int
    """Steps that are done and kept."""
    reason: Reason
    mixed_versions: tuple[str, ...] = ()
    """Which packages changed in its training, and at which step."""
    extended: tuple[str, ...] = ()
    """What an undisturbed run would have done otherwise in the steps that were kept, and up to which step."""
    refusal: str = ''
    """Why it is refused, and the ways on."""


def decide(asked: Asked, state: RunState, tell: SayChanges, *, first: Sequence[str], wishes: Wishes) -> Decision:
    """Returns what happens to a stage.

    Args:
      asked: the stage.
      state: what is in the run directory.
      tell: says how parts differ.
      first: stages that it starts from and that have yet to run; its fingerprint is not known then.
      wishes: what the command says of it.
    """
    partial, entry = state.partial.get(asked.id), state.lock.stages.get(asked.id)
    if wishes.force:
        return Decision(RUN, 0, Reason(Because.ASKED, 'asked for with --force'))
    if first:
        return _pending(asked, partial, first, tell, wishes)
    is_up_to_date = entry is not None and entry.fingerprint == asked.fingerprint and asked.id not in state.missing
    # One that is up to date can be half-done too: it was begun anew with --force.
    is_begun_as_asked = partial is not None and partial.step > 0 and partial.fingerprint == asked.fingerprint
    if entry is not None and is_up_to_date and (wishes.evaluate or not is_begun_as_asked):
        return _up_to_date(asked, entry, tell, wishes)
    if entry is not None and asked.id in state.missing and not is_begun_as_asked:
        return Decision(RUN, 0, Reason(Because.LOST, state.missing[asked.id]))
    if partial is not None and partial.step:
        return _half_done(asked, partial, tell, wishes)
    if entry is not None:
        return _finished(asked, entry, state.kept.get(asked.id, ()), tell, wishes)
    if partial is None:
        return Decision(RUN, 0, reasons.NOT_RUN)
    changed = '' if partial.fingerprint == asked.fingerprint else ' under another config'
    return Decision(RUN, 0, Reason(Because.NOT_RUN, f'was begun{changed} but saved no step'))


def _pending(asked: Asked, partial: Partial | None, first: Sequence[str], tell: SayChanges, wishes: Wishes) -> Decision:
    """A stage whose sources have yet to run; its own settings can be compared already."""
    if partial is not None and partial.step:
        known, own = ({name: parts[name] for name in parts if _is_own(name)} for parts in (partial.parts, asked.parts))
        decision = _half_done(dataclasses.replace(asked, parts=own), dataclasses.replace(partial, parts=known), tell, wishes)
        if decision.action == REFUSE:
            return decision
    return Decision(RUN, 0, Reason(Because.PENDING, f'decided after {", ".join(first)}, which it starts from'))


def _is_own(part: str) -> bool:
    return not fingerprint.is_origin(part) and not fingerprint.is_version(part)


def _up_to_date(asked: Asked, entry: Entry[StageResult], tell: SayChanges, wishes: Wishes) -> Decision:
    changes = tell(entry.evaluation_parts, asked.evaluation_parts)
    marks = [mark for mark in (fingerprint.mixed(entry.mixed_versions), extended(entry.extended)) if mark]
    if wishes.evaluate:
        action, reason = EVALUATE, Reason(Because.ASKED, 'evaluated again, as asked for')
    elif changes:
        action, reason = EVALUATE, Reason(Because.STALE_METRICS, f'trained, but its metrics are stale: {changes}')
    else:
        since = f'up to date since {entry.finished}: fingerprint {entry.fingerprint[:12]} is unchanged'
        action, reason = SKIP, Reason(Because.UP_TO_DATE, '; '.join([since, *marks]))
    return Decision(action, asked.num_steps, reason, tuple(entry.mixed_versions), tuple(entry.extended))


def _half_done(asked: Asked, partial: Partial, tell: SayChanges, wishes: Wishes) -> Decision:
    """A stage with a checkpoint that is not its last one."""
    if partial.fingerprint == asked.fingerprint:
        reason = Reason(Because.HALF_DONE, f'goes on at step {partial.step}')
        return Decision(RESUME, partial.step, reason, partial.mixed_versions, partial.extended)
    step = extension.start((*partial.kept, partial.step), asked.num_steps)
    change = extension.compare(partial.parts, asked.parts, partial.step if step is None else step)
    if change.forbids or step is None or (change.deviations and not wishes.extend):
        return _refused(asked, partial, step, change, tell)
    words = [
        f'goes on at step {step}' if step == partial.step else f'goes back to its checkpoint of step {step} and on from there'
    ]
    words += [f' with {change.versions}'] if change.versions else []
    words += (
        [f': {"; ".join([*change.length, *(change.deviations or [UNCHANGED])])}'] if change.length or change.deviations else []
    )
    mixed = (*partial.mixed_versions, *([f'{change.versions} at step {step}'] if change.versions else []))
    return Decision(RESUME, step, Reason(Because.HALF_DONE, ''.join(words)), mixed, (*partial.extended, *_marks(change, step)))


def _refused(asked: Asked, partial: Partial, step: int | None, change: Change, tell: SayChanges) -> Decision:
    since = tell(partial.parts, asked.parts) if change.forbids else '; '.join([*change.length, *change.deviations])
    why = 'Going on would mix the two.'
    if step is None and not change.forbids:
        why = f'It has more steps than that, and no checkpoint of step {asked.num_steps} or before is kept.'
    ways = f'Start it again with --force {asked.id}, or put back what has changed and it goes on.'
    if step is not None and not change.forbids:
        ways += f' --extend {asked.id} goes on all the same, and it stays marked.'
    refusal = f'is half-done (step {partial.step}) and has changed since: {since}. {why} {ways}'
    return Decision(REFUSE, partial.step, Reason(Because.HALF_DONE_AND_CHANGED, since), refusal=refusal)


def _finished(asked: Asked, entry: Entry[StageResult], kept: Sequence[int], tell: SayChanges, wishes: Wishes) -> Decision:
    """A stage that is done and not what is asked for: it goes on, or back, where that gives what is asked for."""
    done, step = int(entry.result['step']), extension.start(kept, asked.num_steps)
    change = extension.compare(entry.parts, asked.parts, done if step is None else step)
    differs = bool(change.deviations or change.versions)
    changes = '; '.join([*change.length, *change.deviations, *([change.versions] if change.versions else [])])
    is_longer = step is not None and step < asked.num_steps
    if not change.forbids and not differs:
        return _extended(asked, entry, change, step, UNCHANGED) if step is not None else _too_short(asked, done, changes)
    if wishes.extend and (change.forbids or not is_longer):
        return _not_extended(asked, tell(entry.parts, asked.parts), change)
    if wishes.extend:
        return _extended(asked, entry, change, step or 0, f'{changes}; as asked for with --extend')
    if change.forbids or not is_longer:
        return Decision(RUN, 0, reasons.stale(tell(entry.parts, asked.parts)))
    offer = f'. It is trained anew; --extend {asked.id} goes on from step {step} all the same, and it stays marked'
    return Decision(RUN, 0, reasons.stale(changes, offer))


def _extended(asked: Asked, entry: Entry[StageResult], change: Change, step: int, why: str) -> Decision:
    done, end = int(entry.result['step']), asked.num_steps
    what = f'extends from step {step} to {end}'
    if step < done:
        what = f'goes back to its checkpoint of step {step} of {done}' + (f' and on to {end}' if step < end else '')
    mixed = (*entry.mixed_versions, *([f'{change.versions} at step {step}'] if change.versions else []))
    return Decision(EXTEND, step, Reason(Because.OTHER_LENGTH, f'{what}: {why}'), mixed, (*entry.extended, *_marks(change, step)))


def _not_extended(asked: Asked, changes: str, change: Change) -> Decision:
    why = (
        '--extend allows another length, another schedule and other versions; with anything else it is another stage'
        if change.forbids
        else f'{asked.num_steps} steps and more of it are done'
    )
    refusal = f'cannot be extended: {changes}. {why[0].upper()}{why[1:]}. Leave --extend out, and it is trained anew.'
    return Decision(REFUSE, 0, reasons.stale(changes), refusal=refusal)


def _too_short(asked: Asked, done: int, changes: str) -> Decision:
    """Fewer steps of the same: training them anew would replace more work by less, so it is asked for by name."""
    reason = f'{done} steps are done and {asked.num_steps} are asked for ({changes}), of which no checkpoint is kept'
    refusal = (
        f'is finished: {reason}. Put back what has changed, and it is up to date; or train {asked.num_steps} steps from its '
        f'sources, in place of those, with --force {asked.id}.'
    )
    return Decision(REFUSE, 0, reasons.stale(reason), refusal=refusal)


def _marks(change: Change, step: int) -> list[str]:
    return [f'up to step {step}: {"; ".join(change.deviations)}'] if change.deviations else []


def extended(marks: Sequence[str]) -> str:
    """Returns what is said of a stage that kept steps which an undisturbed run would have done otherwise; else nothing."""
    return f'extended with another schedule than it began with: {"; ".join(marks)}' if marks else ''
