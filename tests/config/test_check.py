from __future__ import annotations

from typing import Any

import pytest

from stagetrain.config.check import check_pipeline
from stagetrain.config.stages import active_modules, all_stages, earlier_stages, live_losses, stage_modules
from stagetrain.errors import ConfigError


def refused(load: Any, message: str, *overrides: str) -> str:
    with pytest.raises(ConfigError, match=message) as error:
        check_pipeline(load(*overrides))
    return str(error.value)


def test_a_sound_pipeline_passes(load: Any) -> None:
    check_pipeline(load())


def test_a_loss_of_weight_zero_is_not_live(load: Any) -> None:
    assert live_losses(load().pipeline.stages[0]) == {'rpn_score': 1.0, 'rpn_box': 1.0}


@pytest.mark.parametrize(
    ('overrides', 'modules'),
    [
        ([], ('backbone', 'decoder', 'detection_head')),
        (['stages.detector.proposals='], ('backbone', 'decoder', 'rpn_head', 'detection_head')),
        (['stages.detector.init.rpn_head=rpn'], ('backbone', 'decoder', 'rpn_head', 'detection_head')),
        (['stages.detector.loss_weights={rpn_box: 1.0, frcnn_box: 0}'], ('backbone', 'decoder', 'rpn_head')),
    ],
)
def test_a_stage_holds_what_its_losses_need_and_what_it_is_given(
    load: Any, overrides: list[str], modules: tuple[str, ...]
) -> None:
    pipeline = load(*overrides).pipeline
    assert stage_modules(pipeline, pipeline.stages[1]) == modules


def test_a_module_that_is_only_carried_along_is_not_active(load: Any) -> None:
    pipeline = load('stages.detector.init.rpn_head=rpn').pipeline
    assert active_modules(pipeline, pipeline.stages[1]) == ('backbone', 'decoder', 'detection_head')


def test_stages_of_variants_are_called_by_variant_and_name(load: Any) -> None:
    entries = all_stages(load().pipeline)
    assert [(stage_id, stage.name, variant) for stage_id, stage, variant in entries] == [
        ('rpn', 'rpn', None),
        ('detector', 'detector', None),
        ('joint.all', 'all', 'joint'),
    ]


