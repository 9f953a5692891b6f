"""A cascade of detection heads in a stage: stopped and resumed to the same bits, and loaded by the Model Garden's own task."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from official.vision.configs import maskrcnn as maskrcnn_config
from official.vision.modeling import maskrcnn_model
from official.vision.tasks import maskrcnn as maskrcnn_task

from stagetrain.errors import Interrupted
from stagetrain.training import job_files
from stagetrain.weights import assign, names
from tests import tiny

pytestmark = pytest.mark.slow
MODULES = ('backbone', 'decoder', 'rpn_head', 'detection_head')
CASCADE = {
    'roi_sampler': {'num_sampled_rois': 16, 'cascade_iou_thresholds': [0.6, 0.7]},
    'detection_head': {'num_convs': 0, 'fc_dims': 8, 'class_agnostic_bbox_pred': True},
}


def job(folder: pathlib.Path, data: pathlib.Path) -> dict[str, Any]:
    frozen = {'freeze_variables': ['backbone/.*'], 'allow_frozen_fresh': ['backbone/.*']}
    stage = tiny.stage('joint', tiny.RPN | tiny.HEAD, {'steps': 4}, **frozen)
    return tiny.job(folder, tiny.pipeline(data, [stage], **CASCADE), 'joint')


@pytest.fixture(scope='module')
def cascade(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> tiny.Trained:
    """A stage with three heads, trained without interruption."""
    one_job = job(tmp_path_factory.mktemp('cascade'), tiny_data)
    return tiny.Trained(one_job, *tiny.train(one_job))


def test_all_heads_train_behind_a_frozen_backbone_and_detect(cascade: tiny.Trained) -> None:
    trained = assign.read_stage_checkpoint(cascade.checkpoint)
    detector = tiny.context(cascade.job).build_detector(MODULES)
    fresh = names.named_variables(detector.modules)
    kernels = [name for name in trained if name.startswith('detection_head/') and name.endswith('/kernel')]
    assert {name.split('/')[1] for name in kernels} == {'0', '1', '2'}
    assert all((trained[name] != fresh[name].numpy()).any() for name in kernels)
    backbone = [name for name in trained if name.startswith('backbone/')]
    assert all(trained[name].tobytes() == fresh[name].numpy().tobytes() for name in backbone)
    assert cascade.result['metrics']['AP'] is not None


def test_a_stopped_and_resumed_stage_ends_with_the_same_bits(
    cascade: tiny.Trained, tmp_path: pathlib.Path, tiny_data: pathlib.Path
) -> None:
    one_job = job(tmp_path, tiny_data)
    with pytest.raises(Interrupted, match='stopped and saved at step 2 of 4'):
        tiny.train(one_job, stop_after=2)
    result, _ = tiny.train(one_job)
    assert tiny.tensors(tmp_path / result['checkpoint']) == tiny.tensors(cascade.checkpoint)


def test_the_model_gardens_task_initialises_from_its_checkpoint(cascade: tiny.Trained) -> None:
    context = tiny.context(cascade.job)
    other = job_files.build_detector(context.pipeline, MODULES, seed=context.seed + 1)
    parts = dict.fromkeys(('roi_generator', 'roi_aligner', 'detection_generator'))
    model = maskrcnn_model.MaskRCNNModel(**other.modules, **parts, roi_sampler=[None] * 3, class_agnostic_bbox_pred=True)
    file = cascade.checkpoint / assign.CHECKPOINT_NAME
    task = maskrcnn_task.MaskRCNNTask(maskrcnn_config.MaskRCNNTask(init_checkpoint=str(file), init_checkpoint_modules='all'))
    task.initialize(model)
    trained = assign.read_stage_checkpoint(cascade.checkpoint)
    theirs = names.named_variables(other.modules)
    assert [name for name, variable in theirs.items() if variable.numpy().tobytes() != trained[name].tobytes()] == []
