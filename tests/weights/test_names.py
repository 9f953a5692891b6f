"""Canonical names are unique and equal on every build, with other modules beside them, and in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import tensorflow as tf
import tf_keras

from stagetrain.config import specs
from stagetrain.detectors.faster_rcnn import FasterRcnn
from stagetrain.weights import names
from tests import tiny

MODULES = ('backbone', 'decoder', 'rpn_head', 'detection_head')
BUILD = f"""
import json
from tests.weights.test_names import build, shapes
print(json.dumps(shapes(build({MODULES!r}))))
"""


def build(modules: tuple[str, ...], **changes: Any) -> FasterRcnn:
    """Builds a tiny detector on the Keras MobileNet v1."""
    model = specs.detector('faster_rcnn').options.model_validate(tiny.model(**changes))
    return FasterRcnn(model, num_classes=3, modules=modules, seed=1)


def shapes(detector: FasterRcnn) -> dict[str, list[int]]:
    """Returns canonical name -> shape."""
    return {name: variable.shape.as_list() for name, variable in names.named_variables(detector.modules).items()}


@pytest.fixture(scope='module')
def detector() -> FasterRcnn:
    return build(MODULES)


def test_names_follow_layers_and_attributes(detector: FasterRcnn) -> None:
    found = shapes(detector)
    assert found['backbone/conv_pw_1_bn/gamma'] == [16]
    assert found['backbone/conv1/kernel'] == [3, 3, 3, 8]
    assert found['detection_head/fcs/0/kernel'] == [7 * 7 * 8, 8]
    assert {name.split('/')[0] for name in found} == set(MODULES)


def test_every_variable_has_one_name(detector: FasterRcnn) -> None:
    variables = names.named_variables(detector.modules)
    everything = {id(variable) for module in detector.modules.values() for variable in module.variables}
    assert {id(variable) for variable in variables.values()} == everything
    assert len(variables) == len(everything) > 150
    assert list(variables) == sorted(variables)


def test_names_are_equal_on_a_second_build_and_with_fewer_modules(detector: FasterRcnn) -> None:
    expected = shapes(detector)
    assert shapes(build(MODULES)) == expected
    fewer = shapes(build(('backbone', 'decoder', 'detection_head')))
    assert fewer == {name: shape for name, shape in expected.items() if not name.startswith('rpn_head/')}


@pytest.mark.slow
def test_names_are_equal_in_another_process(detector: FasterRcnn) -> None:
    done = subprocess.run([sys.executable, '-c', BUILD], cwd=tiny.ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == shapes(detector)


def test_freezing_moves_variables_to_other_positions_but_not_to_other_names() -> None:
    head = build(MODULES).modules['detection_head']
    before, positions = names.named_variables({'head': head}), [id(variable) for variable in head.variables]
    names.leaves({'head': head})[0].layer.trainable = False
    assert [id(variable) for variable in head.variables] != positions
    after = names.named_variables({'head': head})
    assert {name: id(variable) for name, variable in after.items()} == {name: id(variable) for name, variable in before.items()}


class Twice(tf_keras.layers.Layer):
    """Holds one layer under two names."""

    def __init__(self, layer: tf_keras.layers.Layer) -> None:
        super().__init__()
        self.first, self.second = layer, layer


def test_a_layer_reached_twice_keeps_its_first_name() -> None:
    shared = tf_keras.layers.Dense(2)
    shared.build([None, 3])
    assert sorted(names.named_variables({'head': Twice(shared)})) == ['head/first/bias', 'head/first/kernel']


def test_a_variable_without_a_name_is_a_defect() -> None:
    class Hidden(tf_keras.layers.Layer):
        def build(self, input_shape: tf.TensorShape) -> None:
            self._hidden = {1: tf_keras.layers.Dense(2)}
            self._hidden[1].build([None, 3])

        @property
        def variables(self) -> list[tf.Variable]:
            return [*super().variables, tf.Variable(0.0)]

    layer = Hidden()
    layer.build([None, 3])
    with pytest.raises(AssertionError, match='head: variables without a canonical name'):
        names.named_variables({'head': layer})
