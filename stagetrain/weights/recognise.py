"""Tells what a weight file is and reads it; for people who look at files, where a pipeline says the kind itself.

    kind, arrays = read_any(pathlib.Path('runs/bccd/stages/rpn_1'))        # 'stage', {'backbone/conv1/kernel': array, ...}

TensorFlow is imported only for what Keras did not write.
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

import numpy as np

from stagetrain.errors import WeightsError
from stagetrain.pipeline import run_files
from stagetrain.weights import keras_files

KERAS_H5 = 'keras_h5'
STAGE = 'stage'
SAVED_MODEL = 'saved_model'
CHECKPOINT = 'checkpoint'
_KERAS_SUFFIXES = ('.h5', '.hdf5', '.keras')
_TABLE_END = bytes.fromhex('57fb808b247547db')
"""The magic number of LevelDB's tables, https://github.com/google/leveldb/blob/main/doc/table_format.md."""


class WeightFile(NamedTuple):
    """What weights are (a source's kind, or `stage`), and what is to be read."""

    kind: str
    place: pathlib.Path


def read_any(path: pathlib.Path) -> tuple[str, dict[str, np.ndarray]]:
    """Returns what `path` is and its arrays by name; see `recognise` and `read`."""
    found = recognise(path)
    return found.kind, read(found)


def read(found: WeightFile) -> dict[str, np.ndarray]:
    """Returns the arrays of what was recognised, by name.

    Raises:
      WeightsError: it is damaged.
    """
    kind, place = found
    if kind == KERAS_H5:
        return keras_files.read_keras_h5(place)
    from stagetrain.weights import assign, sources

    if kind == STAGE:
        return assign.read_stage_checkpoint(place)
    if kind == SAVED_MODEL:
        return sources.read_saved_model(place)
    return sources.read_checkpoint(place) if _is_object_based(place) else sources.read_tf1_checkpoint(place)


def recognise(path: pathlib.Path) -> WeightFile:
    """Returns what `path` is, by its name, the files in it and its last bytes; TensorFlow is not asked.

    Args:
      path: a file of Keras, a checkpoint (prefix or folder), a SavedModel, a stage's folder in a run directory, or one of its
        checkpoints.

    Raises:
      WeightsError: it is nothing of these, or a stage without a checkpoint.
    """
    if path.suffix in _KERAS_SUFFIXES:
        if path.is_dir():
            raise WeightsError(f'{path}: found a folder; expected a file of Keras, as its name ends in {path.suffix}')
        return WeightFile(KERAS_H5, path)
    if (path / run_files.VARIABLES).is_file():
        return WeightFile(STAGE, path)
    checkpoints = path / run_files.CHECKPOINTS
    if checkpoints.is_dir():
        folders = [folder for folder in run_files.checkpoint_folders(checkpoints) if (folder / run_files.VARIABLES).is_file()]
        if not folders:
            raise WeightsError(f'{path}: this stage has no checkpoint yet; expected checkpoints/step-... in it')
        return WeightFile(STAGE, folders[-1])
    if (path / 'saved_model.pb').is_file():
        return WeightFile(SAVED_MODEL, path)
    if _is_table(path) or _is_table(path.parent / f'{path.name}.index') or _has_checkpoint(path):
        return WeightFile(CHECKPOINT, path)
    found = 'is none of the weights known here' if path.exists() else 'no such weights'
    raise WeightsError(
        f'{path}: {found}; expected a .h5, .weights.h5 or .keras file, a checkpoint (prefix or folder), the folder of a '
        f'SavedModel, or a stage in a run directory (RUN_DIR/stages/NAME)'
    )


def _has_checkpoint(folder: pathlib.Path) -> bool:
    return folder.is_dir() and ((folder / 'checkpoint').is_file() or any(folder.glob('*.index')))


def _is_table(path: pathlib.Path) -> bool:
    """Whether a file ends as the index of a checkpoint does, and a whole one of TensorFlow 1's first format."""
    if not path.is_file() or path.stat().st_size < len(_TABLE_END):
        return False
    with path.open('rb') as file:
        file.seek(-len(_TABLE_END), os.SEEK_END)
        return file.read() == _TABLE_END


def _is_object_based(path: pathlib.Path) -> bool:
    from stagetrain.weights import sources

    prefix = path if path.is_file() and path.suffix != '.index' else pathlib.Path(sources.checkpoint_prefix(path))
    return sources.is_object_based(str(prefix))
