"""Stored features: at equal weights the losses of computing the frozen part at each step, of which nothing is in the graph."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.detectors.detector import Cut
from stagetrain.errors import DamagedFile
from stagetrain.images.views import Views
from stagetrain.stores import features
from stagetrain.weights import names
from tests import tiny
from tests.stores.frozen_front import FLIPS, JITTER, ROUNDING, Stage, nothing, stage

pytestmark = [pytest.mark.numbers, pytest.mark.slow]


@pytest.mark.parametrize(
    ('parser', 'settings', 'num_views'), [(FLIPS, {'store': 'memory'}, 4), (JITTER, {'store': 'disk', 'views': 3}, 3)]
)
def test_the_losses_of_20_steps_are_those_without_a_store(
    tmp_path: pathlib.Path, tiny_data: pathlib.Path, parser: dict[str, Any], settings: dict[str, Any], num_views: int
) -> None:
    stored = stage(tmp_path, tiny_data, parser, features=settings)
    assert (stored.decision.mode, stored.decision.cut, stored.views.count) == (settings['store'], Cut('decoder'), num_views)
    in_memory = settings['store'] == 'memory'
    store = stored.store()
    read = store.in_memory(nothing) if in_memory else store.on_disk(tmp_path / 'store', nothing, lambda: False)
    pairs = stored.losses_both_ways(read)
    for computed, from_store in pairs:
        np.testing.assert_allclose(list(from_store.values()), list(computed.values()), rtol=ROUNDING)
    assert pairs[0][0]['total'] > 1.5 * pairs[-1][0]['total'] > 0  # It trains: equal losses say something.


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> tuple[Stage, pathlib.Path, Any]:
    """A stage, the store on disk that it made, and what reads it."""
    folder = tmp_path_factory.mktemp('features')
    one = stage(folder, tiny_data)
    return one, folder / 'store', one.store().on_disk(folder / 'store', nothing, lambda: False)


def test_nothing_of_the_frozen_part_is_in_a_step_on_stored_features(made: tuple[Stage, pathlib.Path, Any]) -> None:
    one, _, read = made
    types, found = tiny.operations(one.step, next(iter(one.batches(1))))
    assert 'DepthwiseConv2dNative' in types and tiny.holds('lateral_3', found)
    # No gradient is taken below the border.
    assert not {'DepthwiseConv2dNativeBackpropInput', 'DepthwiseConv2dNativeBackpropFilter'} & types
    types, found = tiny.operations(one.step, next(iter(one.batches(1, read))))
    assert tiny.holds('rpn_head', found) and 'Conv2DBackpropFilter' in types
    assert not {'DepthwiseConv2dNative', 'DecodeImage', 'ResizeBilinear'} & types
    layers = {
        layer.name for name in ('backbone', 'decoder') for layer in one.built.network.modules[name].layers if layer.variables
    }
    assert len(layers) > 50 and not [name for name in found if layers & set(name.split('/'))]


def test_a_store_that_is_there_is_read_and_not_made_again(made: tuple[Stage, pathlib.Path, Any]) -> None:
    one, folder, read = made
    made_again: list[int] = []
    again = one.store().on_disk(folder, lambda done, total: made_again.append(done), lambda: False)
    assert not made_again
    view = one.views.numbered(tf.constant(3, tf.int64), tf.constant(1))
    for level, values in read(tf.constant(3, tf.int64), view).items():
        np.testing.assert_array_equal(values, again(tf.constant(3, tf.int64), view)[level])


def test_other_weights_or_other_views_have_another_fingerprint(made: tuple[Stage, pathlib.Path, Any]) -> None:
    one, _, _ = made
    fingerprint = one.store().fingerprint()
    assert fingerprint == one.store().fingerprint()
    fixed = dataclasses.replace(one, views=dataclasses.replace(one.views, num_fixed=4))
    assert fixed.store().fingerprint() != fingerprint
    variable = names.named_variables(one.built.network.modules)['decoder/lateral_3/kernel']
    value = variable.numpy()
    variable.assign(np.nextafter(value, 1.0))
    assert one.store().fingerprint() != fingerprint
    variable.assign(value)


def test_other_versions_have_another_store(made: tuple[Stage, pathlib.Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    one, _, _ = made
    fingerprint = one.store().fingerprint()
    monkeypatch.setattr('stagetrain.config.versions.package_versions', lambda: {'tf_keras': '9.9'})
    assert one.store().fingerprint() != fingerprint


def test_a_damaged_store_is_refused(made: tuple[Stage, pathlib.Path, Any], tmp_path: pathlib.Path) -> None:
    one, _, _ = made
    one.store().on_disk(tmp_path / 'store', nothing, lambda: False)
    path = next((tmp_path / 'store').glob('features-*.npy'))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=path.name):
        one.store().on_disk(tmp_path / 'store', nothing, lambda: False)


def test_what_does_not_fit_the_budget_or_has_no_finite_views_is_computed(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    small = stage(tmp_path, tiny_data, features={'budget_gib': 1e-6})
    assert small.decision.mode == 'off' and 'exceed features.budget_gib' in small.decision.reason
    endless = Views(dataclasses.replace(small.images.geometry, scale_max=2.0), small.views.seed, None)
    settings = small.context.stage.features
    decision = features.decide(settings, small.built.network, list(small.built.roles.trained), small.images, endless)
    assert decision.mode == 'off' and 'views are no finite set' in decision.reason
    everything = [*small.built.roles.trained, 'backbone/conv1/kernel']
    assert features.decide(settings, small.built.network, everything, small.images, small.views).cut is None
