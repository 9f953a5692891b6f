"""The messages are those of the Object Detection API: numbers as on the wire, defaults that people forget."""

from __future__ import annotations

import pytest

from stagetrain.bridges.tfod import descriptors, fields


@pytest.mark.parametrize(
    ('message', 'field', 'expected'),
    [
        ('Optimizer', 'use_moving_average', True),
        ('FasterRcnn', 'number_of_stages', 2),
        ('FasterRcnn', 'first_stage_max_proposals', 300),
        ('FasterRcnn', 'second_stage_batch_size', 64),
        ('GridAnchorGenerator', 'height', 256),
        ('TrainConfig', 'batch_size', 32),
        ('TrainConfig', 'num_steps', 0),
        ('ConvolutionalBoxPredictor', 'use_dropout', True),
        ('CosineDecayLearningRate', 'warmup_steps', 10000),
        ('InputReader', 'mask_type', 1),
        ('KeepAspectRatioResizer', 'min_dimension', 600),
        ('BatchNonMaxSuppression', 'max_total_detections', 100),
    ],
)
def test_defaults(message: str, field: str, expected: object) -> None:
    assert getattr(descriptors.new_message(message), field) == expected


@pytest.mark.parametrize(
    ('message', 'field', 'number'),
    [
        ('TrainConfig', 'freeze_variables', 12),
        ('TrainConfig', 'update_trainable_variables', 25),
        ('TrainConfig', 'fine_tune_checkpoint_type', 22),
        ('TrainEvalPipelineConfig', 'eval_input_reader', 5),
        ('FasterRcnn', 'context_config', 41),
        ('DetectionModel', 'center_net', 4),
    ],
)
def test_numbers(message: str, field: str, number: int) -> None:
    assert descriptors.new_message(message).DESCRIPTOR.fields_by_name[field].number == number


def test_a_file_in_binary_form_is_read_back() -> None:
    message = descriptors.new_message('TrainEvalPipelineConfig')
    message.train_config.freeze_variables.append('a')
    again = descriptors.new_message('TrainEvalPipelineConfig')
    again.ParseFromString(message.SerializeToString())
    assert list(again.train_config.freeze_variables) == ['a']


def test_every_field_of_every_message_is_accounted_for() -> None:
    found = fields.all_fields()
    assert len(found) == sum(len(descriptors.new_message(name).DESCRIPTOR.fields) for name in descriptors.message_names())
    assert all(verdict.text for _, _, verdict in found)


def test_no_account_is_of_a_field_that_is_not_there() -> None:
    known = {f'{message}.{field}' for message, field, _ in fields.all_fields()}
    assert {name for name in fields._verdicts() if not name.endswith('.*')} <= known
    assert set(fields._AS_HERE) <= known
