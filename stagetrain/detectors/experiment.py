"""Any experiment of the Model Garden as a network that stages train, through its own `Task`.

The task builds the model, makes the loss of a batch (in its `train_step`, so that whatever it does to labels and outputs is
done) and measures. Freezing, gradients, the optimizer and checkpoints are stagetrain's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import official.vision  # noqa: F401  Registers the experiments and their tasks.
import tensorflow as tf
import tf_keras
from official.core import exp_factory, task_factory

from stagetrain.config.builtin import experiment as options
from stagetrain.config.builtin.experiment import TERM
from stagetrain.detectors.detector import Network, clear_names
from stagetrain.errors import ConfigError, known_names
from stagetrain.images.network_input import Batch
from stagetrain.weights.names import named_variables

RANDOM_OPS = (
    'Multinomial',
    'ParameterizedTruncatedNormal',
    'RandomGamma',
    'RandomPoissonV2',
    'RandomShuffle',
    'RandomStandardNormal',
    'RandomUniform',
    'RandomUniformInt',
    'TruncatedNormal',
)
"""Operations that draw from a generator with a state of its own, which no checkpoint holds."""


class Experiment(Network):
    """The model of an experiment, in the modules that its options name."""

    model: options.Experiment

    def __init__(self, model: options.Experiment, num_classes: int, modules: Sequence[str], seed: int):
        """Builds the model with initial values that depend on `seed` alone.

        Args:
          model: the `experiment` options of a pipeline.
          num_classes: classes of the pipeline's data; a task knows its own.
          modules: which of the modules a stage holds: all, for the task's loss needs the whole model.
          seed: of the initialisers.

        Raises:
          ConfigError: the model has other parts than the options name.
        """
        del num_classes, modules
        self.model = model
        self.task = build_task(model)
        clear_names(seed)
        self.network = self.task.build_model()
        self.modules = modules_of(self.network, model.modules)

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the task's own loss without regularisation; see `Network.losses`."""
        del terms
        logs = self.task.train_step(batch['inputs'], _LossOnly(self.network), _NoOptimizer())
        return {TERM: tf.cast(logs[self.task.loss], tf.float32)}

    def reached(self, terms: Sequence[str]) -> set[str]:
        """Returns the trainable variables that the loss has a gradient for; see `Network.reached`.

        Raises:
          ConfigError: the loss draws random numbers that a resumed stage could not draw again.
        """
        del terms
        return self._reached

    @functools.cached_property
    def _reached(self) -> set[str]:
        variables = {name: variable for name, variable in named_variables(self.modules).items() if variable.trainable}
        found: set[str] = set()

        def differentiate(inputs: Any) -> None:
            with tf.GradientTape() as tape:
                loss = self.losses(Batch(inputs=inputs), (TERM,))[TERM]
            gradients = tape.gradient(loss, list(variables.values()))
            found.update(name for name, gradient in zip(variables, gradients, strict=True) if gradient is not None)

        graph = tf.function(differentiate, autograph=False).get_concrete_function(self.input_spec).graph
        self._refuse_random_ops(graph)
        return found

    @functools.cached_property
    def input_spec(self) -> Any:
        """What a batch of (features, labels) looks like, of any size."""
        if self.model.input == 'crops':
            return tf.TensorSpec([None, *self.model.crop_size], tf.float32), tf.TensorSpec([None], tf.int32)
        return self.own_input('train_data', 1, is_training=True, seed=0).element_spec

    def own_input(self, part: str, batch_size: int, *, is_training: bool, seed: int) -> tf.data.Dataset:
        """Returns what the task itself reads, from its beginning: (features, labels) in batches.

        Its shuffling and augmentation draw from generators that are seeded here and run in order, so that whoever reads from the
        beginning reads the same.

        Args:
          part: `train_data` or `validation_data`.
          batch_size: examples of a batch.
          is_training: whether it goes on without end and leaves out what fills no batch.
          seed: of its random numbers.

        Raises:
          ConfigError: TensorFlow cannot run it in order.
        """
        tf.random.set_seed(seed)
        config = getattr(self.task.task_config, part)
        config = config.replace(global_batch_size=batch_size, is_training=is_training, drop_remainder=is_training, seed=seed)
        options = tf.data.Options()
        options.deterministic = True
        dataset = self.task.build_inputs(config).with_options(options)
        try:
            iter(dataset)
        except tf.errors.InvalidArgumentError as error:
            raise ConfigError(
                f'model {self.model.name}: TensorFlow cannot make the random augmentation of task.{part} repeatable '
                f'({error.message}). Turn it off in `overrides` where the task can do without, or say '
                f'runtime: {{deterministic: false}}, and a stopped stage will not end with the same weights as one that was not.'
            ) from error
        return dataset

    def noise(self, batch_size: int) -> Batch:
        """Returns a batch of zeros, to measure what a step takes."""
        sizes = [[batch_size, *(side or 1 for side in spec.shape[1:])] for spec in tf.nest.flatten(self.input_spec)]
        zeros = [tf.zeros(size, spec.dtype) for size, spec in zip(sizes, tf.nest.flatten(self.input_spec), strict=True)]
        return Batch(inputs=tf.nest.pack_sequence_as(self.input_spec, zeros))

    def _refuse_random_ops(self, graph: Any) -> None:
        definition = graph.as_graph_def()
        nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
        drawing = sorted(node.name for node in nodes if node.op in RANDOM_OPS)
        if drawing:
            raise ConfigError(
                f'model {self.model.name}: its step draws random numbers ({drawing[0]}), so that a stopped stage would not end '
                f'with the same weights as one that was not. Turn them off in `overrides`, e.g. task.model.dropout_rate: 0.0.'
            )


