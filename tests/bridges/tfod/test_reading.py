"""Files of the Object Detection API are read as people write them, and nothing of them is lost."""

from __future__ import annotations

import pathlib
import re

import pytest

from stagetrain.bridges.tfod import reading
from stagetrain.bridges.tfod.reading import Parsed
from stagetrain.errors import ConfigError


def read(folder: pathlib.Path, text: str | bytes) -> Parsed:
    path = folder / 'pipeline.config'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return reading.read(path)


@pytest.mark.parametrize(
    'text',
    [
        'train_config { num_steps: 7 }',
        'train_config: {num_steps:7}',
        'train_config {\n  num_steps : 7\n}',
        'train_config { num_steps: 7, }',
        'train_config { num_steps: 7; };',
        '\ttrain_config\t{\tnum_steps: 7\t}',
        'train_config {\r\n  num_steps: 7\r\n}\r\n',
        '\ufefftrain_config { num_steps: 7 }',
        '# 训练\ntrain_config { # 步数\n num_steps: 7 }',
        'train_config < num_steps: 7 >',
        'train_config { # num_steps: 8\n num_steps: 7 }',
        '{"train_config": {"num_steps": 7}}',
        '{\n\t"trainConfig": {"numSteps": 7}\n}',
    ],
)
def test_one_file_in_many_forms(tmp_path: pathlib.Path, text: str) -> None:
    parsed = read(tmp_path, text)
    assert parsed.message.train_config.num_steps == 7
    assert (parsed.unknown, parsed.remarks) == ((), ())


@pytest.mark.parametrize(
    ('value', 'expected'),
    [('True', True), ('true', True), ('FALSE', False), ('1', True)],
)
def test_booleans_of_python_and_protobuf(tmp_path: pathlib.Path, value: str, expected: bool) -> None:
    parsed = read(tmp_path, f'train_config {{ optimizer {{ use_moving_average: {value} }} }}')
    assert parsed.message.train_config.optimizer.use_moving_average is expected


def test_lists_texts_and_numbers(tmp_path: pathlib.Path) -> None:
    text = """train_config {
      freeze_variables: ['a',
        "b" 'c',  # beside each other they are one
      ]
      freeze_variables: "d"
      bias_grad_multiplier: .5
      gradient_clipping_by_norm: 1e-8
      fine_tune_checkpoint_version: 2
    }"""
    train = read(tmp_path, text).message.train_config
    assert list(train.freeze_variables) == ['a', 'bc', 'd']
    assert (train.bias_grad_multiplier, train.fine_tune_checkpoint_version) == (0.5, 2)
    assert train.gradient_clipping_by_norm == pytest.approx(1e-8)


def test_lists_of_blocks_and_maps(tmp_path: pathlib.Path) -> None:
    text = """eval_config { super_categories { key: 'pet' value: 'cat,dog' } }
    train_config { data_augmentation_options: [{ random_horizontal_flip {} }, { random_vertical_flip {} }] }"""
    parsed = read(tmp_path, text)
    assert [step.WhichOneof('choice') for step in parsed.message.train_config.data_augmentation_options] == [
        'random_horizontal_flip',
        'random_vertical_flip',
    ]
    assert parsed.message.eval_config.super_categories[0].value == 'cat,dog'


def test_fields_know_their_lines(tmp_path: pathlib.Path) -> None:
    parsed = read(tmp_path, 'train_config {\n\n  num_steps: 7\n  optimizer {\n    use_moving_average: true\n  }\n}\n')
    assert parsed.line('train_config.num_steps') == 3
    assert parsed.line('train_config.optimizer.use_moving_average') == 5
    assert parsed.line('train_config.optimizer.moving_average_decay') == 4


def test_unknown_fields_are_told_with_line_and_kept(tmp_path: pathlib.Path) -> None:
    text = 'train_config {\n  num_stepz: 9\n  num_steps: 7\n}\nsecret { a: 1 }'
    parsed = read(tmp_path, text)
    assert [(item.path, item.line, item.source) for item in parsed.unknown] == [
        ('train_config.num_stepz', 2, 'num_stepz: 9'),
        ('secret', 5, 'secret { a: 1 }'),
    ]
    assert parsed.unknown[0].nearest == " Did you mean 'num_steps'?"
    assert parsed.message.train_config.num_steps == 7


