"""Freeze patterns mean what the trainer that was chosen made of them."""

from __future__ import annotations

import pathlib
import re

import pytest

from stagetrain.bridges.tfod import extractors, freezing, names
from stagetrain.bridges.tfod.importing import Choices
from stagetrain.errors import ConfigError
from tests.bridges.tfod import files

RESNET101 = extractors.of_type('faster_rcnn_resnet101')
assert RESNET101 is not None
VARIABLES = names.variables(RESNET101, names.Shape('faster_rcnn_single_scale'))
NAMES = [variable.name for variable in VARIABLES]


def imported(folder: pathlib.Path, *lines: str, text: str = files.FASTER, **choices: object) -> str:
    choices = {'freeze_rule': 'model_main', **choices}
    changed = text.replace('train_config: {', 'train_config: {\n' + '\n'.join(lines), 1)
    return files.import_text(folder, changed, Choices(**choices)).pipeline  # type: ignore[arg-type]


def scopes_of(text: str) -> list[str]:
    found = re.search(r'freeze_variables: \[(.*?)\]', text, re.DOTALL)
    return re.findall(r"'([^']+)'", found[1]) if found else []


def test_the_names_are_those_of_the_api(tfod: pathlib.Path) -> None:
    for depth in (50, 101, 152):
        text = (tfod / 'names' / f'10_DERIVED_faster_rcnn_resnet{depth}_coco_full.txt').read_text()
        known = {line.split('\t')[0] for line in text.splitlines() if not line.startswith('#')}
        extractor = extractors.of_type(f'faster_rcnn_resnet{depth}')
        assert extractor is not None
        found = {
            variable.name
            for variable in names.variables(extractor, names.Shape('faster_rcnn_single_scale', batch_norm_trains=True))
        }
        assert found == {name for name in known if '/moving_' not in name}


@pytest.mark.parametrize(
    ('pattern', 'match', 'search'),
    [
        ('.*FeatureExtractor.*', 114, 114),
        ('FirstStageFeatureExtractor,SecondStageFeatureExtractor', 0, 0),
        ('FeatureExtractor', 0, 114),
        ('.FeatureExtractor.', 0, 114),
        ('FirstStageFeatureExtractor', 104, 104),
        ('resnet_v1_101/block[1234]', 0, 113),
        ('BoxPredictor', 0, 8),
        ('SecondStageBoxPredictor', 4, 4),
        ('Conv', 2, 2),
        ('.*conv.', 109, 109),
        ('SecondStageFeatureExtractor', 10, 10),
        ('weights:0$', 0, 119),
    ],
)
def test_patterns_hit_what_each_trainer_would_have_frozen(pattern: str, match: int, search: int) -> None:
    """Counted with `re` on the names, as the trainers do."""
    assert len(NAMES) == 124
    by_rule = {rule: freezing.judge([pattern], [], VARIABLES, rule).frozen for rule in freezing.RULES}
    assert [len(by_rule[rule]) for rule in freezing.RULES] == [match, search, 0]
    assert [variable.name for variable in by_rule['train']] == [name for name in NAMES if re.match(pattern, name)]
    assert [variable.name for variable in by_rule['model_main']] == [name for name in NAMES if re.search(pattern, f'{name}:0')]


@pytest.mark.parametrize(
    'patterns',
    [
        ['.*FeatureExtractor.*'],
        ['FirstStageFeatureExtractor'],
        ['resnet_v1_101/block[1234]'],
        ['FirstStageFeatureExtractor/resnet_v1_101/(conv1|block1)'],
        ['block3/unit_1/', 'block3/unit_23/'],
        ['BoxPredictor'],
        ['biases'],
        ['Conv/weights'],
        ['conv2/weights'],
        ['.*conv.'],
    ],
)
@pytest.mark.parametrize('trains', [False, True])
def test_scopes_freeze_these_variables_and_no_others(patterns: list[str], trains: bool) -> None:
    assert RESNET101 is not None
    variables = names.variables(RESNET101, names.Shape('faster_rcnn_single_scale', batch_norm_trains=trains))
    judged = freezing.judge(patterns, [], variables, 'model_main')
    scopes = freezing.scopes(judged, variables)
    frozen = {name for variable in judged.frozen for name in freezing.canonical_names(variable)}
    all_names = {name for variable in variables for name in freezing.canonical_names(variable)}
    assert {name for name in all_names if any(re.fullmatch(scope, name) for scope in scopes)} == frozen


def test_scopes_are_short_where_whole_modules_or_stages_rest() -> None:
    def scopes(*patterns: str) -> list[str]:
        return freezing.scopes(freezing.judge(patterns, [], VARIABLES, 'model_main'), VARIABLES)

    assert scopes('.*FeatureExtractor.*') == ['backbone/.*', 'roi_head/.*']
    assert scopes('block[12]', '/conv1/weights') != []
    assert scopes('First.*/block1/', 'First.*/block2/') == ['backbone/conv2_.*', 'backbone/conv3_.*']
    assert scopes('First.*/block3/unit_1/') == ['backbone/conv4_block1_.*']
    assert scopes('BoxPredictor') == [
        'detection_head/.*',
        'rpn_head/rpn_bbox_pred/.*',
        'rpn_head/rpn_cls_score/.*',
    ]


def test_the_same_line_six_times_is_one_pattern() -> None:
    assert len(freezing.judge(['Conv'] * 6, [], VARIABLES, 'train').hits) == 1


