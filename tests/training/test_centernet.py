"""CenterNet's two steps by its shipped config, backbone frozen and then all: trained, resumed, evaluated, detecting."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain import files
from stagetrain.weights import assign
from tests import tiny
from tests.tiny import Trained

MODULES = ('backbone', 'decoder', 'head')
NARROW = ('model.decoder.num_filters=[8, 8, 8]', 'model.parser.max_num_instances=8')


@pytest.fixture(scope='module')
def steps(tmp_path_factory: pytest.TempPathFactory, places: dict[str, str]) -> tuple[Trained, Trained]:
    """Both stages, trained without interruption."""
    document = tiny.shipped('bccd/centernet.yaml', places, *NARROW)
    heads, everything = tiny.train_in_turn(tmp_path_factory.mktemp('centernet'), document).values()
    return heads, everything


def moved_modules(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name.split('/')[0] for name in before if before[name].tobytes() != after[name].tobytes()}


@pytest.mark.slow
def test_each_step_moves_what_it_trains_and_nothing_else(steps: tuple[Trained, Trained]) -> None:
    heads, everything = steps
    frozen = files.read_json(heads.folder / 'frozen.json')
    found = assign.read_stage_checkpoint(heads.checkpoint)
    assert {name.split('/')[0] for name in frozen} == {'backbone'}
    assert all(assign.digest(found[name]) == value for name, value in frozen.items())
    assert moved_modules(found, assign.read_stage_checkpoint(everything.checkpoint)) == set(MODULES)


@pytest.mark.slow
def test_the_frozen_backbone_is_computed_once(steps: tuple[Trained, Trained]) -> None:
    notes = [event['text'] for event in steps[0].events if event['event'] == 'note']
    assert 'features disk: the output of backbone is fixed' in notes


@pytest.mark.slow
def test_a_stopped_step_ends_with_the_same_bits(steps: tuple[Trained, Trained], tmp_path: pathlib.Path) -> None:
    assert tiny.tensors(tiny.resumed(steps[1], tmp_path)) == tiny.tensors(steps[1].checkpoint)


@pytest.mark.slow
def test_each_step_is_evaluated_and_detects(steps: tuple[Trained, Trained]) -> None:
    for stage in steps:
        assert 0.0 <= stage.result['metrics']['AP50'] <= 1.0
        found = files.read_json(stage.folder / 'detections.json')
        assert len(found) >= 6 and all(detection['category_id'] in (1, 2, 3) for detection in found)