def test_extensions_are_unknown_fields(tmp_path: pathlib.Path) -> None:
    text = """train_input_reader { external_input_reader {
      [object_detection.protos.GoogleInputReader.google_input_reader] { ss_table_input_reader: { input_path: "x" } } } }"""
    assert [item.line for item in read(tmp_path, text).unknown] == [2]


@pytest.mark.parametrize(
    ('written', 'meant'),
    [
        (r'"C:\Users\new\label_map.pbtxt"', r'C:\Users\new\label_map.pbtxt'),
        (r'"C:\\Users\\label_map.pbtxt"', r'C:\Users\label_map.pbtxt'),
        (r'"D:\\train\\annotations\\new.record"', r'D:\train\annotations\new.record'),
        (r"'..\data\train'", r'..\data\train'),
        (r'"data\train"', r'data\train'),
        (r'"C:\data\"', 'C:\\data\\'),
    ],
)
def test_raw_windows_paths_are_read_as_meant(tmp_path: pathlib.Path, written: str, meant: str) -> None:
    parsed = read(tmp_path, f'train_input_reader {{ label_map_path: {written} }}')
    assert parsed.message.train_input_reader.label_map_path == meant
    assert bool(parsed.remarks) == ('\\\\' not in written)


def test_of_a_choice_the_last_member_counts_as_in_the_api(tmp_path: pathlib.Path) -> None:
    text = 'train_config { data_augmentation_options {\n random_horizontal_flip {}\n random_vertical_flip {}\n} }'
    parsed = read(tmp_path, text)
    (step,) = parsed.message.train_config.data_augmentation_options
    assert step.WhichOneof('choice') == 'random_vertical_flip'
    assert re.search(r"config:2: .*random_horizontal_flip: gives way to 'random_vertical_flip'.*line 3", parsed.remarks[0])


def test_a_value_given_twice_counts_as_the_last_one(tmp_path: pathlib.Path) -> None:
    parsed = read(tmp_path, 'train_config {\n num_steps: 3\n num_steps: 7\n}')
    assert parsed.message.train_config.num_steps == 7
    assert ':2: train_config.num_steps: is given again in line 3' in parsed.remarks[0]


def test_the_old_name_of_number_of_stages(tmp_path: pathlib.Path) -> None:
    parsed = read(tmp_path, 'model { faster_rcnn { first_stage_only: true } }')
    assert parsed.message.model.faster_rcnn.number_of_stages == 1
    assert 'first_stage_only: true is read as number_of_stages: 1' in parsed.remarks[0]


def test_comments_in_other_encodings(tmp_path: pathlib.Path) -> None:
    parsed = read(tmp_path, '# 训练\ntrain_config { num_steps: 7 }'.encode('gbk'))
    assert parsed.message.train_config.num_steps == 7
    assert 'is not UTF-8' in parsed.remarks[0]
    assert read(tmp_path, 'train_config { num_steps: 7 }'.encode('utf-16')).message.train_config.num_steps == 7


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', 'is empty; expected a pipeline.config'),
        ('train_config {\n num_steps: <NUM_STEPS>\n}', ":2: num_steps: found '<NUM_STEPS>', a placeholder"),
        ('train_config {\n num_steps: seven\n}', ":2: train_config.num_steps: .*Couldn't parse integer: seven"),
        ('train_config {\n num_steps: 7\n', ":1: the block 'train_config' that begins here has no closing }"),
        ('train_config { } }', "found '}', expected a field"),
        ('train_config: 7', ':1: train_config: expected a block in braces'),
        ('train_config { num_steps { } }', 'train_config.num_steps: expected a value'),
        ('train_config {\n fine_tune_checkpoint: "abc\n}', ':2: a text has no closing "'),
        ('train_config { freeze_variables: ["a" ', "the list of 'freeze_variables' has no closing ]"),
        ('train_config { num_steps: }', "found '}', expected a value of 'num_steps'"),
        ('train_config { = 3 }', "found '=', expected the name of a field"),
        ('modle { }', ":1: modle: no field of a pipeline.config .* Did you mean 'model'"),
        ('{"train_config": }}', 'begins as JSON, but is none'),
        ('model { faster_rcnn { feature_extractor { type: 3 } } }', ':1: model.faster_rcnn.feature_extractor.type'),
    ],
)
def test_errors_have_place_and_expectation(tmp_path: pathlib.Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        read(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match='cannot be read: No such file'):
        reading.read(tmp_path / 'none.config')
