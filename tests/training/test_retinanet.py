"""RetinaNet through its two stages: heads on stored features of a frozen backbone, then all; stopped, resumed, and detecting."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain import files
from stagetrain.errors import Interrupted
from stagetrain.weights import assign
from tests import tiny

MODULES = ('backbone', 'decoder', 'head')
LOSSES = {'class': 1.0, 'box': 50.0}


def pipeline(data: pathlib.Path) -> dict[str, Any]:
    """Returns a pipeline of two stages."""
    frozen = {'freeze_variables': ['backbone/.*'], 'allow_frozen_fresh': ['backbone/.*']}
    stages = [
        tiny.stage('heads', LOSSES, {'steps': 4}, **frozen),
        tiny.stage('all', LOSSES, {'steps': 4}, init=dict.fromkeys(MODULES, 'heads')),
    ]
    document = tiny.pipeline(data, stages)
    document['model'] = {
        'type': 'retinanet',
        **{key: document['model'][key] for key in ('input_size', 'min_level', 'max_level', 'backbone', 'decoder')},
        'anchor': {'anchor_size': 2.0, 'num_scales': 1},
        'head': {'num_convs': 1, 'num_filters': 8},
        'norm_activation': {'use_sync_bn': False},
        'detection_generator': {'pre_nms_score_threshold': 0.0, 'max_num_detections': 20},
        'losses': {'l2_weight_decay': 1e-3},
        'parser': {'aug_rand_hflip': True, 'max_num_instances': 8},
    }
    return document


@pytest.fixture(scope='module')
def stages(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> dict[str, tiny.Trained]:
    """Both stages, trained one after the other in one run directory."""
    folder = tmp_path_factory.mktemp('retinanet')
    heads_job = tiny.job(folder, pipeline(tiny_data), 'heads')
    heads = tiny.Trained(heads_job, *tiny.train(heads_job))
    origin = {'kind': 'stage', 'stage': 'heads', 'path': str(heads.checkpoint)}
    all_job = tiny.job(folder, pipeline(tiny_data), 'all', origins=dict.fromkeys(MODULES, origin))
    return {'heads': heads, 'all': tiny.Trained(all_job, *tiny.train(all_job))}


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
    (tmp_path / 'stages' / 'heads').mkdir(parents=True)
    (tmp_path / 'cache').mkdir()
    job = {**stages['heads'].job, 'run_dir': str(tmp_path)}
    with pytest.raises(Interrupted, match='stopped and saved at step 2 of 4'):
        tiny.train(job, stop_after=2)
    result, _ = tiny.train(job)
    assert tiny.tensors(tmp_path / result['checkpoint']) == tiny.tensors(stages['heads'].checkpoint)


@pytest.mark.slow
def test_a_tower_without_its_loss_rests(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    document = pipeline(tiny_data)
    document['stages'] = [tiny.stage('classes', {'class': 1.0, 'box': 0.0}, {'steps': 2})]
    job = tiny.job(tmp_path, document, 'classes')
    tiny.train(job)
    frozen = files.read_json(tmp_path / 'stages' / 'classes' / 'frozen.json')
    assert {name.split('/')[1] for name in frozen if name.startswith('head/')} == {'box_convs', 'box_norms', 'box_regressor'}