def test_a_variant_sees_its_own_earlier_stages_first_and_then_the_pipelines(load: Any) -> None:
    stages = '[{name: rpn, loss_weights: {rpn_box: 1.0}}, {name: last, loss_weights: {rpn_box: 1.0}}]'
    pipeline = load(
        f'compare.joint.stages={stages}', 'compare.joint.stages.last.train={steps: 1, optimizer: {}, learning_rate: {}}'
    ).pipeline
    assert [entry.id for entry in earlier_stages(pipeline, 'joint.last').values()] == ['joint.rpn', 'detector']
    assert [entry.id for entry in earlier_stages(pipeline, 'joint.rpn').values()] == ['rpn', 'detector']
    assert [entry.id for entry in earlier_stages(pipeline, 'detector').values()] == ['rpn']
    with pytest.raises(KeyError, match='joint.none'):
        earlier_stages(pipeline, 'joint.none')


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('stages.detector.name=rpn', r"stages\[1\]\.name: 'rpn' is the name of stages\[0\] too; names must differ"),
        ('stages.detector.name=fresh', r"stages\[1\]\.name: 'fresh' is the initialiser"),
        ('sources.fresh={keras_h5: x}', r"sources\.fresh: 'fresh' is the initialiser"),
        ('sources.detector={keras_h5: x}', r'sources\.detector: a stage has this name too'),
        ('sources.imagenet.keras_h5=""', r'sources\.imagenet\.keras_h5: is empty; expected a path'),
        (
            'stages.rpn.loss_weights.rpn_scor=1',
            r"loss_weights\.rpn_scor: no loss of faster_rcnn\. Known.*Did you mean 'rpn_score'\?",
        ),
        ('stages.rpn.loss_weights={rpn_box: 0}', r'stages\[0\]\.loss_weights: no loss has a weight above 0'),
        ('stages.rpn.init.backbon=fresh', r"init\.backbon: no module of faster_rcnn\. Known.*Did you mean 'backbone'\?"),
        (
            'stages.rpn.init.backbone=imagnet',
            r"found 'imagnet'; expected an earlier stage.*fresh, imagenet\. Did you mean 'imagenet'\?",
        ),
        ('stages.rpn.init.backbone=detector', r"init\.backbone: stage 'detector' comes later; expected an earlier one"),
        ('stages.rpn.init.backbone=rpn', r"init\.backbone: 'rpn' is this stage itself"),
        ('stages.rpn.init.backbone=all', r"found 'all'; expected an earlier stage, a source or fresh"),
        ('stages.detector.init.detection_head=rpn', r"stage 'rpn' holds no detection_head, only backbone, decoder, rpn_head"),
        (
            'stages.rpn.loss_ramps={frcnn_box: {steps: 10}}',
            r'loss_ramps\.frcnn_box: has no weight above 0 in loss_weights.*With a weight here: rpn_box, rpn_score',
        ),
        ('stages.detector.proposals.from=rpm', r"proposals\.from: found 'rpm'; expected an earlier stage.*Did you mean 'rpn'\?"),
        ('stages.detector.proposals.from=imagenet', r"proposals\.from: found 'imagenet'"),
        ('stages.rpn.proposals={from: detector}', r"stages\[0\]\.proposals\.from: stage 'detector' comes later"),
        (
            'compare.joint.stages.all.proposals={from: detector}',
            r"stage 'detector' holds no rpn_head, so it has no proposals.*: rpn\.",
        ),
        ('stages.detector.loss_weights={rpn_box: 1}', r'stages\[1\]\.proposals: no live loss uses them'),
        ('compare.short.until=rnp', r"compare\.short\.until: no stage 'rnp'\. Known here: detector, rpn\. Did you mean 'rpn'\?"),
        ('stages.rpn.freeze_variables=["("]', r"freeze_variables\[0\]: '\(' is no regular expression: missing \)"),
        ('stages.rpn.freeze_variables=[backbone]', r"'backbone' matches no variable.*Did you mean 'backbone/\.\*'\?"),
        (
            'stages.rpn.train_variables=[bakbone/.*]',
            r"train_variables\[0\]: 'bakbone/\.\*': the stage holds no 'bakbone'.*'backbone'\?",
        ),
        ('stages.rpn.allow_frozen_fresh=[detection_head/.*]', r"allow_frozen_fresh\[0\]: .* the stage holds no 'detection_head'"),
        (
            'model.roi_sampler.cascade_iou_thresholds=[0.6, 0.7, 0.8]',
            r'cascade_iou_thresholds: found \[0\.6, 0\.7, 0\.8\]; expected at most 2 numbers between 0 and 1',
        ),
        (
            'model.roi_sampler.cascade_iou_thresholds=[0.6]',
            r'model\.detection_head\.class_agnostic_bbox_pred: must be true with roi_sampler\.cascade_iou_thresholds',
        ),
        (
            'runtime.strategy=tpu',
            r"found 'tpu', which does not work yet: no stage was ever tried on a TPU\. Working here: mirrored, one_device",
        ),
        (
            'data.train.masks=true',
            r"data\.train\.masks: format 'voc' has no masks; remove it\. Formats with masks: coco, labelme, tfrecord, yolo\.",
        ),
        ('model.input_size=[64, 64]', r'model\.input_size: found \[64, 64\]; expected \[height, width, 3\]'),
        ('model.input_size=[64, 64, 1]', r'expected \[height, width, 3\]'),
        ('model.input_size=[64, 48, 3]', r'must be multiples of 32 \(2 to the power of max_level, 5\)'),
        ('model.input_size=[0, 64, 3]', 'must be multiples of 32'),
        ('model.min_level=6', r'model\.min_level: found 6; expected at most max_level, which is 5'),
        ('model.decoder={}', r'model\.decoder: type: missing; expected one of aspp, fpn, identity, nasfpn'),
        ('model.roi_generator.use_batched_nms=true', r'use_batched_nms: found True; only False is supported, so remove it'),
        ('model.parser.keep_aspect_ratio=false', r'parser\.keep_aspect_ratio: found False; only True is supported'),
        (
            'model.parser.aug_scale_min=2.0',
            r'aug_scale_min: found 2\.0; expected more than 0 and at most aug_scale_max, which is 1\.0',
        ),
        ('model.losses.class_weights=[1.0, 2.0]', r'class_weights: found 2 weights; expected 3: one for the background'),
        ('data.classes=[cat, dog, cat]', r"data\.classes\[2\]: class 'cat' is given twice"),
        ('data.ignore_classes=[cow, cat]', r"data\.ignore_classes\[1\]: class 'cat' stands in data\.classes too"),
        ('data.classes=[cat, " "]', r"data\.classes\[1\]: found ' '; expected the name of a class"),
        ('data.train.format=vok', r"data\.train\.format: found 'vok'\. Known here: .*voc.*Did you mean 'voc'\?"),
        ('data.train.path=""', r'data\.train\.path: is empty; expected a path'),
        (
            'train.learning_rate={}',
            r'--set .*: stages\[0\]\.train\.learning_rate: type: missing; expected one of constant, cosine',
        ),
        ('train.learning_rate={type: cosine}', r'learning_rate\.cosine\.decay_steps: missing, and has no default'),
        ('train.warmup={type: linear}', r'warmup\.linear\.warmup_steps: missing, and has no default'),
        (
            'train.learning_rate={type: stepwise, stepwise: {boundaries: [5, 8], values: [0.1, 0.01]}}',
            r'stepwise\.values: found 2 values for 2 boundaries; expected 3',
        ),
        (
            'train.learning_rate={type: stepwise, stepwise: {boundaries: [8, 5], values: [1.0, 0.1, 0.01]}}',
            r'stepwise\.boundaries: found \[8, 5\]; expected steps above 0, each greater than the one before',
        ),
    ],
)
def test_broken_rules_are_refused_with_place_and_remedy(load: Any, override: str, message: str) -> None:
    assert refused(load, message, override).startswith(('--set', '/'))


