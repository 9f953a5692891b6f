"""What a pipeline file says of strategies, and what it costs a stage that is up to date."""

from __future__ import annotations

from typing import Any

import pytest

from stagetrain.config import strategies
from stagetrain.config.check import check_pipeline
from stagetrain.errors import ConfigError
from stagetrain.pipeline import fingerprint

TWO = ('runtime.strategy=mirrored', 'runtime.mirrored={num_devices: 2}')


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            ('runtime.strategy=mirrored', 'runtime.mirrored.num_devices=3'),
            r'stages\[0\]\.train\.batch_size: found 4; expected a multiple of 3, the number of replicas',
        ),
        (
            (*TWO, 'stages.detector.train.gradient_accumulation=2'),
            r"stages\[1\]\.train\.gradient_accumulation: found 2; expected 1 with 'mirrored'",
        ),
        (
            ('runtime.mirrored.num_devices=2',),
            r"options of 'mirrored' are given, but strategy is 'one_device'",
        ),
        ((*TWO, 'runtime.mirrored.num_gpus=2'), r'runtime\.mirrored\.num_gpus: unknown key\. Known here: device, '),
        (('runtime.strategy=mirrored', 'runtime.mirrored.num_devices=0'), r'num_devices: found 0 .*; expected greater than 0'),
    ],
)
def test_what_replicas_cannot_do_is_refused(load: Any, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_pipeline(load(*overrides))


def test_a_stages_batch_is_shared_out(load: Any) -> None:
    loaded = load(*TWO)
    check_pipeline(loaded)
    assert strategies.num_replicas(loaded.pipeline.runtime) == 2
    assert strategies.num_replicas(load().pipeline.runtime) == 1


@pytest.mark.parametrize(('scaling', 'factor'), [('none', 1.0), ('linear', 2.0)])
def test_learning_rates_grow_with_the_replicas_where_that_is_asked_for(load: Any, scaling: str, factor: float) -> None:
    runtime = load(*TWO, f'runtime.mirrored.learning_rate_scaling={scaling}').pipeline.runtime
    assert strategies.learning_rate_factor(runtime) == factor


def test_one_device_has_the_parts_that_it_had_before_there_were_others(load: Any) -> None:
    assert fingerprint._runtime_parts(load().pipeline.runtime) == {
        'runtime.deterministic': True,
        'runtime.intra_op_threads': 2,
        'runtime.inter_op_threads': 2,
        'runtime.strategy': 'one_device',
    }


def test_the_options_of_the_chosen_strategy_count_with_their_defaults(load: Any) -> None:
    parts = fingerprint._runtime_parts(load('runtime.strategy=mirrored').pipeline.runtime)
    assert {key: value for key, value in parts.items() if key.startswith('runtime.mirrored')} == {
        'runtime.mirrored.learning_rate_scaling': 'none',
        'runtime.mirrored.num_devices': 1,
        'runtime.mirrored.device': 'gpu',
    }


def test_what_only_detects_needs_no_replicas(load: Any) -> None:
    runtime = load(*TWO).pipeline.runtime
    assert strategies.for_one_network(runtime).strategy == 'one_device'
    assert strategies.for_one_network(load().pipeline.runtime) == load().pipeline.runtime
