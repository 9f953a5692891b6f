"""A stage's checkpoints: TensorFlow's format, committed so that a crash at any moment leaves a whole one.

A checkpoint is a folder `step-00000600` with TensorFlow's files, `variables.json` (canonical name -> key, shape, digest) and a
manifest. It loads with the Model Garden's own `MaskRCNNTask.initialize`.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from stagetrain import files
from stagetrain.errors import RunDirectoryError, StagetrainError, WeightsError
from stagetrain.pipeline import run_files
from stagetrain.pipeline.records import StoredVariable
from stagetrain.training.averages import Averages
from stagetrain.weights import assign, names, sources
from stagetrain.weights.plain_paths import plain_prefix


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds: the modules, the optimizer, the number of steps done, and averages of the weights if there are."""

    modules: Mapping[str, object]
    optimizer: Any
    """None where nothing was trained."""
    step: tf.Variable
    averages: Averages | None = None
    classes: tuple[str, ...] = ()
    """What the modules tell apart; written beside the weights, for whoever starts from them."""

    def trackable(self) -> tf.train.Checkpoint:
        """Returns the object graph that is saved: the Model Garden's items, and its `model` around them."""
        items = {**self.modules}
        if not isinstance(items.get('detection_head', []), list):  # The Model Garden keeps its detection heads in a list.
            items['detection_head'] = [items['detection_head']]
        model = tf.train.Checkpoint(**items)
        more = {} if self.averages is None else {'averages': self.averages.trackable()}
        more |= {} if self.optimizer is None else {'optimizer': self.optimizer}
        return tf.train.Checkpoint(model=model, step=self.step, **more, **self.modules)

    @functools.cached_property
    def known_keys(self) -> Mapping[str, tuple[tf.Variable, tuple[str, ...]]]:
        """Canonical name -> variable, and the keys under which a checkpoint may hold it; looked for once, for that takes long."""
        return {
            name: (variable, tuple(f'{path}/.ATTRIBUTES/VARIABLE_VALUE' for path in paths[id(variable)]))
            for module, root in self.modules.items()
            for paths in [sources.object_paths(root, module)]
            for name, variable in names.named_variables({module: root}).items()
        }

    def read(self, folder: pathlib.Path) -> None:
        """Takes over everything from a checkpoint's folder; raises what TensorFlow raises when something is missing."""
        self.trackable().read(plain_prefix(folder / run_files.TENSORS)).assert_existing_objects_matched()


def _is_whole(folder: pathlib.Path) -> bool:
    try:
        files.verify_folder(folder)
    except RunDirectoryError:
        return False
    return True


def save(parent: pathlib.Path, state: TrainingState, max_to_keep: int) -> pathlib.Path:
    """Commits a checkpoint of the present step and removes the oldest ones beyond `max_to_keep`. Returns its folder."""
    folder = run_files.checkpoint_folder(parent, int(state.step.numpy()))
    if folder.exists() and not _is_whole(folder):
        files.set_aside(folder)  # What cannot be read is never overwritten.
    if not folder.exists():
        files.commit_folder(folder, lambda temporary: _write(temporary, state))
    for old in run_files.checkpoint_folders(parent)[:-max_to_keep]:
        files.remove_folder(old)
    return folder


def _write(folder: pathlib.Path, state: TrainingState) -> None:
    try:
        state.trackable().write(plain_prefix(folder / run_files.TENSORS))
    except tf.errors.OpError as error:  # A full disk, for one; TensorFlow's own message says which.
        raise RunDirectoryError(
            f'{folder}: the checkpoint cannot be written: {error.message}. What was saved before is intact; free some space, '
            f'or see whether the disk is there and healthy. The same command goes on from the last checkpoint.'
        ) from error
    reader = sources.open_checkpoint(folder / run_files.TENSORS)
    keys = set(reader.get_variable_to_shape_map())
    described: dict[str, StoredVariable] = {}
    for name, (variable, known) in state.known_keys.items():
        value = variable.numpy()
        key = next(key for key in known if key in keys)
        described[name] = {'key': key, 'shape': list(value.shape), 'digest': assign.digest(value)}
    files.write_json(folder / run_files.VARIABLES, described)
    if state.classes:
        files.write_json(folder / run_files.CLASSES, list(state.classes))


def restore_newest(parent: pathlib.Path, state: TrainingState, note: Callable[[str], None]) -> int:
    """Restores the newest checkpoint that is whole; returns its step, or 0 when there is none at all.

    A damaged one is left where it is and `note` is told; the one before it takes over.

    Raises:
      WeightsError: there are checkpoints but none can be read; starting over in silence would lose work.
    """
    found = run_files.checkpoint_folders(parent)
    for folder in reversed(found):
        try:
            files.verify_folder(folder)
            state.read(folder)
            return run_files.step_of(folder)
        except (StagetrainError, OSError, tf.errors.OpError, ValueError, AssertionError, MemoryError) as error:
            note(f'{folder}: damaged, passed over ({error}); it is left as it is')
    if found:
        raise WeightsError(
            f'{parent}: none of its {len(found)} checkpoints can be read. Move the folder away to keep it, then run the stage '
            f'again with --force to start it from its sources.'
        )
    return 0
