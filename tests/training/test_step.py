"""Rules 3 and 6: a masked loss is absent from the graph, idle variables rest, and what is not finite is not applied."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stagetrain import files
from stagetrain.errors import StageFailed
from stagetrain.images.network_input import Batch
from stagetrain.pipeline.jobs import StageJob
from stagetrain.stores.proposals import PROPOSALS
from stagetrain.training.step import Task, build_step
from stagetrain.weights import assign, names
from tests import tiny

pytestmark = pytest.mark.numbers
MODULES = ('backbone', 'decoder', 'rpn_head', 'detection_head')


@pytest.fixture(scope='module')
def job(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> StageJob:
    document = tiny.pipeline(tiny_data, [tiny.stage('joint', tiny.RPN | tiny.HEAD)])
    return tiny.job(tmp_path_factory.mktemp('step'), document, 'joint')


@pytest.fixture(scope='module')
def detector(job: Mapping[str, Any]) -> Any:
    return tiny.context(job).build_detector(MODULES)


def proposals(value: float) -> dict[str, Any]:
    """Returns stored proposals whose every coordinate is `value`, but for a good one."""
    boxes = np.full([20, 4], value, np.float32)
    boxes[0] = [4, 4, 40, 40]
    return {PROPOSALS: lambda index, view: tf.constant(boxes)}


def step_and_batch(job: Mapping[str, Any], detector: Any, terms: Mapping[str, float], **keys: Any) -> tuple[Any, Any, Task]:
    """Returns the step of a stage that trains all that `terms` reach, and its first batch."""
    batch = next(iter(tiny.training_input(job, detector, sorted(terms), **keys).batches(0, 1)))
    reached = detector.reached(list(terms))
    trained = [variable for name, variable in names.named_variables(detector.modules).items() if name in reached]
    task = Task(detector, tf_keras.optimizers.SGD(0.01, momentum=0.9), terms, trained, tf.Variable(0, dtype=tf.int64))
    return build_step(task, tf.distribute.get_strategy()), batch, task


@pytest.mark.slow
def test_a_stage_builds_only_what_its_losses_need(job: Mapping[str, Any], detector: Any) -> None:
    types, found = tiny.operations(*step_and_batch(job, detector, tiny.RPN)[:2])
    assert tiny.holds('rpn_head', found) and not tiny.holds('detection_head', found)
    assert not {'CombinedNonMaxSuppression', 'NonMaxSuppressionV5', 'CropAndResize'} & types
    types, found = tiny.operations(*step_and_batch(job, detector, tiny.HEAD, known=proposals(-1.0))[:2])
    assert tiny.holds('detection_head', found) and not tiny.holds('rpn_head', found)
    assert 'CropAndResize' in types and 'CombinedNonMaxSuppression' not in types
    # Both are there when both are asked for: the names above are the right ones.
    types, found = tiny.operations(*step_and_batch(job, detector, tiny.RPN | tiny.HEAD)[:2])
    assert 'CombinedNonMaxSuppression' in types and tiny.holds('rpn_head', found) and tiny.holds('detection_head', found)


@pytest.mark.slow
def test_a_masked_loss_that_would_be_nan_does_not_disturb(job: Mapping[str, Any]) -> None:
    detector = tiny.context(job).build_detector(MODULES)
    head = detector.modules['detection_head']
    head.variables[0].assign(tf.fill(head.variables[0].shape, np.nan))
    step, batch, task = step_and_batch(job, detector, tiny.RPN)
    result = step(batch)
    assert bool(result['is_finite']) and int(task.step) == 1
    step, batch, task = step_and_batch(job, detector, tiny.RPN | {'frcnn_class': 1e-30})
    result = step(batch)
    assert not bool(result['is_finite']) and np.isnan(result['frcnn_class']) and int(task.step) == 0


@pytest.mark.slow
def test_idle_variables_rest_whatever_the_optimizer(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    stage = tiny.stage(
        'rpn',
        tiny.RPN | {'frcnn_class': 0.0},
        {'steps': 3, 'optimizer': tiny.ADAMW},
        init={'detection_head': 'fresh'},
    )
    job = tiny.job(tmp_path, tiny.pipeline(tiny_data, [stage]), 'rpn')
    initial = tiny.context(job).build_detector(MODULES)
    tiny.train(job)
    after = assign.read_stage_checkpoint(tiny.last_checkpoint(tmp_path, 'rpn'))
    idle = names.named_variables({'detection_head': initial.modules['detection_head']})
    assert len(idle) == 10
    for name, variable in idle.items():
        np.testing.assert_array_equal(variable.numpy(), after[name])
    frozen = files.read_json(tmp_path / 'stages' / 'rpn' / 'frozen.json')
    assert sorted(name for name in frozen if not name.startswith('backbone/')) == sorted(idle)


# ---- not finite ------------------------------------------------------------------------------------------------------------


class OneVariable:
    """A network of one weight behind a BatchNorm; the loss `root` is finite and its gradient is not."""

    def __init__(self) -> None:
        self.weight = tf.Variable(0.0)
        self.norm = tf_keras.layers.BatchNormalization(momentum=0.5)
        self.norm.build([None, 1])

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the terms asked for; the forward pass moves the BatchNorm's statistics."""
        self.norm(tf.reshape(batch['target'], [1, 1]), training=True)
        values = {'root': 0.0 * tf.pow(self.weight, 0.5), 'square': tf.square(self.weight - batch['target'])}
        return {name: values[name] for name in terms}

    def regularization(self, trained: Sequence[tf.Variable]) -> tf.Tensor:
        """Returns nothing to add."""
        return tf.zeros([])


