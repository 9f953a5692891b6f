"""Cascade R-CNN through the stages of its shipped config: stopped, resumed, and loaded by the Model Garden's own task."""

from __future__ import annotations

import pathlib

import pytest
from official.vision.configs import maskrcnn as maskrcnn_config
from official.vision.modeling import maskrcnn_model
from official.vision.tasks import maskrcnn as maskrcnn_task

from stagetrain import files
from stagetrain.pipeline import run_files
from stagetrain.stages.network import build_network
from stagetrain.weights import assign, keras_files, names
from tests import tiny

pytestmark = pytest.mark.slow
MODULES = ('backbone', 'decoder', 'rpn_head', 'detection_head')


@pytest.fixture(scope='module')
def stages(tmp_path_factory: pytest.TempPathFactory, places: dict[str, str]) -> dict[str, tiny.Trained]:
    """Both stages of the shipped config, trained without interruption."""
    return tiny.train_in_turn(tmp_path_factory.mktemp('cascade'), tiny.shipped('bccd/cascade.yaml', places, *tiny.FEW_ROIS))


@pytest.fixture(scope='module')
def cascade(stages: dict[str, tiny.Trained]) -> tiny.Trained:
    """The last stage."""
    return stages['all']


def test_three_heads_train_behind_a_frozen_backbone_and_then_all(stages: dict[str, tiny.Trained]) -> None:
    heads, everything = (assign.read_stage_checkpoint(stages[name].checkpoint) for name in ('heads', 'all'))
    fresh = names.named_variables(tiny.context(stages['heads'].job).build_detector(MODULES).modules)
    kernels = [name for name in heads if name.startswith('detection_head/') and name.endswith('/kernel')]
    assert {name.split('/')[1] for name in kernels} == {'0', '1', '2'}
    assert all((heads[name] != fresh[name].numpy()).any() and (heads[name] != everything[name]).any() for name in kernels)
    published = keras_files.read_keras_h5(stages['heads'].job.origins['backbone'].path)
    backbone = [name for name in heads if name.startswith('backbone/')]
    assert all(heads[name].tobytes() == published[name.removeprefix('backbone/')].tobytes() for name in backbone)
    assert {entry.get('stage') for entry in files.read_json(stages['all'].folder / 'lineage.json').values()} == {'heads'}


def test_each_stage_is_evaluated_and_detects(stages: dict[str, tiny.Trained]) -> None:
    for stage in stages.values():
        assert 0.0 <= stage.result['metrics']['AP50'] <= 1.0
    assert {found['category_id'] for found in files.read_json(stages['all'].folder / 'detections.json')} <= {1, 2, 3}


def test_a_stopped_and_resumed_stage_ends_with_the_same_bits(cascade: tiny.Trained, tmp_path: pathlib.Path) -> None:
    assert tiny.tensors(tiny.resumed(cascade, tmp_path)) == tiny.tensors(cascade.checkpoint)


def test_the_model_gardens_task_initialises_from_its_checkpoint(cascade: tiny.Trained) -> None:
    context = tiny.context(cascade.job)
    other = build_network(context.pipeline, context.stage.model_copy(update={'seed': context.seed + 1}), MODULES)
    parts = dict.fromkeys(('roi_generator', 'roi_aligner', 'detection_generator'))
    model = maskrcnn_model.MaskRCNNModel(**other.modules, **parts, roi_sampler=[None] * 3, class_agnostic_bbox_pred=True)
    file = cascade.checkpoint / run_files.TENSORS
    task = maskrcnn_task.MaskRCNNTask(maskrcnn_config.MaskRCNNTask(init_checkpoint=str(file), init_checkpoint_modules='all'))
    task.initialize(model)
    trained = assign.read_stage_checkpoint(cascade.checkpoint)
    theirs = names.named_variables(other.modules)
    assert [name for name, variable in theirs.items() if variable.numpy().tobytes() != trained[name].tobytes()] == []
