"""Whatever key changes between a kill and the next start: it is on the documented list, or the half-done stage is refused."""

from __future__ import annotations

import json
import pathlib
import re
import typing
from typing import Any, Literal

import pytest

from stagetrain import files
from stagetrain.api import preparation
from stagetrain.config import check, document, load
from stagetrain.errors import ConfigError
from stagetrain.pipeline.plan import make_plan
from stagetrain.pipeline.rundir import Partial, RunState
from tests.fakes import every_key
from tests.fakes.every_key import Path
from tests.fakes.project import ROOT, Project, make_project

STAGE = every_key.LAST_STAGE
OTHER: dict[Path, Any] = {
    ('name',): 'another',
    ('data', 'classes'): ['thing', 'other'],
    ('data', 'ignore_classes'): ['other'],
    ('data', 'train', 'split'): 'test',
    ('data', 'validation', 'split'): 'trainval',
    ('sources', 'imagenet', 'keras_h5'): 'other.h5',
    ('evaluation', 'num_proposals'): [100],
    ('model', 'input_size'): [128, 128, 3],
    ('model', 'anchor', 'aspect_ratios'): [1.0],
    ('model', 'losses', 'class_weights'): [1.0, 2.0],
    ('model', 'backbone', 'type'): 'keras_mobilenet_v2',
    ('model', 'backbone', 'keras_mobilenet_v1', 'endpoints'): {'3': 'conv_pw_5_relu'},
    ('model', 'backbone', 'keras_mobilenet_v1', 'surgery'): [{'cut_after': 'conv_pw_11_relu'}],
    ('model', 'roi_sampler', 'cascade_iou_thresholds'): [0.6],
    ('model', 'norm_activation', 'activation'): 'swish',
    ('model', 'parser', 'aug_type'): {'type': 'randaug'},
    (*STAGE, 'init', 'backbone', 'from'): 'detector_1',
    (*STAGE, 'init', 'decoder', 'from'): 'detector_1',
    (*STAGE, 'init', 'rpn_head', 'from'): 'rpn_1',
    (*STAGE, 'init', 'detection_head', 'from'): 'fresh',
    (*STAGE, 'freeze_variables'): ['backbone/.*'],
    (*STAGE, 'freeze_up_to'): 'conv1',
    (*STAGE, 'train_variables'): ['detection_head/.*'],
    (*STAGE, 'allow_frozen_fresh'): ['decoder/.*'],
    (*STAGE, 'loss_weights'): {'frcnn_class': 1.0, 'frcnn_box': 2.0},
    (*STAGE, 'proposals', 'from'): 'rpn_1',
    (*STAGE, 'seed'): 1,
    (*STAGE, 'loss_ramps'): {'frcnn_class': {'steps': 2}},
    (*STAGE, 'require'): {'AP': '>= 0.0'},
    (*STAGE, 'train', 'best_metric'): 'AP50',
    (*STAGE, 'train', 'optimizer', 'sgd', 'name'): 'other',
    (*STAGE, 'train', 'learning_rate', 'constant', 'name'): 'other',
    (*STAGE, 'train', 'learning_rate_multipliers'): {'.*/bias': 2.0},
    (*STAGE, 'train', 'warmup', 'linear', 'name'): 'other',
    (*STAGE, 'train', 'ema'): {},
    (*STAGE, 'train', 'early_stopping'): {},
    (*STAGE, 'train', 'reduce_on_plateau'): {},
}
"""Other values where a number is not increased, a boolean not turned and a choice not made another."""
SAME_CONTENT = {
    *('init.backbone.from', 'init.decoder.from'),  # The other stage holds these modules bit for bit alike.
    *('sources.imagenet.keras_h5', 'sources.imagenet.require'),  # An earlier stage's, which is judged, and run again, first.
}
"""Keys whose other value gives this stage the same weights to start from, or none yet."""
NEEDS_OTHERS = {
    *('sources.imagenet.stage', 'sources.imagenet.run', 'sources.imagenet.checkpoint', 'sources.imagenet.saved_model'),
    *('sources.imagenet.tf1_checkpoint', 'sources.imagenet.rules', 'sources.imagenet.require', 'plugins', 'stages[3].name'),
    *('model.type', 'model.decoder.type', 'stages[3].train.optimizer.type', 'stages[3].train.learning_rate.type'),
    *('stages[3].train.warmup.type', 'stages[3].train.epochs', 'data.train.format', 'data.validation.format'),
    *('data.train.path', 'data.validation.path', 'data.train.images', 'data.validation.images'),
    *('data.train.class_file', 'data.validation.class_file', 'models', 'stages[3].model'),
    *('runtime.mirrored', 'stages[3].kind'),  # With `strategy: mirrored`, and with a plugin's kind of stage.
}
"""Keys of which no other value is right without changing others; of data and sources counts what they give, not these words."""


