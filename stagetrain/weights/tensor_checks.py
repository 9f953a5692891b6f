"""Reads the tensors of finished stages and compares them with what the run directory claims about them.

`stagetrain.pipeline.file_checks` compares files with digests; here the values that TensorFlow reads are hashed again, and frozen
variables are compared with the weight files outside the run directory that they came from.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain import files
from stagetrain.errors import StagetrainError
from stagetrain.pipeline import run_files
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.pipeline.records import OF_SEVERAL
from stagetrain.weights import assign, class_order, sources

_NUM_SHOWN = 3
OF_RUN = ('fresh', 'stage', OF_SEVERAL)
"""Kinds of origins that are no file outside the run directory."""


def tensor_digests(checkpoint: pathlib.Path) -> dict[str, str]:
    """Returns key -> digest of every tensor in a checkpoint folder: modules, optimizer slots and step; not the object graph."""
    reader = sources.open_checkpoint(checkpoint / run_files.TENSORS)
    keys = sorted(key for key, kind in reader.get_variable_to_dtype_map().items() if kind != tf.string)
    return {key: assign.digest(reader.get_tensor(key)) for key in keys}


def tensor_faults(checkpoint: pathlib.Path, module_digests: Mapping[str, str]) -> list[str]:
    """Returns what is wrong with the tensors of a committed checkpoint, in words.

    Args:
      checkpoint: its folder.
      module_digests: module -> digest, as a stage's result has them.
    """
    try:
        arrays = assign.read_stage_checkpoint(checkpoint)
    except (StagetrainError, OSError, KeyError) as error:
        return [str(error)]
    found = assign.module_digests({name: assign.digest(array) for name, array in arrays.items()})
    changed = sorted(module for module in {*found, *module_digests} if found.get(module) != module_digests.get(module))
    return [f'{checkpoint}: {module} is not what its stage gave, by its digest in pipeline.lock' for module in changed]


def source_faults(stage_folder: pathlib.Path) -> tuple[list[str], list[str]]:
    """Compares a stage's frozen variables with the weight files outside the run directory that they came from.

    Returns:
      What is wrong, and remarks: files that are no longer there.
    """
    lineage, frozen = (files.read_json(stage_folder / name) for name in (run_files.LINEAGE, run_files.FROZEN))
    given = {(origin['kind'], origin['path']) for origin in lineage.values() if origin['kind'] not in OF_RUN}
    wrong: list[str] = []
    remarks: list[str] = []
    for kind, path in sorted(given):
        names = [name for name in frozen if (lineage[name]['kind'], lineage[name].get('path')) == (kind, path)]
        try:
            arrays = assign.read_origin(ModuleOrigin(kind, path))
        except StagetrainError as error:
            remarks.append(f'{stage_folder}: its source cannot be compared: {error}')
            continue
        moved = [name for name in names if not _equal(name, arrays, lineage[name], frozen[name])]
        if moved:
            wrong.append(
                f'{stage_folder}: {len(moved)} frozen variables differ from {path}: {", ".join(sorted(moved)[:_NUM_SHOWN])}'
            )
    return wrong, remarks


def _equal(name: str, arrays: Mapping[str, np.ndarray], origin: Mapping[str, Any], digest: str) -> bool:
    array = arrays.get(origin['key'])
    if array is not None and 'class_order' in origin:
        array = class_order.of_variable(name, array, origin['class_order'])
    return array is not None and assign.digest(array) == digest


def faults(run_dir: pathlib.Path, results: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Returns what is wrong with the tensors of all finished stages, and remarks.

    Args:
      run_dir: the run directory; its files were found whole.
      results: id of a finished stage -> its result.
    """
    wrong: list[str] = []
    remarks: list[str] = []
    for stage_id, result in results.items():
        for end in [result, *([result['best']] if result.get('best') else [])]:
            wrong += tensor_faults(run_dir / end['checkpoint'], end['digests'])
        moved, missing = source_faults(run_dir / run_files.STAGES / stage_id)
        wrong += moved
        remarks += missing
    return wrong, remarks