@pytest.mark.parametrize('scope', ['.*/kernel', '(backbone|decoder)/.*', 'back.*', '[bd].*', 'backbone/conv1/.*'])
def test_scopes_that_may_match_are_left_to_the_real_names(load: Any, scope: str) -> None:
    check_pipeline(load(f'stages.rpn.freeze_variables=["{scope}"]'))


def test_all_problems_are_told_and_those_of_the_default_train_once(load: Any) -> None:
    text = refused(load, 'cosine', 'train.learning_rate={type: cosine}', 'data.classes=[a, a]', 'model.min_level=6')
    assert [line.split(': ')[2] for line in text.splitlines() if line.startswith('--set train')] == [
        'stages[0].train.learning_rate.cosine.decay_steps',
        'stages[0].train.learning_rate.cosine.initial_learning_rate',
    ]
    assert len(text.splitlines()) == 4


def test_a_problem_is_placed_where_the_value_stands(load: Any) -> None:
    assert refused(load, 'max_level, which is 1', 'model.max_level=1').split(': ')[0].endswith('a.yaml:4')


def test_a_problem_of_a_value_that_is_not_given_is_placed_at_the_mapping_around_it(load: Any) -> None:
    text = refused(load, 'missing', 'train.learning_rate.type=cosine', 'model.decoder.type=')
    assert [line.split(': ')[0].rpartition('/')[2] for line in text.splitlines()][0] == 'a.yaml:7'


def test_a_mask_loss_needs_masks_in_the_data(load):
    masks = {'type: faster_rcnn': 'type: mask_rcnn', 'rpn_score: 1.0': 'mask: 1.0'}
    with pytest.raises(ConfigError, match=r'loss_weights\.mask: needs the masks of the objects; set data\.train\.masks: true'):
        check_pipeline(load(replace=masks))
    coco = {'train: {format: voc, path: images}': 'train: {format: coco, path: images, masks: true}'}
    check_pipeline(load(replace=masks | coco))
