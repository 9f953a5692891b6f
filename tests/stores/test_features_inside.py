"""Features stored inside a backbone frozen up to some layer: same losses at equal weights, and only what trains in the graph."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from stagetrain.detectors.detector import Cut
from stagetrain.stores import features
from stagetrain.weights import names
from tests import tiny
from tests.stores.frozen_front import FLIPS, NUM_STEPS, ROUNDING, Stage, nothing, stage

pytestmark = [pytest.mark.numbers, pytest.mark.slow]
# Level 3 of MobileNet v1 is behind conv_pw_5: the pyramid reads it, and so does the rest of the backbone.
BORDER = 'conv_pw_5_relu'


def frozen_up_to(folder: pathlib.Path, data: pathlib.Path, store: str) -> Stage:
    """Returns a stage whose backbone trains behind `BORDER`."""
    keys = {'freeze_variables': [], 'freeze_up_to': BORDER, 'allow_frozen_fresh': ['backbone/.*']}
    return stage(folder, data, FLIPS, features={'store': store}, **keys)


@pytest.fixture(scope='module')
def stored(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> Stage:
    return frozen_up_to(tmp_path_factory.mktemp('inside'), tiny_data, 'memory')


def test_the_rest_of_the_backbone_trains_on_what_is_stored_with_the_same_losses(
    stored: Stage, tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    assert (stored.decision.mode, stored.decision.cut) == ('memory', Cut('backbone', (BORDER,)))
    variables = names.named_variables(stored.built.network.modules)
    before = {name: variable.numpy() for name, variable in variables.items()}
    read = stored.store().in_memory(nothing)
    types, found = tiny.operations(stored.step, next(iter(stored.batches(1, read))))
    parts = {part for name in found for part in name.split('/')}
    assert 'conv_dw_6' in parts and 'DepthwiseConv2dNativeBackpropFilter' in types
    assert not parts & {'conv1', *(f'conv_{kind}_{number}' for kind in ('dw', 'pw') for number in range(1, 6))}
    pairs = stored.losses_both_ways(read)
    assert len(pairs) == NUM_STEPS
    for computed, from_store in pairs:
        np.testing.assert_allclose(list(from_store.values()), list(computed.values()), rtol=ROUNDING)
    # A step of training on what is computed leads where one on what is stored does: their second losses are the same too.
    off = frozen_up_to(tmp_path, tiny_data, 'off')
    for result, (_, from_store) in zip(map(off.step, off.batches(2)), pairs, strict=False):
        np.testing.assert_allclose([float(result[name]) for name in from_store], list(from_store.values()), rtol=10 * ROUNDING)
    moved = {name for name, variable in variables.items() if not np.array_equal(variable.numpy(), before[name])}
    assert {'backbone/conv_dw_6/depthwise_kernel', 'backbone/conv_pw_11_bn/moving_mean'} <= moved
    assert not moved & set(stored.built.network.variables_before(stored.decision.cut))


def test_auto_computes_what_is_computed_as_fast_as_it_is_read(stored: Stage) -> None:
    settings = stored.context.stage.features.model_copy(update={'store': 'auto'})
    first = [name for name in stored.built.roles.trained if name.startswith('decoder/')] + ['backbone/conv_dw_1/depthwise_kernel']
    shallow = features.decide(settings, stored.built.network, first, stored.images, stored.views)
    assert shallow.mode == 'off' and 'takes no longer to compute than to read' in shallow.reason
    deep = features.decide(settings, stored.built.network, list(stored.built.roles.trained), stored.images, stored.views)
    assert (deep.mode, deep.cut) == ('disk', Cut('backbone', (BORDER,)))
