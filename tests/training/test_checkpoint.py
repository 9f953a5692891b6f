"""A checkpoint is whole or passed over; what is damaged is never overwritten."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
import tensorflow as tf
import tf_keras

from stagetrain import files
from stagetrain.errors import WeightsError
from stagetrain.pipeline import run_files
from stagetrain.training import checkpoint

Damage = Callable[[pathlib.Path], None]


def make_state(value: float, step: int) -> checkpoint.TrainingState:
    """Returns a state of one dense layer and a momentum optimizer."""
    layer = tf_keras.layers.Dense(1, use_bias=False, kernel_initializer=tf_keras.initializers.Constant(value))
    layer.build([None, 1])
    optimizer = tf_keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.build(layer.variables)
    return checkpoint.TrainingState({'head': layer}, optimizer, tf.Variable(step, dtype=tf.int64))


@pytest.fixture
def parent(tmp_path: pathlib.Path) -> pathlib.Path:
    """Checkpoints of steps 2 and 4 with the weights 0.25 and 0.5."""
    (tmp_path / 'checkpoints').mkdir()
    for value, step in ((0.25, 2), (0.5, 4)):
        checkpoint.save(tmp_path / 'checkpoints', make_state(value, step), max_to_keep=2)
    return tmp_path / 'checkpoints'


def restored(parent: pathlib.Path) -> tuple[int, float, list[str]]:
    """Returns the step and the weight that a new state is given, and the notes."""
    state, notes = make_state(9.0, 0), []
    step = checkpoint.restore_newest(parent, state, notes.append)
    assert int(state.step) == step
    return step, float(state.modules['head'].kernel[0, 0]), notes


def test_the_newest_is_restored(parent: pathlib.Path) -> None:
    assert restored(parent) == (4, 0.5, [])


def test_without_a_checkpoint_nothing_is_restored(tmp_path: pathlib.Path) -> None:
    assert restored(tmp_path) == (0, 9.0, [])


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def fill_with_zeros(path: pathlib.Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize('damage', [truncate, flip_a_bit, fill_with_zeros, pathlib.Path.unlink])
@pytest.mark.parametrize('name', ['ckpt.data-00000-of-00001', 'ckpt.index', 'variables.json', 'MANIFEST.json'])
def test_a_damaged_one_gives_way_to_the_one_before(
    parent: pathlib.Path, name: str, damage: Callable[[pathlib.Path], None]
) -> None:
    damage(parent / 'step-00000004' / name)
    step, value, notes = restored(parent)
    assert (step, value) == (2, 0.25)
    assert len(notes) == 1 and 'step-00000004: damaged, passed over' in notes[0] and name in notes[0]


def test_none_readable_is_an_error_and_not_a_start_from_the_beginning(parent: pathlib.Path) -> None:
    for folder in run_files.checkpoint_folders(parent):
        truncate(folder / 'ckpt.index')
    with pytest.raises(WeightsError, match=r'none of its 2 checkpoints can be read\. Move the folder away'):
        restored(parent)


def test_a_damaged_one_is_set_aside_and_not_overwritten(parent: pathlib.Path) -> None:
    truncate(parent / 'step-00000004' / 'ckpt.index')
    damaged = (parent / 'step-00000004' / 'ckpt.index').read_bytes()
    checkpoint.save(parent, make_state(0.75, 4), max_to_keep=2)
    assert restored(parent) == (4, 0.75, [])
    assert damaged in [path.read_bytes() for path in parent.rglob('ckpt.index')]


def test_a_whole_one_is_not_written_again(parent: pathlib.Path) -> None:
    checkpoint.save(parent, make_state(0.75, 4), max_to_keep=2)
    assert restored(parent) == (4, 0.5, [])


def test_the_oldest_are_removed(parent: pathlib.Path) -> None:
    checkpoint.save(parent, make_state(0.75, 6), max_to_keep=2)
    assert [folder.name for folder in run_files.checkpoint_folders(parent)] == ['step-00000004', 'step-00000006']


def test_another_network_does_not_take_a_checkpoint(parent: pathlib.Path) -> None:
    layer = tf_keras.layers.Dense(1, use_bias=True)
    layer.build([None, 1])
    optimizer = tf_keras.optimizers.SGD(0.5, momentum=0.9)
    optimizer.build(layer.variables)
    with pytest.raises(WeightsError, match='none of its 2 checkpoints'):
        checkpoint.restore_newest(
            parent, checkpoint.TrainingState({'head': layer}, optimizer, tf.Variable(0, dtype=tf.int64)), print
        )


def test_variables_are_described_by_canonical_name(parent: pathlib.Path) -> None:
    described = files.read_json(parent / 'step-00000004' / 'variables.json')
    assert {name: entry['shape'] for name, entry in described.items()} == {'head/kernel': [1, 1]}
    reader = tf.train.load_checkpoint(str(parent / 'step-00000004' / 'ckpt'))
    assert reader.get_tensor(described['head/kernel']['key']) == [[0.5]]