def one_step(terms: Mapping[str, float], target: float) -> tuple[dict[str, tf.Tensor], float, int, float]:
    """Returns a step's result, the weight after it, the number of steps counted, and BatchNorm's moving mean."""
    network: Any = OneVariable()
    optimizer, step = tf_keras.optimizers.SGD(0.25), tf.Variable(0, dtype=tf.int64)
    task = Task(network, optimizer, terms, [network.weight], step, network.norm.non_trainable_variables)
    result = build_step(task, tf.distribute.get_strategy())({'target': tf.constant(target)})
    return result, float(network.weight), int(step), float(network.norm.moving_mean[0])


def test_a_finite_step_is_applied() -> None:
    result, weight, steps, mean = one_step({'square': 0.5}, target=2.0)
    assert (bool(result['is_finite']), float(result['square']), float(result['total'])) == (True, 4.0, 2.0)
    assert (weight, steps, mean) == (0.5, 1, 1.0)


def test_a_gradient_that_is_nan_is_not_applied_though_the_loss_is_finite() -> None:
    result, weight, steps, mean = one_step({'root': 1.0}, target=2.0)
    assert float(result['total']) == 0.0 and not bool(result['is_finite'])
    assert (weight, steps, mean) == (0.0, 0, 0.0)


def test_a_loss_that_is_not_finite_is_not_applied() -> None:
    result, weight, steps, mean = one_step({'square': 1.0}, target=float('nan'))
    assert not bool(result['is_finite']) and (weight, steps, mean) == (0.0, 0, 0.0)


@pytest.mark.slow
def test_a_stage_that_diverges_names_step_images_and_term_and_keeps_no_diverged_weights(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    rate = {'type': 'constant', 'constant': {'learning_rate': 1e30}}
    stage = tiny.stage('rpn', tiny.RPN, {'learning_rate': rate})
    job = tiny.job(tmp_path, tiny.pipeline(tiny_data, [stage]), 'rpn')
    with pytest.raises(StageFailed, match=r'stage rpn, step 2: .*images: 0000\d\d, 0000\d\d\)') as failure:
        tiny.train(job)
    # Squares of 1e29 have no float32; which other losses have none depends on the order in which a kernel adds.
    named, losses = re.findall(r'step 2: ([\w, ]+) not finite \(losses: ({.*?})', str(failure.value))[0]
    not_finite = re.findall(r"'(\w+)': -?(?:inf|nan)", losses)
    assert named.split(', ') == sorted(set(not_finite) - {'total'}) and 'regularization' in not_finite
    # The weights of step 1 are finite numbers around 1e29, of which nothing can be computed.
    assert not list((tmp_path / 'stages' / 'rpn' / 'checkpoints').glob('step-*'))
