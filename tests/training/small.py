"""A network of three layers that trains in milliseconds, with the part of a detector that a step uses."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from stagetrain.config import load, schema
from stagetrain.config.stages import live_losses
from stagetrain.detectors.detector import clear_names
from stagetrain.images.network_input import Batch
from stagetrain.pipeline import run_files
from stagetrain.training import checkpoint
from stagetrain.training.averages import Averages
from stagetrain.training.history import History
from stagetrain.training.loop import Loop
from stagetrain.training.optimizers import Schedule, build_optimizer
from stagetrain.training.step import Task, build_step
from tests import tiny

BATCH = 4
OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    'sgd': {'momentum': 0.9},
    'adam': {},
    'adamw_experimental': {'weight_decay': 0.1},
    'lars': {},
    'lamb': {'weight_decay_rate': 0.1},
    'rmsprop': {'momentum': 0.9},
}


class Network:
    """A body (dense, BatchNorm) and a head; terms `square`, and `log`, which is NaN on targets below 0."""

    def __init__(self, l2: float = 0.0, body_trains: bool = True):
        clear_names(7)
        decay = tf_keras.regularizers.l2(l2) if l2 else None
        self.dense = tf_keras.layers.Dense(3, kernel_regularizer=decay)
        self.norm = tf_keras.layers.BatchNormalization(momentum=0.5, gamma_regularizer=decay)
        self.head = tf_keras.layers.Dense(1, kernel_regularizer=decay)
        for layer, shape in ((self.dense, [None, 2]), (self.norm, [None, 3]), (self.head, [None, 3])):
            layer.build(shape)
        for layer in (self.dense, self.norm):
            layer.trainable = body_trains
        self.modules = {'dense': self.dense, 'norm': self.norm, 'head': self.head}

    @property
    def body(self) -> list[tf.Variable]:
        """All variables of the body, statistics too."""
        return [*self.dense.variables, *self.norm.variables]

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the terms asked for."""
        output = self.head(self.norm(self.dense(batch['input']), training=True))[:, 0]
        values = {
            'square': lambda: tf.reduce_mean(tf.square(output - batch['target'])),
            'log': lambda: tf.reduce_mean(tf.math.log(batch['target']) + 0.0 * output),
        }
        return {name: values[name]() for name in terms}

    def regularization(self, trained: Sequence[tf.Variable]) -> tf.Tensor:
        """Returns the L2 terms of the layers that own any of `trained`."""
        wanted = {id(variable) for variable in trained}
        layers = (self.dense, self.norm, self.head)
        terms = [loss for layer in layers if any(id(v) in wanted for v in layer.variables) for loss in layer.losses]
        return tf.add_n(terms) if terms else tf.zeros([])


def batch(number: int, broken: bool = False) -> dict[str, tf.Tensor]:
    """Returns the batch of a step, from 0; a broken one has a target that is NaN."""
    random = np.random.default_rng(number)
    target = random.uniform(0.5, 1.5, size=[BATCH]).astype(np.float32)
    if broken:
        target[1] = np.nan
    rows = {'input': random.normal(size=[BATCH, 2]).astype(np.float32), 'target': target}
    return {name: tf.constant(value) for name, value in rows.items()} | {'image_index': tf.range(BATCH)}


def stage_of(terms: Mapping[str, float], **keys: Any) -> schema.Stage:
    """Returns a stage of eight steps with a checkpoint every two; `keys` changes its `train`."""
    usual = {'steps': 8, 'checkpoint_interval': 2, 'summary_interval': 1, 'optimizer': tiny.SGD, 'batch_size': BATCH}
    document = tiny.pipeline(pathlib.Path('data'), [tiny.stage('one', terms, {**usual, **keys})])
    return load.load_resolved(document).pipeline.stages[0]


def optimizer_of(name: str, **keys: Any) -> dict[str, Any]:
    """Returns the `optimizer` of a pipeline file."""
    return {'type': name, name: {**OPTIMIZERS[name], **keys}}


@dataclasses.dataclass
class Training:
    """The network with all that trains it."""

    network: Network
    train: schema.Train
    state: checkpoint.TrainingState
    schedule: Schedule
    task: Task

    def loop(
        self, folder: pathlib.Path, broken: Sequence[int] = (), stop_after: int | None = None, **keys: Any
    ) -> tuple[Loop, list]:
        """Returns a loop over the stage and the list of its events; the batches of the steps `broken`, from 0, hold a NaN."""
        events: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        history = History(folder, self.train)

        def batches(first: int, last: int) -> Iterator[Any]:
            yield from (batch(number, number in broken) for number in range(first, last))

        loop = Loop(
            stage_id='one',
            folder=folder,
            train=self.train,
            num_steps=self.train.steps or 0,
            terms=sorted(self.task.loss_weights),
            state=self.state,
            schedule=self.schedule,
            history=history,
            step_function=build_step(self.task, tf.distribute.get_strategy()),
            batches=keys.pop('batches', batches),
            image_ids=lambda given: [f'image_{int(i)}' for i in given['image_index']],
            validate=keys.pop('validate', lambda step, seconds: None),
            emit=events.append,
            should_stop=lambda: stop_after is not None and int(self.state.step) >= stop_after,
        )
        return loop, events

    def resume(self, folder: pathlib.Path, **keys: Any) -> tuple[Loop, list]:
        """Runs a stage from its newest checkpoint to its end, as `train_stage` does."""
        first = checkpoint.restore_newest(folder / run_files.CHECKPOINTS, self.state, lambda text: None)
        loop, events = self.loop(folder, **keys)
        loop.history.keep_until(first)
        loop.run(first)
        return loop, events

    def values(self) -> dict[str, np.ndarray]:
        """Returns every tensor that a checkpoint of this moment holds, by its key: variables, slots, averages, counters."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.state.trackable().write(f'{folder}/ckpt')
            reader = tf.train.load_checkpoint(path)
            kinds = reader.get_variable_to_dtype_map()
            return {key: reader.get_tensor(key) for key in sorted(kinds) if kinds[key] != tf.string}


def training(
    terms: Mapping[str, float] | None = None,
    l2: float = 0.0,
    body_trains: bool = True,
    trained: Callable[[Network], Any] | None = None,
    **keys: Any,
) -> Training:
    """Returns the network with its optimizer and state; `keys` changes its `train`."""
    stage = stage_of(terms or {'square': 1.0}, **keys)
    network, train = Network(l2, body_trains), stage.train
    variables = (
        list(trained(network))
        if trained
        else [v for layer in (network.dense, network.norm, network.head) for v in layer.trainable_variables]
    )
    schedule = Schedule(train)
    optimizer, step = build_optimizer(train, schedule), tf.Variable(0, dtype=tf.int64, trainable=False)
    averages = Averages(variables, train.ema) if train.ema else None
    task = Task(
        network,  # type: ignore[arg-type]
        optimizer,
        live_losses(stage),
        variables,
        step,
        network.norm.non_trainable_variables[-2:] if body_trains else [],
        averages=averages,
        num_parts=train.gradient_accumulation,
        max_loss=train.max_loss,
    )
    return Training(network, train, checkpoint.TrainingState(network.modules, optimizer, step, averages), schedule, task)
