"""Lengths that depend on this machine: budgets of time become steps, by what was measured, and stay what they were in a run.

    loaded = settled(loaded, directory, facts)                      # `plan`: as far as the speed is known; measures nothing
    loaded = settled(loaded, directory, facts, measure)             # `run`: measures what is not known, and keeps the steps

What a run directory keeps (`lengths.json`) wins, so that a run whose stages have begun goes on with the same steps whatever is
measured later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from stagetrain import files
from stagetrain.config import check, load
from stagetrain.config.recipe_nodes import GivenBudget
from stagetrain.config.stages import trained_stages
from stagetrain.pipeline import equal, fingerprint, runner, speed, time_budgets
from stagetrain.pipeline.equal import EQUAL
from stagetrain.pipeline.events import Listener
from stagetrain.pipeline.fingerprint import Facts
from stagetrain.pipeline.graph import num_steps
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.pipeline.speed import Speed
from stagetrain.pipeline.stopping import Stopper

Measure = Callable[[load.Loaded, Sequence[str]], Mapping[str, Speed]]
"""Measures stages of a pipeline, by id."""


def settled(loaded: load.Loaded, directory: RunDirectory, facts: Facts, measure: Measure | None = None) -> load.Loaded:
    """Returns a pipeline whose budgets of time have become steps; without `measure`, those whose speed is known already.

    Args:
      loaded: a checked pipeline.
      directory: the run directory, which need not be there; with `measure` it is held for writing.
      facts: of its data.
      measure: measures what is not known; what it finds is kept for this user, and the steps for this run.

    Raises:
      ConfigError: a budget is too small for what a run takes beside its steps.
      StagetrainError: as `measure` does.
    """
    if not loaded.unmeasured:
        return loaded
    kept, left, steps, notes = directory.lengths(), [], dict[str, int](), []
    for asked in loaded.unmeasured:
        key = _key(asked, loaded)
        decided = kept.get(key) or _decided(asked, loaded, directory, facts, measure)
        if decided is None:
            left.append(asked)
            continue
        if measure is not None and key not in kept:
            directory.keep_lengths(key, decided)
        steps |= decided['steps']
        notes.append(decided['note'])
    if not steps:
        return loaded
    found = dataclasses.replace(load.with_lengths(loaded, steps), unmeasured=tuple(left), length_notes=tuple(notes))
    check.check_pipeline(found)
    return found


def equalised(loaded: load.Loaded, by: str, directory: RunDirectory, facts: Facts, measure: Measure | None = None) -> load.Loaded:
    """Returns a pipeline whose variants are as long as the pipeline itself; see `pipeline.equal`.

    Args:
      loaded: a pipeline whose budgets are settled.
      by: one of `equal.BY`.
      directory: the run directory, which need not be there; with `measure` it is held for writing, and keeps the factors.
      facts: of its data.
      measure: measures what is not known; without it, a pipeline whose speed is not known stays as it is.

    Raises:
      ConfigError: nothing is left for a variant's steps.
      StagetrainError: as `measure` does.
    """
    whole = load.with_own_stages(loaded)
    key = files.digest_of({'by': by, 'lengths': _lengths(whole, facts), 'model': _model(whole)})
    kept = directory.lengths().get(EQUAL, {})
    decided = kept if kept.get('key') == key else _equal(whole, by, directory, facts, measure)
    if decided is None:
        text = f'--equal {by}: not measured yet on this machine; `stagetrain compare` measures first, and decides lengths by that'
        return dataclasses.replace(loaded, length_notes=(*loaded.length_notes, text))
    factors = {name: Fraction(text) for name, text in decided['factors'].items()}
    entries = [entry for entry in trained_stages(whole.pipeline) if entry.variant in factors]
    found = load.with_factors(whole, {entry.id: factors[str(entry.variant)] for entry in entries})
    check.check_pipeline(found)
    if measure is not None:
        lengths = dict(_lengths(found, facts))
        directory.keep_lengths(EQUAL, {**decided, 'key': key, 'by': by, 'steps': {name: lengths[name][0] for name in lengths}})
    return dataclasses.replace(found, length_notes=(*found.length_notes, *decided['notes']))


def _equal(loaded: load.Loaded, by: str, directory: RunDirectory, facts: Facts, measure: Measure | None) -> dict[str, Any] | None:
    """Returns what a run keeps of equal lengths; None where the speed is not known."""
    known = None
    if by == equal.TIME:
        stages = [entry.id for entry in trained_stages(loaded.pipeline)]
        known = None if loaded.unmeasured else speeds(loaded, stages, directory, facts, measure)
        if known is None:
            return None
    found = equal.equalise(loaded.pipeline, by, facts.num_train, known)
    factors = {name: str(factor) for name, factor in found.factors.items()}
    return {'target': found.target, 'factors': factors, 'notes': list(found.notes(loaded.pipeline.name))}


def _lengths(loaded: load.Loaded, facts: Facts) -> dict[str, list[int]]:
    """Returns stage id -> its steps and the images of a step."""
    stages = {entry.id: entry.stage.train for entry in trained_stages(loaded.pipeline)}
    return {stage_id: [num_steps(train, facts.num_train), train.batch_size] for stage_id, train in stages.items()}


def measuring(
    directory: RunDirectory, start_worker: runner.StartWorker, listen: Listener, stopper: Stopper | None = None
) -> Measure:
    """Returns what measures in a worker; call it inside `directory.writing()`."""
    return lambda loaded, stages: runner.measure_speed(loaded, stages, directory, start_worker, listen, stopper)


def speeds(
    loaded: load.Loaded, stages: Sequence[str], directory: RunDirectory, facts: Facts, measure: Measure | None
) -> dict[str, Speed] | None:
    """Returns stage id -> speed; None where one is not known and there is no `measure`."""
    entries = {entry.id: entry.stage for entry in trained_stages(loaded.pipeline)}
    keys = {stage_id: speed.key(loaded.pipeline, entries[stage_id], facts) for stage_id in stages}
    cache = speed.cache_file(directory.cache)
    known = speed.read(cache)
    # Of stages that are carried out alike one is enough.
    missing = {key: stage_id for stage_id, key in keys.items() if key not in known}
    if missing and measure is None:
        return None
    if missing and measure is not None:
        measured = measure(loaded, list(missing.values()))
        found = {key: measured[stage_id] for key, stage_id in missing.items()}
        speed.keep(cache, found)
        known |= found
    return {stage_id: known[key] for stage_id, key in keys.items()}


def _decided(
    asked: GivenBudget, loaded: load.Loaded, directory: RunDirectory, facts: Facts, measure: Measure | None
) -> dict[str, Any] | None:
    """Returns what a run keeps of a budget: `steps` by stage, and a `note` for people."""
    stages = time_budgets.stages_of(asked, loaded.pipeline)
    known = speeds(loaded, [entry.id for entry in stages], directory, facts, measure)
    if known is None:
        return None
    steps = time_budgets.steps(asked, loaded.pipeline, known, facts.num_train)
    each = ', '.join(f'{stage_id} {count:,} steps of {known[stage_id].step * 1000:,.0f} ms' for stage_id, count in steps.items())
    rest = time_budgets.besides_steps(stages, known, facts.num_train)
    note = f'recipe.budget {asked.budget}, as measured on this machine: {each}; {rest:,.0f} s beside the steps'
    return {'steps': steps, 'note': note}


def _key(asked: GivenBudget, loaded: load.Loaded) -> str:
    """Returns what a run keeps the steps of a budget under: the budget, the network and the batches."""
    stages = time_budgets.stages_of(asked, loaded.pipeline)
    return files.digest_of(
        {
            'recipe': asked.recipe,
            'seconds': asked.budget.amount,
            'stages': sorted(asked.stages),
            'batch_sizes': [entry.stage.train.batch_size for entry in stages],
            'model': _model(loaded),
        }
    )


def _model(loaded: load.Loaded) -> dict[str, Any]:
    return dict(fingerprint.flatten('model', loaded.pipeline.model))
