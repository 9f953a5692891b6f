"""Tells what a weight file is and reads it; for people who look at files, where a pipeline says the kind itself.

    kind, arrays = read_any(pathlib.Path('runs/bccd/stages/rpn_1'))        # 'stage', {'backbone/conv1/kernel': array, ...}

TensorFlow is imported only for what Keras did not write.
"""

from __future__ import annotations

import pathlib

import numpy as np

from stagetrain.errors import WeightsError
from stagetrain.weights import keras_files

KERAS_H5 = 'keras_h5'
STAGE = 'stage'
SAVED_MODEL = 'saved_model'
CHECKPOINT = 'checkpoint'
_VARIABLES_FILE = 'variables.json'
_KERAS_SUFFIXES = ('.h5', '.hdf5', '.keras')


def read_any(path: pathlib.Path) -> tuple[str, dict[str, np.ndarray]]:
    """Returns what `path` is (a source's kind, or `stage`) and its arrays by name.

    Args:
      path: a file of Keras, a checkpoint (prefix or folder), a SavedModel, a stage's folder in a run directory, or one of its
        checkpoints.

    Raises:
      WeightsError: it is nothing of these, or damaged.
    """
    kind, place = recognise(path)
    if kind == KERAS_H5:
        return kind, keras_files.read_keras_h5(place)
    from stagetrain.weights import assign, sources

    if kind == STAGE:
        return kind, assign.read_stage_checkpoint(place)
    if kind == SAVED_MODEL:
        return kind, sources.read_saved_model(place)
    arrays = sources.read_checkpoint(place) if _is_object_based(place) else sources.read_tf1_checkpoint(place)
    return kind, arrays


def recognise(path: pathlib.Path) -> tuple[str, pathlib.Path]:
    """Returns what `path` is, by its name and by the files in it, and what is to be read.

    Raises:
      WeightsError: there is nothing, or a stage without a checkpoint.
    """
    if path.suffix in _KERAS_SUFFIXES:
        return KERAS_H5, path
    if (path / _VARIABLES_FILE).is_file():
        return STAGE, path
    if (path / 'checkpoints').is_dir():
        folders = sorted(folder for folder in (path / 'checkpoints').glob('step-*') if (folder / _VARIABLES_FILE).is_file())
        if not folders:
            raise WeightsError(f'{path}: this stage has no checkpoint yet; expected checkpoints/step-... in it')
        return STAGE, folders[-1]
    if (path / 'saved_model.pb').is_file():
        return SAVED_MODEL, path
    if path.exists() or path.with_name(f'{path.name}.index').is_file():
        return CHECKPOINT, path
    raise WeightsError(
        f'{path}: no such weights; expected a .h5, .weights.h5 or .keras file, a checkpoint (prefix or folder), the folder of a '
        f'SavedModel, or a stage in a run directory (RUN_DIR/stages/NAME)'
    )


def _is_object_based(path: pathlib.Path) -> bool:
    from stagetrain.weights import sources

    prefix = path if path.is_file() and path.suffix != '.index' else pathlib.Path(sources.checkpoint_prefix(path))
    return sources.is_object_based(str(prefix))
