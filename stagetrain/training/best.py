"""The checkpoints with the best evaluations so far, in a stage's folder `best`.

Older ones stay until no kept checkpoint lies before the one that beat them, so that a stage that goes back finds its best.
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable

from stagetrain import files
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import BestWeights, Weights
from stagetrain.weights import assign


def forget_after(stage_folder: pathlib.Path, step: int) -> None:
    """Removes those of later steps, which a crash or a rollback undid."""
    for folder in run_files.checkpoint_folders(stage_folder / run_files.BEST):
        if run_files.step_of(folder) > step:
            files.remove_folder(folder)


def prune(stage_folder: pathlib.Path, kept_steps: Iterable[int]) -> None:
    """Removes those that no restart could need, given the steps of the checkpoints that are kept."""
    kept = set(kept_steps)
    found = run_files.checkpoint_folders(stage_folder / run_files.BEST)
    for older, newer in itertools.pairwise(found):
        if not kept & set(range(run_files.step_of(older), run_files.step_of(newer))):
            files.remove_folder(older)


def result(stage_folder: pathlib.Path, run_dir: pathlib.Path) -> BestWeights | None:
    """Returns the best checkpoint, or None when there is none."""
    found = run_files.checkpoint_folders(stage_folder / run_files.BEST)
    return {**described(found[-1], run_dir), 'step': run_files.step_of(found[-1])} if found else None


def described(folder: pathlib.Path, run_dir: pathlib.Path) -> Weights:
    """Returns the weights in a checkpoint's folder."""
    variables = files.read_json(folder / run_files.VARIABLES)
    digests = assign.module_digests({name: entry['digest'] for name, entry in variables.items()})
    return {'checkpoint': str(folder.relative_to(run_dir)), 'digests': digests}
