"""What a stage answers and leaves on disk holds the keys that its types declare, and no others."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from stagetrain import files
from stagetrain.images.network_input import Batch
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import NoteMessage, ProgressMessage, StageResult, Weights
from stagetrain.pipeline.records import MetricsLine, StoredVariable, VariableOrigin
from tests import tiny
from tests.tiny import Trained

pytestmark = pytest.mark.slow


def keys(kind: Any) -> set[str]:
    return set(kind.__annotations__)


def required(kind: Any) -> set[str]:
    return set(kind.__required_keys__)


def test_a_result_has_the_keys_of_its_type(joint: Trained) -> None:
    assert set(joint.result) == required(StageResult)
    assert required(Weights) < required(StageResult) and keys(StageResult) - required(StageResult) == {'extended'}


def test_messages_have_the_keys_of_their_types(joint: Trained) -> None:
    kinds = {'progress': ProgressMessage, 'note': NoteMessage}
    assert {event['event'] for event in joint.events} == set(kinds)
    assert all(set(event) == required(kinds[event['event']]) for event in joint.events)


def test_a_stages_files_have_the_keys_of_their_types(joint: Trained) -> None:
    lines = files.read_json_lines(joint.folder / run_files.METRICS)
    assert all(required(MetricsLine) <= set(line) <= keys(MetricsLine) for line in lines)
    assert {key for line in lines for key in line} == keys(MetricsLine) - {'skipped', 'rollback'}
    origins = files.read_json(joint.folder / run_files.LINEAGE).values()
    assert all(required(VariableOrigin) <= set(origin) <= keys(VariableOrigin) for origin in origins)
    variables = files.read_json(joint.checkpoint / run_files.VARIABLES).values()
    assert all(set(variable) == keys(StoredVariable) for variable in variables)


def test_a_training_batch_is_as_its_type_says(joint: Trained) -> None:
    detector = tiny.context(joint.job).build_detector(('backbone', 'decoder', 'rpn_head', 'detection_head'))
    batch: Any = next(iter(tiny.training_input(joint.job, detector, sorted(tiny.RPN | tiny.HEAD)).batches(0, 1)))
    size, objects = batch['gt_boxes'].shape[:2]
    assert set(batch) == keys(Batch) - {'features', 'gt_masks', 'proposals', 'inputs'}
    described = {key: (value.dtype, tuple(value.shape)) for key, value in batch.items() if key != 'targets'}
    assert described == {
        'image_index': (tf.int32, (size,)),
        'image_shape': (tf.float32, (size, 2)),
        'seed': (tf.int32, (size, 2)),
        'image': (tf.float32, (size, 64, 64, 3)),
        'gt_boxes': (tf.float32, (size, objects, 4)),
        'gt_classes': (tf.int32, (size, objects)),
    }
