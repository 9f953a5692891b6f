"""Wishes that stages cannot fulfil, told before the first step; and stages that shall train longer."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from stagetrain import files
from stagetrain.pipeline.rundir import RunDirectory
from tests.brought.case import REAL, RUN_FILES, Case, Hold, Step, each
from tests.fakes import project

WARMUP = 'train.warmup={type: linear, linear: {warmup_steps: 20}}'
BOUNDARIES = 'train.learning_rate={type: stepwise, stepwise: {boundaries: [4, 100], values: [0.1, 0.01, 0.001]}}'


def _project(folder: pathlib.Path) -> None:
    project.make_project(folder)


def _finished(folder: pathlib.Path) -> None:
    project.make_project(folder).run()


def _replaced(old: str, new: str) -> Callable[[pathlib.Path], None]:
    def make(folder: pathlib.Path) -> None:
        made = project.make_project(folder)
        text = made.config.read_text()
        assert old in text
        made.config.write_text(text.replace(old, new))

    return make


def _without_variants(folder: pathlib.Path) -> None:
    made = project.make_project(folder)
    made.config.write_text(made.config.read_text().partition('compare:')[0])


def _checkpoint_is_whole(folder: pathlib.Path) -> None:
    for stage, entry in RunDirectory(folder / 'run').lock().stages.items():
        files.verify_folder(folder / 'run' / entry.result['checkpoint'])
        assert stage


REFUSED = [
    Case(
        'a warm-up longer than its stage',
        _project,
        Step(f"check four.yaml --set '{WARMUP}'", code=2, says=['warmup', r'\b20\b', r'\b8\b']),
    ),
    Case(
        'boundaries that are never reached',
        _project,
        Step(f"check four.yaml --set '{BOUNDARIES}'", code=2, says=['boundaries', r'\b100\b', r'\b8\b']),
    ),
    Case(
        'the metric of a class that is not there',
        _project,
        Step(
            'check four.yaml --set stages.rpn_1.train.best_metric=AP/thong',
            code=2,
            says=['best_metric', 'AP/thong', "Did you mean 'AP/thing'|AP/thing"],
        ),
    ),
    Case(
        'a metric that is not there',
        _project,
        Step('check four.yaml --set stages.rpn_1.train.best_metric=accuracy', code=2, says=['best_metric', 'accuracy', 'AP']),
    ),
    Case(
        'a gate on a metric that is not there',
        _project,
        Step("check four.yaml --set 'stages.rpn_1.require={mAP: 0.5}'", code=2, says=['require', 'mAP']),
    ),
    Case(
        'mirrored',
        _project,
        Step(
            'check four.yaml --set runtime.strategy=mirrored --set runtime.mirrored.num_devices=3',
            code=2,
            says=['batch_size', 'multiple of 3'],
        ),
    ),
    Case(
        'tpu',
        _project,
        Step('check four.yaml --set runtime.strategy=tpu', code=2, says=['runtime.strategy', 'tpu', 'one_device']),
    ),
    Case(
        'a schedule that cannot be used',
        _project,
        Step(
            "check four.yaml --set 'stages.rpn_1.train.learning_rate={type: step_cosine_with_offset, step_cosine_with_offset: "
            "{boundaries: [1, 5], values: [0.1, 0.01]}}'",
            code=2,
            says=[
                r'stages\[0\]\.train\.learning_rate\.type',
                'step_cosine_with_offset',
                'divides by zero',
                'Known here: constant, cosine',
            ],
        ),
    ),
    Case(
        'a strategy that nobody knows',
        _project,
        Step('check four.yaml --set runtime.strategy=horovod', code=2, says=['runtime.strategy', 'horovod']),
    ),
    Case(
        'a stage that starts from itself',
        _replaced('init: {backbone: detector_1, decoder: detector_1}', 'init: {backbone: rpn_2}'),
        Step('check four.yaml', code=2, says=['rpn_2']),
    ),
    Case(
        'a stage that starts from a later one',
        _replaced('init: {backbone: detector_1, decoder: detector_1}', 'init: {backbone: detector_2}'),
        Step('check four.yaml', code=2, says=['detector_2']),
    ),
    Case(
        'two stages of one name',
        _replaced('name: detector_1', 'name: rpn_1'),
        Step('check four.yaml', code=2, says=['rpn_1', 'must differ']),
    ),
    Case('a name that is a path', _replaced('name: detector_1', 'name: ../x'), Step('check four.yaml', code=2, says=[r'\.\./x'])),
    Case(
        'a pattern that is no regular expression',
        _replaced("['backbone/.*', 'decoder/.*']", "['backbone/(']"),
        Step('check four.yaml', code=2, says=[r'backbone/\(', 'regular expression']),
    ),
    Case(
        'a pattern of shells',
        _replaced("['backbone/.*', 'decoder/.*']", "['*']"),
        Step('check four.yaml', code=2, says=[r"'\*'", 'regular expression']),
    ),
    Case(
        'a source that is not there',
        _project,
        Step(
            'run four.yaml --run_dir run',
            code=2,
            says=['weights.h5'],
            not_made=['run/stages/*'],
            before=lambda folder: (folder / 'weights.h5').unlink(),
            changes=['run/*'],
        ),
    ),
    Case(
        'a scope that matches nothing',
        _replaced("['backbone/.*', 'decoder/.*']", "['backbone/nonsense']"),
        Step(
            'run four.yaml --run_dir run',
            code=2,
            says=['backbone/nonsense', 'no variable'],
            not_made=['run/stages/*'],
            changes=['run/*', 'checks.jsonl'],
        ),
    ),
    Case(
        'all losses off',
        _replaced('loss_weights: {rpn_score: 1.0, rpn_box: 1.0}', 'loss_weights: {rpn_score: 0.0, rpn_box: 0.0}'),
        Step('check four.yaml', code=2, says=['loss_weights']),
    ),
    Case('selection against itself', _project, Step('plan four.yaml --only rpn_1 --from rpn_2', code=2, says=['--only'])),
    Case(
        'the end before the beginning',
        _project,
        Step('plan four.yaml --from rpn_2 --until rpn_1', code=2, says=['--from', '--until']),
    ),
    Case(
        'one stage before what it starts from',
        _project,
        Step('run four.yaml --run_dir run --only rpn_2', code=2, says=['detector_1'], changes=RUN_FILES),
    ),
]

COSTS = [
    Case(
        'what stages with an rpn cost, on fewer proposals than are sampled',
        _without_variants,
        Step('plan four.yaml --cost', says=['ms_per_step', r'rpn_1 [\d.]+ 8', r'detector_2 [\d.]+ 8'], where=REAL),
    ),
]

LONGER = [
    Case(
        'more steps and back',
        _finished,
        Step('run four.yaml --run_dir run --set stages.detector_2.train.steps=12', changes=RUN_FILES),
        Step('run four.yaml --run_dir run', changes=RUN_FILES, before=_checkpoint_is_whole),
        Step('status run', says=['(done.*){4}'], before=_checkpoint_is_whole, changes=RUN_FILES),
    ),
    Case(
        'fewer steps',
        _finished,
        Step(
            'plan four.yaml --run_dir run --set stages.detector_2.train.steps=4',
            says=['detector_2', r'\bsteps\b'],
            changes=RUN_FILES,
        ),
        Step('status run', says=['(done.*){4}'], before=_checkpoint_is_whole, changes=RUN_FILES),
    ),
]


@each(REFUSED)
def test_a_wish_that_cannot_be_fulfilled_is_told_before_the_first_step(case: Case, hold: Hold) -> None:
    hold(case)


@pytest.mark.slow
@each(COSTS)
def test_what_stages_cost_is_known_before_anything_is_trained(case: Case, hold: Hold) -> None:
    hold(case)


@each(LONGER)
def test_more_steps_of_the_same_go_on_from_those_that_are_done(case: Case, hold: Hold) -> None:
    hold(case)
