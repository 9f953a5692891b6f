"""What the networks, schedules and data of the Object Detection API become."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml

from stagetrain.bridges.tfod import importing
from stagetrain.bridges.tfod.importing import Choices, Imported
from stagetrain.config import load
from stagetrain.config.check import check_pipeline
from stagetrain.errors import ConfigError
from tests.bridges.tfod import files


def imported(folder: pathlib.Path, text: str = files.FASTER, **choices: Any) -> Imported:
    """Imports a text, and checks the pipeline file."""
    result = files.import_text(folder, text, Choices(**choices))
    (folder / 'pipeline.yaml').write_text(result.pipeline)
    check_pipeline(load.load_pipeline(folder / 'pipeline.yaml'))
    return result


def keys(folder: pathlib.Path, text: str = files.FASTER, **choices: Any) -> Any:
    return yaml.safe_load(re.sub(r'(?<=[ \[])(\d+(?:\.\d+)?)e-', r'\1e-', imported(folder, text, **choices).pipeline))


def text_of(result: Imported, path: str) -> str:
    return next(entry.text for entry in result.entries if entry.path == path)


# ---- networks ---------------------------------------------------------------------------------------------------------------


def test_two_stages_on_one_level(tmp_path: pathlib.Path) -> None:
    model = keys(tmp_path)['model']
    assert model['type'] == 'faster_rcnn_single_scale'
    assert model['input_size'] == [512, 512, 3]
    assert model['backbone'] == {'type': 'keras_resnet50', 'keras_resnet50': {'endpoints': {'4': 'conv4_block6_out'}}}
    assert model['anchor'] == {'sizes': [64.0, 128.0, 256.0], 'aspect_ratios': [0.5, 1.0, 2.0], 'allowed_border': 0}
    assert model['rpn_head'] == {'num_filters': 128}
    assert model['roi_aligner'] == {'crop_size': 14}
    assert model['roi_head'] == {'type': 'resnet_c5'}
    assert model['losses'] == {'rpn_huber_loss_delta': 0.141421, 'frcnn_huber_loss_delta': 1.0, 'l2_weight_decay': 0.0005}
    assert model['roi_generator']['num_proposals'] == model['roi_generator']['test_num_proposals'] == 200
    assert model['roi_generator']['nms_iou_threshold'] == model['roi_generator']['test_nms_iou_threshold'] == 0.65
    assert model['roi_generator']['pre_nms_score_threshold'] == 0.01
    assert model['roi_sampler'] == {'mix_gt_boxes': False, 'num_sampled_rois': 32, 'foreground_fraction': 0.3}
    assert model['detection_generator'] == {
        'pre_nms_score_threshold': 0.05,
        'nms_iou_threshold': 0.55,
        'max_num_detections': 80,
        'use_sigmoid_probability': False,
    }
    assert model['parser'] == {
        'shorter_side': 320,
        'rpn_batch_size_per_im': 64,
        'rpn_fg_fraction': 0.4,
        'max_num_instances': 100,
        'aug_rand_hflip': True,
    }


def test_the_stage_has_the_files_losses_and_rests_where_the_api_does(tmp_path: pathlib.Path) -> None:
    (stage,) = keys(tmp_path)['stages']
    assert stage['name'] == 'joint'
    assert stage['loss_weights'] == {'rpn_score': 0.5, 'rpn_box': 14.1421, 'frcnn_class': 1.5, 'frcnn_box': 2.0}
    assert stage['freeze_variables'] == ['backbone/.*_bn/.*', 'roi_head/.*_bn/.*']
    assert set(stage['init']) == {'backbone', 'roi_head'}


def test_the_weight_of_the_rpns_boxes_means_the_same_loss() -> None:
    """Smooth L1 of codes times (10, 10, 5, 5), against that of plain codes with the weight and delta that are written."""

    def smooth(error: float, delta: float) -> float:
        return 0.5 * error * error / delta if error < delta else error - 0.5 * delta

    for error in (0.001, 0.01, 0.5, 2.0):
        theirs = sum(smooth(error * scale, 1.0) for scale in (10, 10, 5, 5))
        ours = 7.07107 * 4 * smooth(error, 0.141421)
        assert ours / theirs == pytest.approx(1.0, rel=0.25)


def test_the_four_steps_have_the_same_settings(tmp_path: pathlib.Path) -> None:
    stages = keys(tmp_path, recipe='four_step')['stages']
    assert [stage['name'] for stage in stages] == ['rpn_1', 'detector_1', 'rpn_2', 'detector_2']
    assert stages[0]['loss_weights'] == {'rpn_score': 0.5, 'rpn_box': 14.1421}
    assert stages[1]['loss_weights'] == {'frcnn_class': 1.5, 'frcnn_box': 2.0}
    assert stages[1]['proposals'] == {'from': 'rpn_1', 'max_per_image': 200, 'pre_nms_top_k': 6000, 'nms_iou': 0.65}
    assert stages[2]['freeze_variables'] == ['backbone/.*']
    assert stages[3]['freeze_variables'] == ['backbone/.*', 'rpn_head/.*', 'roi_head/.*_bn/.*']


def test_rpn_only(tmp_path: pathlib.Path) -> None:
    for line in ('number_of_stages: 1', 'first_stage_only: true'):
        result = imported(tmp_path, files.FASTER.replace('num_classes: 3', f'num_classes: 3 {line}'))
        (stage,) = yaml.safe_load(result.pipeline)['stages']
        assert set(stage['loss_weights']) == {'rpn_score', 'rpn_box'}
        assert stage['freeze_variables'] == ['backbone/.*_bn/.*']
        assert text_of(result, 'model.faster_rcnn.second_stage_batch_size') == 'without a second stage no RoI is sampled'
    with pytest.raises(ConfigError, match='the file has no second stage'):
        imported(tmp_path, files.FASTER.replace('num_classes: 3', 'num_classes: 3 number_of_stages: 1'), recipe='four_step')


def test_a_pyramid(tmp_path: pathlib.Path) -> None:
    found = keys(tmp_path, files.PYRAMID)
    model = found['model']
    assert (model['type'], model['min_level'], model['max_level'], model['input_size']) == ('faster_rcnn', 2, 6, [256, 256, 3])
    assert model['backbone'] == {'type': 'keras_resnet101'}
    assert model['decoder'] == {'type': 'fpn', 'fpn': {'num_filters': 128}}
    assert model['anchor'] == {'anchor_size': 8.0, 'num_scales': 1, 'aspect_ratios': [1.0, 2.0, 0.5]}
    assert model['norm_activation'] == {'activation': 'relu6', 'norm_momentum': 0.997, 'norm_epsilon': 0.002}
    assert model['detection_head'] == {'num_convs': 0, 'num_fcs': 2, 'fc_dims': 1024, 'class_agnostic_bbox_pred': True}
    assert model['roi_aligner'] == {'crop_size': 7}
    assert model['detection_generator']['soft_nms_sigma'] == 0.4
    assert model['losses']['l2_weight_decay'] == 0.0004
    assert found['sources'] == {'fine_tune': {'checkpoint': found['sources']['fine_tune']['checkpoint']}}
    assert 'freeze_variables' not in found['stages'][0]


def test_masks_need_a_pyramid(tmp_path: pathlib.Path) -> None:
    found = keys(tmp_path, files.MASKS)
    model = found['model']
    assert (model['type'], model['min_level'], model['max_level']) == ('mask_rcnn', 3, 5)
    assert model['anchor']['anchor_size'] * 2 ** model['min_level'] == 64
    assert model['mask_head'] == {'num_filters': 64, 'num_convs': 2, 'class_agnostic': False}
    assert model['mask_roi_aligner'] == {'crop_size': 14}
    assert found['stages'][0]['loss_weights']['mask'] == 1.0
    assert found['data']['train']['masks'] is found['data']['validation']['masks'] is True


def test_retinanet(tmp_path: pathlib.Path) -> None:
    found = keys(tmp_path, files.RETINANET)
    model = found['model']
    assert (model['type'], model['min_level'], model['max_level'], model['input_size']) == ('retinanet', 3, 7, [256, 384, 3])
    assert model['head'] == {'num_filters': 128, 'num_convs': 2, 'use_separable_conv': False}
    assert model['losses'] == {
        'focal_loss_alpha': 0.3,
        'focal_loss_gamma': 1.5,
        'huber_loss_delta': 0.141421,
        'l2_weight_decay': 0.0004,
    }
    assert (model['parser']['match_threshold'], model['parser']['unmatched_threshold']) == (0.6, 0.4)
    assert (model['parser']['aug_scale_min'], model['parser']['aug_scale_max'], model['parser']['color_jitter']) == (
        0.8,
        1.5,
        0.25,
    )
    assert found['stages'][0]['loss_weights'] == {'class': 1.0, 'box': 100.0}
    assert found['stages'][0]['freeze_variables'] == ['backbone/.*_bn/.*']


def test_centernet(tmp_path: pathlib.Path) -> None:
    found = keys(tmp_path, files.CENTERNET)
    model = found['model']
    assert (model['type'], model['max_level'], model['losses']['gaussian_iou']) == ('centernet', 5, 0.6)
    assert model['detection_generator'] == {'max_detections': 50, 'peak_extract_kernel_size': 3}
    assert found['stages'][0]['loss_weights'] == {'heatmap': 1.5, 'size': 0.2, 'offset': 2.0}
    assert 'init' not in found['stages'][0]
    assert found['train']['optimizer'] == {'type': 'adam_experimental', 'adam_experimental': {'epsilon': '1e-07'}}
    assert (model['parser']['aug_scale_min'], model['parser']['aug_scale_max']) == (0.8, 2.0)


@pytest.mark.parametrize(
    ('former', 'new', 'expected'),
    [
        ("type: 'faster_rcnn_resnet50'", "type: 'faster_rcnn_inception_v2'", 'is a feature extractor that is not here'),
        ('mask_rcnn_box_predictor {', 'rfcn_box_predictor { } mask_rcnn_box_predictor_ {', 'position-sensitive head of R-FCN'),
        ('num_classes: 3', 'num_classes: 3 context_config { }', r'with context features \(context_config\)'),
    ],
)
def test_what_is_not_here_gets_a_substitute_by_name(tmp_path: pathlib.Path, former: str, new: str, expected: str) -> None:
    text = files.FASTER.replace(former, new)
    with pytest.raises(ConfigError, match=expected):
        imported(tmp_path, text)
    result = imported(tmp_path, text, backbone='resnet50')
    assert any('is replaced by keras_resnet50, as --backbone asks' in remark for remark in result.remarks)


def test_a_substitute_does_not_start_from_the_checkpoint_of_another_network(tmp_path: pathlib.Path) -> None:
    text = files.FASTER.replace('faster_rcnn_resnet50', 'faster_rcnn_inception_v2')
    found = keys(tmp_path, text, backbone='keras_mobilenet_v2')
    assert 'sources' not in found
    assert found['model']['roi_head']['type'] == 'fc'
    assert 'freeze_variables' not in found['stages'][0]


def test_numbers_beyond_all_networks_cost_no_time(tmp_path: pathlib.Path) -> None:
    text = files.PYRAMID.replace('train_config {', 'train_config { freeze_variables: "conv1"')
    text = text.replace('max_level: 6 additional', 'max_level: 2147483647 additional')
    result = files.import_text(tmp_path, text)
    with pytest.raises(ConfigError, match='max_level: 2147483647: becomes model.max_level: found 2147483647'):
        importing.write(result, tmp_path)


def test_an_unknown_substitute_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="--backbone: found 'resnet34'. Known here: .*Did you mean"):
        imported(tmp_path, backbone='resnet34')


@pytest.mark.parametrize(
    ('field', 'expected'),
    [
        ('keypoint_estimation_task { task_name: "x" }', 'keypoints are not here'),
        ('deepmac_mask_estimation { dim: 3 }', 'DeepMAC is not here'),
        ('track_estimation_task { num_track_ids: 3 }', 'tracking is not here'),
    ],
)
def test_tasks_that_nobody_has_here_are_refused_by_name(tmp_path: pathlib.Path, field: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf'config:4: model\.center_net\..*{expected}'):
        imported(tmp_path, files.CENTERNET.replace('num_classes: 2', f'num_classes: 2 {field}'))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('train_config { num_steps: 3 }', 'model: the file has no network'),
        ('model { experimental_model { name: "x" } }', 'experimental_model is not here'),
        (files.FASTER.replace('num_classes: 3', ''), 'num_classes: missing; expected the number of classes'),
        (files.FASTER.replace('num_classes: 3', 'num_classes: 2147483647'), 'found 2147483647; expected .*, 100,000 at most'),
        (files.RETINANET.replace('y_scale: 10.0', 'y_scale: 0'), 'y_scale: found 0; expected a number above 0'),
        (files.RETINANET.replace('smooth_l1 { }', 'smooth_l1 { delta: 0 }'), 'delta: found 0; expected a number above 0'),
        (files.MASKS.replace('scales: [0.25, 0.5, 1.0]', 'scales: [0.0]'), 'scales: found 0 or less; expected numbers above 0'),
        (files.RETINANET.replace('num_classes: 2', 'num_classes: 2 mask_head_config { }'), 'masks of SSD are not here'),
        (files.FASTER.replace('use_dropout', 'predict_keypoints: true use_dropout'), 'keypoints are not predicted here'),
    ],
)
def test_files_that_cannot_be_imported(tmp_path: pathlib.Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        imported(tmp_path, text)


# ---- training ---------------------------------------------------------------------------------------------------------------


def test_the_optimizer_and_its_schedule(tmp_path: pathlib.Path) -> None:
    train = keys(tmp_path)['train']
    assert (train['steps'], train['batch_size']) == (1000, 2)
    assert train['optimizer'] == {'type': 'sgd', 'sgd': {'momentum': 0.85, 'global_clipnorm': 10.0}}
    assert train['learning_rate'] == {'type': 'stepwise', 'stepwise': {'boundaries': [599], 'values': [0.0003, '3e-05']}}
    assert 'ema' not in train


def test_a_step_behind_the_end_is_told(tmp_path: pathlib.Path) -> None:
    result = imported(tmp_path)
    assert any('900000 lies behind the last of 1000 steps, so its rate 3e-06 is never used' in line for line in result.remarks)


def test_moving_averages_are_on_where_the_file_is_silent(tmp_path: pathlib.Path) -> None:
    result = imported(tmp_path, files.FASTER.replace('use_moving_average: false', ''))
    assert yaml.safe_load(result.pipeline)['train']['ema'] == {'average_decay': 0.9999}
    assert any('is not in the file, and is true then: train.ema is set' in line for line in result.remarks)


@pytest.mark.parametrize(
    ('schedule', 'expected'),
    [
        ('schedule { step: 0 learning_rate: 0.1 }', {'type': 'constant', 'constant': {'learning_rate': 0.1}}),
        ('', {'type': 'constant', 'constant': {'learning_rate': 0.0003}}),
        (
            'schedule { step: 1 learning_rate: 0.1 }',
            {'type': 'stepwise', 'stepwise': {'boundaries': [1], 'values': [0.0003, 0.1]}},
        ),
        (
            'schedule { step: 0 learning_rate: 0.1 } schedule { step: 500 learning_rate: 0.01 }',
            {'type': 'stepwise', 'stepwise': {'boundaries': [499], 'values': [0.1, 0.01]}},
        ),
        (
            'schedule { step: 500 learning_rate: 0.1 } schedule { step: 400 learning_rate: 0.01 }',
            {'type': 'stepwise', 'stepwise': {'boundaries': [499], 'values': [0.0003, 0.1]}},
        ),
    ],
)
def test_odd_schedules(tmp_path: pathlib.Path, schedule: str, expected: Any) -> None:
    text = re.sub(r'schedule \{ step.*\}\n.*schedule \{.*\}\n', f'{schedule}\n', files.FASTER)
    assert keys(tmp_path, text)['train']['learning_rate'] == expected


def test_a_warm_up_of_a_manual_schedule_leads_to_its_first_step(tmp_path: pathlib.Path) -> None:
    train = keys(tmp_path, files.FASTER.replace('initial_learning_rate: 3e-4', 'initial_learning_rate: 0.0 warmup: true'))[
        'train'
    ]
    assert train['warmup'] == {'type': 'linear', 'linear': {'warmup_steps': 600, 'warmup_learning_rate': 0.0}}
    assert train['learning_rate'] == {'type': 'constant', 'constant': {'learning_rate': '3e-05'}}


def test_a_cosine_begins_behind_its_warm_up(tmp_path: pathlib.Path) -> None:
    train = keys(tmp_path, files.PYRAMID)['train']
    cosine = {'initial_learning_rate': 0.04, 'decay_steps': 450, 'offset': 50}
    assert train['learning_rate'] == {'type': 'cosine', 'cosine': cosine}
    assert train['warmup'] == {'type': 'linear', 'linear': {'warmup_steps': 50, 'warmup_learning_rate': 0.013333}}
    assert train['batch_size'] == 32  # The API's default.


def test_a_cosine_that_ends_before_its_warm_up(tmp_path: pathlib.Path) -> None:
    """The warm-up of a file that has none is 10,000 steps long."""
    text = files.PYRAMID.replace('warmup_learning_rate: .013333 warmup_steps: 50', '')
    result = imported(tmp_path, text)
    assert any('total_steps: 500 is less than warmup_steps and hold_base_rate_steps, 10000' in line for line in result.remarks)
    assert yaml.safe_load(result.pipeline)['train']['warmup']['linear']['warmup_steps'] == 500


def test_rms_prop_with_an_exponential_schedule(tmp_path: pathlib.Path) -> None:
    train = keys(tmp_path, files.RETINANET)['train']
    assert train['optimizer'] == {'type': 'rmsprop', 'rmsprop': {'rho': 0.95, 'momentum': 0.8, 'epsilon': 1.0}}
    exponential = {'initial_learning_rate': 0.004, 'decay_steps': 50, 'decay_rate': 0.9, 'staircase': True}
    assert train['learning_rate'] == {'type': 'exponential', 'exponential': exponential}


def test_without_num_steps_a_number_is_taken_and_told(tmp_path: pathlib.Path) -> None:
    result = imported(tmp_path, files.FASTER.replace('num_steps: 1000', ''))
    assert yaml.safe_load(result.pipeline)['train']['steps'] == 200_000
    assert '--set train.steps=200000' in result.set_lines
    assert any('the API trains for ever' in line for line in result.remarks)


def test_the_bias_multiplier(tmp_path: pathlib.Path) -> None:
    train = keys(tmp_path, files.FASTER.replace('batch_size: 2', 'batch_size: 2 bias_grad_multiplier: 2.0'))['train']
    assert train['learning_rate_multipliers'] == {'.*/bias': 2.0}


# ---- data -------------------------------------------------------------------------------------------------------------------


def test_a_label_map_gives_the_classes(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'label_map.pbtxt').write_text(files.LABEL_MAP)
    (tmp_path / 'val.record').write_bytes(b'')
    (tmp_path / 'train.record-00000-of-00002').write_bytes(b'')
    data = keys(tmp_path)['data']
    assert data['classes'] == ['cat', 'dog', 'cow']
    assert data['train'] == {
        'class_file': str(tmp_path / 'label_map.pbtxt'),
        'format': 'tfrecord',
        'path': str(tmp_path / 'train.record-?????-of-00002'),
    }


@pytest.mark.parametrize(
    ('label_map', 'classes', 'ignored', 'expected'),
    [
        ("item { id: 1 name: 'cat' } item { id: 3 name: 'cow' }", ['cat', 'cow'], None, '2 classes, num_classes is 3'),
        ("item { id: 0 name: 'background' } item: { id: 2 name: 'dog' }", ['dog'], None, '1 classes, num_classes is 3'),
        (files.LABEL_MAP + "item { id: 7 name: 'yak' }", ['cat', 'dog', 'cow'], ['yak'], 'ids above num_classes (3)'),
    ],
)
def test_label_maps_with_holes_background_and_others(
    tmp_path: pathlib.Path, label_map: str, classes: list[str], ignored: list[str] | None, expected: str
) -> None:
    (tmp_path / 'label_map.pbtxt').write_text(label_map)
    result = imported(tmp_path)  # Relative to the folder of the file, where the working directory has none.
    data = yaml.safe_load(result.pipeline)['data']
    assert (data['classes'], data.get('ignore_classes')) == (classes, ignored)
    assert any(expected in line for line in result.remarks)


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('PATH_TO_BE_CONFIGURED/train.record-?????-of-00010', 'is not filled in: --set data.train.path=/path/to/train.record-'),
        ('gs://bucket/train.record', 'lies on a remote store; stagetrain reads local files: --set data.train.path='),
        (
            '$NO_SUCH_VARIABLE/train.record',
            'holds $NO_SUCH_VARIABLE, which the environment does not have: --set data.train.path=',
        ),
        ('/no/such/train.record', 'no such file here: --set data.train.path=/path/to/train.record'),
        (r'C:\data\train.record', 'no such file here: --set data.train.path=/path/to/train.record'),
    ],
)
def test_paths_that_are_not_there_have_a_line_to_paste(tmp_path: pathlib.Path, path: str, expected: str) -> None:
    result = imported(tmp_path, files.FASTER.replace('train.record-?????-of-00002', path))
    assert any(expected in line for line in result.remarks)
    assert any(line.startswith('--set data.train.path=') for line in result.set_lines)


def test_environment_variables_stay_references(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('RECORDS', str(tmp_path))
    (tmp_path / 'val.record').write_bytes(b'')
    result = imported(tmp_path, files.FASTER.replace('"val.record"', '"$RECORDS/val.record"'))
    assert yaml.safe_load(result.pipeline)['data']['validation']['path'] == '${RECORDS}/val.record'


def test_several_paths_of_a_reader_become_one_pattern(tmp_path: pathlib.Path) -> None:
    for name in ('a.record', 'b.record'):
        (tmp_path / name).write_bytes(b'')
    paths = f'input_path: ["{tmp_path}/a.record", "{tmp_path}/b.record"]'
    text = files.FASTER.replace('input_path: "val.record"', paths)
    assert keys(tmp_path, text)['data']['validation']['path'] == f'{tmp_path}/*.record'
    (tmp_path / 'c.record').write_bytes(b'')
    with pytest.raises(ConfigError, match='2 paths, and no pattern names just their files'):
        imported(tmp_path, text)


def test_the_checkpoint_starts_what_the_api_would_start(tmp_path: pathlib.Path) -> None:
    found = keys(tmp_path)
    rules = found['sources']['fine_tune']['rules']
    names = {
        'FeatureExtractor/resnet_v1_50/block3/unit_5/bottleneck_v1/conv2/weights': 'backbone/conv4_block5_2_conv/kernel',
        'resnet_v1_50/conv1/BatchNorm/moving_mean': 'backbone/conv1_bn/moving_mean',
        'SecondStageFeatureExtractor/resnet_v1_50/block4/unit_1/bottleneck_v1/shortcut/BatchNorm/gamma': (
            'roi_head/conv5_block1_0_bn/gamma'
        ),
        'FirstStageFeatureExtractor/resnet_v1_50/block4/unit_1/bottleneck_v1/conv1/weights': None,
    }
    for name, expected in names.items():
        hits = [re.sub(pattern, template, name) for pattern, template in rules.items() if re.fullmatch(pattern, name)]
        assert hits == ([expected] if expected else [])
    full = files.FASTER.replace('from_detection_checkpoint: true', 'fine_tune_checkpoint_type: "full"')
    result = imported(tmp_path, full)
    assert set(yaml.safe_load(result.pipeline)['stages'][0]['init']) == {'backbone', 'roi_head'}
    assert any('full: RPN and predictors start fresh' in line for line in result.remarks)


def test_unknown_fields_stand_in_a_comment(tmp_path: pathlib.Path) -> None:
    text = files.FASTER.replace('batch_size: 2', 'batch_size: 2\n  new_thing { a: 1 }')
    line = 1 + text.split('\n').index('  new_thing { a: 1 }')
    result = imported(tmp_path, text)
    assert f'# Not known, line {line}:\n#   new_thing {{ a: 1 }}' in result.pipeline
    assert result.num_unknown == 1