class Layers(tf.Module):
    """The layers of a model that stand in none of its checkpoint items, as one module."""

    def __init__(self, layers: Sequence[tf_keras.layers.Layer]):
        """Args: layers: with different names."""
        super().__init__()
        self.layers = {layer.name: layer for layer in layers}


class _LossOnly:
    """A model as a task's `train_step` sees it, with nothing to differentiate and nothing to add to the loss.

    Gradients and regularisation are taken outside of the task, of what the stage trains.
    """

    trainable_variables: tuple[tf.Variable, ...] = ()
    losses: tuple[tf.Tensor, ...] = ()
    compiled_loss = None
    compiled_metrics = None

    def __init__(self, network: tf_keras.Model):
        """Args: network: the model itself."""
        self._network = network

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the model's outputs."""
        return self._network(*args, **kwargs)


class _NoOptimizer:
    """Takes the place of an optimizer in a task's `train_step`: the step is applied outside."""

    def apply_gradients(self, grads_and_vars: Any) -> None:
        """Applies nothing; there is nothing (see `_LossOnly`)."""
        assert not list(grads_and_vars)


def build_task(model: options.Experiment) -> Any:
    """Returns the task of an experiment with the overrides of a pipeline's options."""
    config = exp_factory.get_exp_config(model.name)
    config.override(model.overrides, is_strict=True)
    return task_factory.get_task(config.task)


def modules_of(network: Any, wanted: Sequence[str]) -> dict[str, Any]:
    """Returns module name -> part of a model, in the order of `wanted`.

    Args:
      network: a model of the Model Garden; its `checkpoint_items` are modules.
      wanted: names; at most one stands for the layers that are in none of them.

    Raises:
      ConfigError: a name stands for nothing, or variables are left over.
    """
    items = {name: part for name, part in network.checkpoint_items.items() if part is not None and name in wanted}
    inside = {id(variable) for part in items.values() for variable in part.variables}
    rest = [layer for layer in network.layers if layer.variables and not {id(v) for v in layer.variables} <= inside]
    names = [name for name in wanted if name not in items]
    if len(names) != bool(rest):
        left = f'; {rest[0].name} and what else stands in none of them needs one more name' if rest else ''
        raise ConfigError(f'modules: found {known_names(wanted)}; expected {known_names(network.checkpoint_items)}{left}')
    return {name: items[name] if name in items else Layers(rest) for name in wanted}
