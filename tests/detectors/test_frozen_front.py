"""Where the frozen front of a network ends, and that what lies behind it gives the same from what is stored there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stagetrain.detectors import frozen_front
from stagetrain.weights import names, sources

pytestmark = pytest.mark.numbers

Layers = tf_keras.layers


def network(*, drops: bool = False) -> tf_keras.Model:
    """Returns a, then b beside a short cut, then c and d, with outputs behind b's sum, c and d."""
    image = tf_keras.Input([8, 8, 3])
    a = Layers.Conv2D(4, 3, padding='same', name='a')(image)
    if drops:
        a = Layers.Dropout(0.5, name='drop')(a)
    b = Layers.BatchNormalization(name='norm_b')(Layers.Conv2D(4, 3, padding='same', name='b')(a))
    total = Layers.Add(name='sum')([a, b])
    c = Layers.Conv2D(5, 3, strides=2, padding='same', name='c')(total)
    d = Layers.Conv2D(6, 1, name='d')(c)
    return tf_keras.Model(image, {'1': total, '2': c, '3': d})


def border_of(one: tf_keras.Model, *trained: str) -> tuple[str, ...]:
    """Returns the border when the layers named train."""
    return frozen_front.frozen_border(one, [variable for name in trained for variable in one.get_layer(name).trainable_variables])


def test_the_border_is_all_that_the_rest_needs() -> None:
    one = network()
    assert border_of(one, 'd') == ('c', 'sum')  # Outputs in front of the border are needed too.
    assert border_of(one, 'c') == border_of(one, 'c', 'd') == ('sum',)
    assert border_of(one, 'b') == ('a',)
    assert border_of(one, 'norm_b') == ('a', 'b')  # The short cut passes b by.
    assert border_of(one) == ('c', 'd', 'sum')


def test_padding_of_what_is_stored_anyway_is_not_stored() -> None:
    image = tf_keras.Input([8, 8, 3])
    first = Layers.ReLU(name='relu')(Layers.Conv2D(3, 1, name='first')(image))
    last = Layers.Conv2D(3, 3, name='last')(Layers.ZeroPadding2D(1, name='pad')(first))
    assert border_of(tf_keras.Model(image, {'1': last}), 'last') == ('pad',)
    one = tf_keras.Model(image, {'1': first, '2': last})
    assert border_of(one, 'last') == ('relu',)
    values = tf.random.stateless_normal([1, 8, 8, 3], [1, 2])
    np.testing.assert_allclose(front_and_rest(one, ('relu',), values)['2'], one(values)['2'], rtol=1e-5, atol=1e-6)


def test_there_is_none_where_the_first_layer_trains_or_is_random() -> None:
    assert border_of(network(), 'a') == ()
    assert border_of(network(drops=True), 'd') == ('a',)  # Dropout gives other outputs at each step.


def front_and_rest(one: tf_keras.Model, layers: Sequence[str], image: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the outputs by way of the border."""
    return frozen_front.Rest(one, layers)(frozen_front.front_of(one, layers)(image), training=False)


def test_front_and_rest_give_what_the_network_gives() -> None:
    one = network()
    image = tf.random.stateless_normal([2, 8, 8, 3], [1, 2])
    expected = one(image)
    for trained in ('b', 'c', 'd'):
        found = front_and_rest(one, border_of(one, trained), image)
        assert sorted(found) == ['1', '2', '3']
        for level, values in expected.items():
            np.testing.assert_allclose(found[level], values, rtol=1e-5, atol=1e-6)


def test_names_and_object_paths_stay_and_variables_are_shared() -> None:
    one = network()
    paths, variables = sources.object_paths(one, 'backbone'), names.named_variables({'backbone': one})
    rest = frozen_front.Rest(one, ('sum',))
    assert sources.object_paths(one, 'backbone') == paths
    assert {name: id(variable) for name, variable in names.named_variables({'backbone': one}).items()} == {
        name: id(variable) for name, variable in variables.items()
    }
    before = rest({'sum': tf.ones([1, 8, 8, 4])}, training=False)['3']
    one.get_layer('d').bias.assign_add(tf.ones([6]))
    np.testing.assert_allclose(rest({'sum': tf.ones([1, 8, 8, 4])}, training=False)['3'], before + 1.0, rtol=1e-5)


def test_multiplications_are_counted_by_hand() -> None:
    layers = [Layers.DepthwiseConv2D(3, padding='same'), Layers.Conv2D(5, 1, strides=2), Layers.Flatten(), Layers.Dense(7)]
    one = tf_keras.Sequential([tf_keras.Input([8, 8, 4]), *layers])
    graph = tf.function(one).get_concrete_function(tf.TensorSpec([1, 8, 8, 4])).graph
    assert frozen_front.num_multiplications(graph) == 64 * 9 * 4 + 16 * 4 * 5 + 80 * 7


def test_there_is_none_where_a_layer_that_trains_reads_the_image_too() -> None:
    image = tf_keras.Input([8, 8, 3])
    first = Layers.Conv2D(3, 1, name='first')(image)
    both = tf_keras.Model(image, {'1': Layers.Concatenate()([image, Layers.Conv2D(3, 1, name='second')(first)])})
    assert border_of(both, 'second') == ()
    assert border_of(both) == ('concatenate',)


def test_there_is_none_where_a_layer_is_called_twice() -> None:
    image = tf_keras.Input([8, 8, 3])
    twice = Layers.ReLU(name='twice')
    last = Layers.Conv2D(4, 1, name='last')(twice(Layers.Conv2D(4, 1, name='first')(twice(image))))
    assert border_of(tf_keras.Model(image, {'1': last}), 'last') == ()


def test_operands_of_an_operation_count_alike() -> None:
    image = tf_keras.Input([8, 8, 3])
    first = Layers.Conv2D(3, 1, name='first')(image)
    second = Layers.Conv2D(3, 1, name='second')(first)
    one = tf_keras.Model(image, {'1': tf.add(second, first)})
    assert border_of(one, 'second') == ('first',)
