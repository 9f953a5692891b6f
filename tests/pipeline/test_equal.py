"""Variants as long as the pipeline: one factor for all of a variant's own stages."""

from __future__ import annotations

from fractions import Fraction

import pytest

from stagetrain.cli import arguments, command_line
from stagetrain.config import load
from stagetrain.errors import ConfigError
from stagetrain.pipeline import equal
from stagetrain.pipeline.speed import Speed
from tests.fakes.project import Project

# The project: four stages of 8 steps of 2 images; `joint.all` has 16; `unshared` is the first two.


def whole(project: Project, *overrides: str) -> load.Loaded:
    return load.with_own_stages(project.load(*overrides))


def test_steps_and_images_are_made_equal_by_one_factor(project: Project) -> None:
    found = equal.equalise(whole(project).pipeline, 'steps', 2)
    assert (found.target, found.factors) == (32, {'joint': Fraction(2), 'unshared': Fraction(2)})
    larger = whole(project, 'compare.joint.stages.all.train.batch_size=8').pipeline
    by_images = equal.equalise(larger, 'images', 2)
    assert (by_images.target, by_images.factors) == (64, {'joint': Fraction(1, 2), 'unshared': Fraction(2)})


def test_epochs_count_by_the_images_of_the_data(project: Project) -> None:
    in_epochs = whole(project, 'compare.joint.stages.all.train.epochs=4').pipeline
    assert equal.equalise(in_epochs, 'steps', num_train=16).factors['joint'] == Fraction(1)


def test_time_leaves_what_does_not_grow_with_the_steps_out_of_the_factor(project: Project) -> None:
    loaded = whole(project)
    speeds = {entry: Speed(1.0, 2.0, 3.0) for entry in ('rpn_1', 'rpn_2', 'unshared.rpn_1', 'joint.all')}
    speeds |= {entry: Speed(0.5, 2.0, 3.0, {'proposals': 5.0}) for entry in ('detector_1', 'detector_2', 'unshared.detector_1')}
    found = equal.equalise(loaded.pipeline, 'time', 2, speeds)
    assert found.target == 8 * (1 + 1 + 0.5 + 0.5) + 4 * 5 + 2 * 5
    assert found.factors == {'joint': Fraction(54 - 5, 16), 'unshared': Fraction(54 - 15, 12)}


def test_what_a_variant_shares_with_the_pipeline_stays(project: Project) -> None:
    shared = ('compare.joint.stages.all.init={backbone: rpn_1}',)
    found = equal.equalise(whole(project, *shared).pipeline, 'steps', 2)
    assert found.factors['joint'] == Fraction(32 - 8, 16)


def test_a_variant_that_has_no_room_is_refused(project: Project) -> None:
    speeds = {entry: Speed(1.0, 0.0, 0.0) for entry in ('rpn_1', 'detector_1', 'rpn_2', 'detector_2')}
    slow = {entry: Speed(1.0, 99.0, 0.0) for entry in ('joint.all', 'unshared.rpn_1', 'unshared.detector_1')}
    with pytest.raises(ConfigError, match=r'compare.joint: .* come to 99 s, and the whole pipeline to 32; no steps'):
        equal.equalise(whole(project).pipeline, 'time', 2, {**speeds, **slow})


def test_a_variant_until_a_stage_gets_stages_of_its_own(project: Project) -> None:
    loaded = project.load()
    own = whole(project).pipeline
    stages = own.compare['unshared'].stages
    assert stages is not None and stages == loaded.pipeline.stages[:2]
    assert own.stages == loaded.pipeline.stages and own.compare['joint'] == loaded.pipeline.compare['joint']
    longer = load.with_factors(whole(project), {'unshared.rpn_1': Fraction(3, 2)}).pipeline
    assert [stage.train.steps for stage in longer.compare['unshared'].stages or ()] == [12, 8]


def test_the_words_of_the_command_line_are_those_that_are_known() -> None:
    verbs = command_line.verbs_of(arguments.parser())
    for verb in ('plan', 'compare'):
        (option,) = (action for action in verbs[verb]._actions if action.dest == 'equal')
        assert tuple(option.choices or ()) == equal.BY
