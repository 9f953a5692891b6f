"""Rule 2: a scope without match, nothing to train, and frozen-but-fresh are refused, in every stage before the first step."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain.config import schema, scopes
from stagetrain.errors import ConfigError
from stagetrain.pipeline.jobs import CheckJob
from stagetrain.stages.roles import freeze_layers, select_variables
from stagetrain.training import variables
from tests import tiny

MODULES = ('backbone', 'decoder', 'rpn_head', 'detection_head')
RPN_MODULES = ('backbone', 'decoder', 'rpn_head')


@pytest.fixture(scope='module')
def detector(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> Any:
    job = tiny.job(tmp_path_factory.mktemp('selection'), tiny.pipeline(tiny_data, [tiny.stage('a', tiny.RPN)]), 'a')
    return tiny.context(job).build_detector(MODULES)


def select(detector: Any, modules: tuple[str, ...] = RPN_MODULES, is_fresh: bool = False, **keys: Any) -> scopes.Roles:
    """Applies an RPN stage's scopes to the detector."""
    stage = schema.Stage.model_validate(tiny.stage('a', tiny.RPN, **keys))
    return select_variables(detector, stage, modules, 'stages.a', lambda name: is_fresh)


def test_a_scope_without_match_is_refused(detector: Any) -> None:
    with pytest.raises(ConfigError, match=r"stages\.a: scope 'backbone' matches no variable of this stage"):
        select(detector, freeze_variables=['backbone'])
    with pytest.raises(
        ConfigError, match=r"scope 'detection_head/\.\*' matches no variable of this stage \(modules backbone, dec"
    ):
        select(detector, freeze_variables=['detection_head/.*'])


def test_nothing_to_train_is_refused(detector: Any) -> None:
    with pytest.raises(ConfigError, match=r'the losses rpn_score, rpn_box have nothing to train: all \d+ variables'):
        select(detector, freeze_variables=['.*'])
    with pytest.raises(ConfigError, match='have nothing to train'):
        select(detector, MODULES, train_variables=['detection_head/.*'])


def test_frozen_at_random_initial_values_is_refused_unless_allowed(detector: Any) -> None:
    with pytest.raises(
        ConfigError, match=r'variables would be frozen at their random initial values, e\.g\. backbone/conv1/kernel'
    ):
        select(detector, is_fresh=True, freeze_variables=['backbone/.*'])
    chosen = select(detector, is_fresh=True, freeze_variables=['backbone/.*'], allow_frozen_fresh=['backbone/.*'])
    assert {name.split('/')[0] for name in chosen.frozen} == {'backbone'}
    with pytest.raises(ConfigError, match=r"scope 'backbon/\.\*' matches no variable"):
        select(detector, is_fresh=True, freeze_variables=['backbone/.*'], allow_frozen_fresh=['backbon/.*'])


def test_what_no_loss_reaches_is_frozen(detector: Any) -> None:
    chosen = select(detector, MODULES, is_fresh=True)
    assert {name.split('/')[0] for name in chosen.trained} == set(RPN_MODULES)
    behind = {name.split('/')[1][:10] for name in chosen.frozen if name.startswith('backbone/')}
    assert behind == {'conv_dw_12', 'conv_pw_12', 'conv_dw_13', 'conv_pw_13'}  # Level 5; the pyramid ends at level 4.
    assert {name.split('/')[0] for name in chosen.frozen} == {'backbone', 'detection_head'}
    assert not set(chosen.trained) & set(chosen.frozen) and not set(chosen.updated) & set(chosen.frozen)


def test_a_layer_that_trains_nothing_is_put_into_inference_mode(detector: Any) -> None:
    freeze_layers(detector.modules, select(detector, freeze_variables=['backbone/conv1.*']))
    backbone = detector.modules['backbone']
    assert not backbone.get_layer('conv1_bn').trainable and backbone.get_layer('conv_pw_1_bn').trainable
    assert len(backbone.get_layer('conv1_bn').trainable_variables) == 0


def check(data: pathlib.Path, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """Checks all stages of a pipeline against the model."""
    return variables.check_model(CheckJob('', tiny.pipeline(data, stages)), lambda event: None, lambda: False)


def test_all_stages_are_checked_before_the_first_step(tiny_data: pathlib.Path) -> None:
    good = check(tiny_data, tiny.four_steps())
    assert good['num_stages'] == 4 and good['num_variables'] > 150
    stages = tiny.four_steps()
    stages[2]['freeze_variables'] = ['backbone/conv1/kernle']
    stages[3]['freeze_variables'] = ['.*']
    with pytest.raises(ConfigError) as caught:
        check(tiny_data, stages)
    faults = str(caught.value).splitlines()
    assert "stages.rpn_2: scope 'backbone/conv1/kernle'" in faults[0] and "Did you mean 'backbone/conv1/kernel'?" in faults[0]
    assert 'stages.detector_2: the losses frcnn_class, frcnn_box have nothing to train' in faults[1]


def test_the_table_of_variables_tells_origin_and_fate(tiny_data: pathlib.Path) -> None:
    document = tiny.pipeline(tiny_data, tiny.four_steps())
    pipeline = tiny.load.load_resolved(document).pipeline
    rows = {row['variable']: row for row in variables.variable_table(pipeline)}
    assert rows['backbone/conv1/kernel'] == {
        'variable': 'backbone/conv1/kernel',
        'shape': '3x3x3x8',
        'count': 216,
        'rpn_1': 'fresh: trained',
        'detector_1': 'fresh: trained',
        'rpn_2': 'detector_1: frozen',
        'detector_2': 'rpn_2: frozen',
    }
    assert rows['detection_head/fcs/0/kernel']['rpn_1'] == '-'
    assert rows['detection_head/fcs/0/kernel']['detector_2'] == 'detector_1: trained'
    assert rows['backbone/conv1_bn/moving_mean']['rpn_1'] == 'fresh: updated'
    assert rows['rpn_head/norms/0/0/gamma']['detector_2'] == 'rpn_2: idle'
