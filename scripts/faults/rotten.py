"""The newest checkpoint is torn or rots: the one before it takes over, that is said, and what is damaged stays as it is.

These are TensorFlow's own checkpoints, saved and restored by `stagetrain.training.checkpoint`.
"""

from __future__ import annotations

import os
import pathlib
import random
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from stagetrain.workers.environment import prepare_environment

Damage = Callable[[pathlib.Path, random.Random], None]
OLDER, NEWER = 2, 4


def damaged_checkpoints(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each trial."""
    prepare_environment()
    from stagetrain.training import checkpoint

    template = work / 'template'
    for step in (OLDER, NEWER):
        checkpoint.save(template, _state(float(step), step), max_to_keep=2)
    state = _state(0.0, 0)
    for number in range(count):
        parent = work / f'trial-{number}'
        shutil.copytree(template, parent)
        path = draw.choice(sorted((parent / f'step-{NEWER:08d}').iterdir()))
        damage = draw.choice(DAMAGES)
        damage(path, draw)
        before = _content(path)
        yield [f'{damage.__name__} of {path.name}: {fault}' for fault in _faults(checkpoint, parent, state)] + (
            [] if _content(path) == before else [f'{path} was changed']
        )
        shutil.rmtree(parent)


def _faults(checkpoint: Any, parent: pathlib.Path, state: Any) -> list[str]:
    notes: list[str] = []
    state.modules['head'].kernel.assign([[-1.0]])
    step = checkpoint.restore_newest(parent, state, notes.append)
    value = float(state.modules['head'].kernel.numpy()[0, 0])
    found = [] if (step, value) == (OLDER, float(OLDER)) else [f'step {step} with the weight {value} was restored']
    named = len(notes) == 1 and f'step-{NEWER:08d}: damaged, passed over' in notes[0]
    return found if named else [*found, f'it was said: {notes}']


def _state(value: float, step: int) -> Any:
    """Returns a state of one dense layer and a momentum optimizer."""
    import tensorflow as tf
    import tf_keras

    from stagetrain.training import checkpoint

    layer = tf_keras.layers.Dense(1, use_bias=False, kernel_initializer=tf_keras.initializers.Constant(value))
    layer.build([None, 1])
    optimizer = tf_keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.build(layer.variables)
    return checkpoint.TrainingState({'head': layer}, optimizer, tf.Variable(step, dtype=tf.int64))


def _content(path: pathlib.Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _truncate(path: pathlib.Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def _flip_a_bit(path: pathlib.Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def _fill_with_zeros(path: pathlib.Path, draw: random.Random) -> None:
    """What delayed allocation leaves when the power fails."""
    del draw
    path.write_bytes(bytes(path.stat().st_size))


def _remove(path: pathlib.Path, draw: random.Random) -> None:
    del draw
    path.unlink()


def _append(path: pathlib.Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.randint(1, 100)))


DAMAGES: tuple[Damage, ...] = (_truncate, _flip_a_bit, _flip_a_bit, _fill_with_zeros, _remove, _append)
