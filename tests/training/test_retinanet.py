"""RetinaNet through the stages of its shipped config: heads on stored features, then all; stopped, resumed, detecting."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain import files
from stagetrain.weights import assign
from tests import tiny

MODULES = ('backbone', 'decoder', 'head')
NARROW = (
    'model.decoder.fpn.num_filters=8',
    'model.anchor.num_scales=1',
    'model.head={num_convs: 1, num_filters: 8}',
    'model.detection_generator={pre_nms_score_threshold: 0.0, max_num_detections: 20}',
)


def pipeline(places: dict[str, str]) -> dict[str, Any]:
    """Returns the shipped config, narrowed."""
    return tiny.shipped('bccd/retinanet.yaml', places, *NARROW)


@pytest.fixture(scope='module')
def stages(tmp_path_factory: pytest.TempPathFactory, places: dict[str, str]) -> dict[str, tiny.Trained]:
    """Both stages, trained one after the other in one run directory."""
    return tiny.train_in_turn(tmp_path_factory.mktemp('retinanet'), pipeline(places))


@pytest.mark.slow
def test_the_heads_train_on_stored_features_and_the_backbone_rests(stages: dict[str, tiny.Trained]) -> None:
    heads = stages['heads']
    assert heads.result['features']['cut'] == 'backbone'
    frozen = files.read_json(heads.folder / 'frozen.json')
    assert {name.split('/')[0] for name in frozen} == {'backbone'}
    values = assign.read_stage_checkpoint(heads.checkpoint)
    assert all(assign.digest(values[name]) == digest for name, digest in frozen.items())


@pytest.mark.slow
def test_all_modules_are_handed_on_and_trained(stages: dict[str, tiny.Trained]) -> None:
    lineage = files.read_json(stages['all'].folder / 'lineage.json')
    assert {(entry['kind'], entry['stage']) for entry in lineage.values()} == {('stage', 'heads')}
    before, after = (assign.read_stage_checkpoint(stages[name].checkpoint) for name in ('heads', 'all'))
    # What lies behind the pyramid's last level reaches no loss, and rests.
    resting = files.read_json(stages['all'].folder / 'frozen.json')
    moved = {name for name in after if name.endswith('/kernel') and (before[name] != after[name]).any()}
    assert moved == {name for name in after if name.endswith('/kernel') and name not in resting}
    assert {name.split('/')[0] for name in moved} == set(MODULES)


@pytest.mark.slow
def test_both_losses_and_the_detections_are_measured(stages: dict[str, tiny.Trained]) -> None:
    lines = [line for line in files.read_json_lines(stages['all'].folder / 'metrics.jsonl') if 'losses' in line]
    assert [sorted(line['losses']) for line in lines] == [['box', 'class']] * 4
    for trained in stages.values():
        assert {'AP', 'AP50', 'AR100'} <= trained.result['metrics'].keys()
        assert not any(key.startswith('recall') for key in trained.result['metrics'])  # No proposals to measure.
    assert len(files.read_json(stages['all'].folder / 'detections.json')) == 6 * 20


@pytest.mark.slow
def test_a_stopped_and_resumed_stage_ends_with_the_same_bits(stages: dict[str, tiny.Trained], tmp_path: pathlib.Path) -> None:
    assert tiny.tensors(tiny.resumed(stages['all'], tmp_path)) == tiny.tensors(stages['all'].checkpoint)


@pytest.mark.slow
def test_a_tower_without_its_loss_rests(tmp_path: pathlib.Path, places: dict[str, str]) -> None:
    document = pipeline(places)
    document['stages'] = [tiny.stage('classes', {'class': 1.0, 'box': 0.0}, {'steps': 2})]
    job = tiny.job(tmp_path, document, 'classes')
    tiny.train(job)
    frozen = files.read_json(tmp_path / 'stages' / 'classes' / 'frozen.json')
    assert {name.split('/')[1] for name in frozen if name.startswith('head/')} == {'box_convs', 'box_norms', 'box_regressor'}