@pytest.fixture(scope='module')
def half_done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, RunState]:
    """A run whose last stage stopped at step 4."""
    project = make_project(tmp_path_factory.mktemp('changes'))
    (project.folder / 'other.h5').write_bytes(b'other weights')
    files.write_json(project.config, every_key.document())
    project.run()
    lock = project.directory.lock()
    done = lock.stages['detector_2']
    return project, RunState(lock.with_stage('detector_2', None), {'detector_2': Partial(done.fingerprint, done.parts, 4)}, {})


def outcome(half_done: tuple[Project, RunState], changes: dict[Path, Any]) -> str:
    """Returns `goes on`, why the plan refuses the changed pipeline, or `not a pipeline: ...`."""
    project, state = half_done
    files.write_json(project.config, every_key.changed(changes))
    try:
        loaded = load.load_pipeline(project.config)
        check.check_pipeline(loaded)
    except ConfigError as error:
        return f'not a pipeline: {error}'
    try:
        make_plan(loaded, preparation.gather_facts(loaded.pipeline, project.directory.cache), state)
    except ConfigError as error:
        return str(error)
    return 'goes on'


def other(value: Any, annotation: Any) -> Any:
    """Returns another value of the same type, or None when none can be made."""
    choices = [choice for member in (annotation, *typing.get_args(annotation)) for choice in _choices(member)]
    if isinstance(value, bool):
        return not value
    if choices:
        return next((choice for choice in choices if choice != value), None)
    if every_key.is_number(annotation):
        return 1 if value is None else value + 1 if isinstance(value, int) else value / 2 + 0.01
    return not value if bool in every_key.kinds(annotation) else None


def _choices(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()


def test_each_key_is_documented_as_free_or_refused_with_the_difference(half_done: tuple[Project, RunState]) -> None:
    pipeline = load.load_resolved(every_key.document()).pipeline
    said, undecided = {}, set()
    for path, annotation, value in every_key.leaves(pipeline):
        changed = OTHER.get(path, other(value, annotation))
        if changed is None:
            undecided.add(document.show_path(path))
        else:
            said[document.show_path(path)] = outcome(half_done, {path: changed})
    assert undecided - NEEDS_OTHERS == set()
    assert len(said) > 140
    free = {path.replace('stages[3].', '') for path, text in said.items() if text == 'goes on'}
    assert free - SAME_CONTENT == documented_as_free()
    for path, text in said.items():
        if text != 'goes on' and not text.startswith('not a pipeline: '):
            assert 'stage detector_2 is half-done (step 4) and has changed since: ' in text, path
    assert not_a_pipeline(said) <= 18


def not_a_pipeline(said: dict[str, str]) -> int:
    """Counts keys that have one value only, or whose next value does not fit the rest."""
    return sum(text.startswith('not a pipeline: ') for text in said.values())


def documented_as_free() -> set[str]:
    """Returns the keys that docs/reliability.md lists as free to change."""
    text = (ROOT / 'docs' / 'reliability.md').read_text()
    section = text.partition('## What may change in a half-done stage')[2].partition('\n## ')[0]
    return set(re.findall(r'^\| `([^`]+)` \|', section, re.MULTILINE))


@pytest.mark.parametrize(
    ('path', 'value', 'named'),
    [
        ((*STAGE, 'train', 'batch_size'), 3, 'train.batch_size: 2 -> 3'),
        ((*STAGE, 'train', 'optimizer', 'sgd', 'momentum'), 0.5, 'train.optimizer.sgd.momentum: 0.9 -> 0.5'),
        ((*STAGE, 'freeze_variables'), ['backbone/.*'], 'freeze_variables: '),
        ((*STAGE, 'init', 'detection_head'), 'fresh', 'init.detection_head: '),
        (('model', 'roi_sampler', 'num_sampled_rois'), 9, 'model.roi_sampler.num_sampled_rois: 512 -> 9'),
        (('data', 'train', 'split'), 'test', 'training data changed ('),
        (('runtime', 'intra_op_threads'), 1, 'runtime.intra_op_threads: 2 -> 1'),
    ],
)
def test_the_difference_and_the_two_ways_on_are_told(
    half_done: tuple[Project, RunState], path: Path, value: Any, named: str
) -> None:
    text = outcome(half_done, {path: value})
    assert named in text
    assert 'Start it again with --force detector_2, or put back what has changed and it goes on.' in text


def test_nothing_changed_goes_on(half_done: tuple[Project, RunState]) -> None:
    assert outcome(half_done, {}) == 'goes on'


def test_data_of_another_place_with_the_same_content_goes_on(half_done: tuple[Project, RunState], tmp_path: pathlib.Path) -> None:
    moved = tmp_path / 'moved'
    moved.symlink_to(half_done[0].folder / 'data')
    assert outcome(half_done, {('data', 'train', 'path'): str(moved)}) == 'goes on'
    assert json.loads(half_done[0].config.read_text())['data']['train']['path'] == str(moved)