def test_update_trainable_variables_come_first_and_freeze_variables_win() -> None:
    judged = freezing.judge(['ClassPredictor'], ['SecondStageBoxPredictor', 'FirstStageBoxPredictor'], VARIABLES, 'model_main')
    trained = set(NAMES) - {variable.name for variable in judged.frozen}
    assert trained == {
        f'{stage}StageBoxPredictor/BoxEncodingPredictor/{part}' for stage in ('First', 'Second') for part in ('weights', 'biases')
    }


def test_the_legacy_trainer_does_not_read_update_trainable_variables(tmp_path: pathlib.Path) -> None:
    text = imported(tmp_path, 'update_trainable_variables: "Conv"', freeze_rule='train')
    assert scopes_of(text) == ['backbone/.*_bn/.*', 'roi_head/.*_bn/.*']
    assert "# update_trainable_variables 'Conv': not read under rule train" in text


def test_nothing_left_to_train_is_an_error() -> None:
    with pytest.raises(ConfigError, match='leave nothing to train'):
        freezing.judge(['.*'], [], VARIABLES, 'model_main')


@pytest.mark.parametrize(
    ('pattern', 'rule', 'expected'),
    [
        (
            'FirstStageFeatureExtractor,SecondStageFeatureExtractor',
            'model_main',
            "would: 'FirstStageFeatureExtractor', 'SecondSta",
        ),
        ('FeatureExtractor', 'train', r"would: '\.\*FeatureExtractor\.\*'.*Under other rules: model_main 63"),
        ('.FeatureExtractor.', 'train', r"would: '\.\*FeatureExtractor\.\*'"),
        ('FirstStageFeatureExtractr', 'model_main', "'FirstStageFeatureExtractor'"),
        ('InceptionV2', 'model_main', 'hits none of 73 variables under rule model_main'),
        ('(', 'model_main', r"'\(' is no regular expression"),
    ],
)
def test_a_pattern_that_hits_nothing_is_an_error(tmp_path: pathlib.Path, pattern: str, rule: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        imported(tmp_path, f'freeze_variables: "{pattern}"', freeze_rule=rule)
    assert re.search(r'pipeline\.config:\d+: train_config\.freeze_variables', str(caught.value))


def test_a_pattern_that_hits_nothing_can_be_a_comment(tmp_path: pathlib.Path) -> None:
    text = imported(tmp_path, 'freeze_variables: "InceptionV2"', allow_unmatched=True)
    assert "# freeze_variables 'InceptionV2': hits none of 73 variables under rule model_main." in text
    assert scopes_of(text) == ['backbone/.*_bn/.*', 'roi_head/.*_bn/.*']


def test_scopes_are_written_into_the_stage(tmp_path: pathlib.Path) -> None:
    text = imported(tmp_path, 'freeze_variables: ".*FeatureExtractor.*"')
    assert scopes_of(text) == ['backbone/.*', 'roi_head/.*']
    assert '# Freeze rule: model_main' in text


def test_a_head_that_starts_fresh_may_rest(tmp_path: pathlib.Path) -> None:
    text = imported(tmp_path, 'freeze_variables: "SecondStageBoxPredictor"')
    assert "allow_frozen_fresh: ['detection_head/.*']" in text


def test_of_a_file_for_tensorflow_2_it_is_said_that_its_trainer_ignored_the_field(tmp_path: pathlib.Path) -> None:
    text = files.PYRAMID.replace('train_config {', 'train_config { freeze_variables: "conv[1-5]_"')
    result = files.import_text(tmp_path, text)
    assert any('for TensorFlow 2, whose trainer ignores freeze_variables; stagetrain carries' in line for line in result.remarks)
    assert scopes_of(result.pipeline) == ['backbone/.*']
    ignored = files.import_text(tmp_path, text, Choices(freeze_rule='tf2'))
    assert scopes_of(ignored.pipeline) == []
    assert "# freeze_variables 'conv[1-5]_': not read under rule tf2" in ignored.pipeline


def test_hits_under_each_rule_are_on_the_screen_and_in_the_report(tmp_path: pathlib.Path) -> None:
    text = files.FASTER.replace('train_config: {', 'train_config: { freeze_variables: "FeatureExtractor"')
    result = files.import_text(tmp_path, text)
    assert any("'FeatureExtractor' hits by rule: train 0, model_main 63, tf2 0" in line for line in result.remarks)
    assert '| freeze_variables | `FeatureExtractor` | 0 | 63 | 0 |' in result.report
    assert '    SecondStageFeatureExtractor/resnet_v1_50/block4/unit_3/bottleneck_v1/conv3/weights' in result.report


def test_a_substitute_that_is_no_resnet_rests_as_a_whole_only(tmp_path: pathlib.Path) -> None:
    whole = imported(tmp_path, 'freeze_variables: "FeatureExtractor"', backbone='keras_mobilenet_v2')
    assert scopes_of(whole) == ['backbone/.*', 'roi_head/.*']
    text = files.FASTER.replace('train_config: {', 'train_config: { freeze_variables: "block1"')
    result = files.import_text(tmp_path, text, Choices(backbone='keras_mobilenet_v2'))
    assert any(
        'keras_mobilenet_v2 has no layers that backbone/conv2_.* could mean; they train' in line for line in result.remarks
    )
    assert scopes_of(result.pipeline) == []
