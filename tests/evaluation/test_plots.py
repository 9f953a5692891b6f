"""Tracks on one time axis, and the picture made of them."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from stagetrain.evaluation import plots
from stagetrain.evaluation.plots import Span, Track
from stagetrain.evaluation.summary import load_summaries
from stagetrain.files import append_json_line


def test_stages_and_stores_follow_each_other(finished_run):
    four_step, end_to_end, unshared = plots.tracks(load_summaries(finished_run))
    assert four_step.spans == (
        Span('rpn_1', 0.0, 5.0),
        Span('proposals', 5.0, 7.0, is_store=True),
        Span('detector_1', 7.0, 12.0),
        Span('rpn_2', 12.0, 15.5),
    )
    assert end_to_end.spans == (Span('joint', 0.0, 5.0),)
    assert unshared.spans == four_step.spans[:3]


def test_curves_are_moved_to_their_stages_start(finished_run):
    four_step, _, unshared = plots.tracks(load_summaries(finished_run))
    assert four_step.losses == (((2.0, 0.75), (4.0, 0.75)), (), ())
    assert four_step.ap == ((10.0, 0.2), (12.0, 0.4), (15.5, 0.5))
    assert unshared.ap == ((10.0, 0.2), (12.0, 0.4))
    assert (four_step.contained, unshared.contained) == (False, True)


def test_last_evaluation_of_a_stage_is_its_result(finished_run):
    line = {'step': 10, 'seconds': 4.5, 'evaluation': {'AP': 0.4}}
    append_json_line(finished_run / 'stages/detector_1/metrics.jsonl', line)
    assert plots.tracks(load_summaries(finished_run))[2].ap == ((10.0, 0.2), (12.0, 0.4))


def test_unfinished_variants_have_no_track(make_run):
    assert [track.name for track in plots.tracks(load_summaries(make_run({'rpn_1': {}, 'detector_1': {}})))] == ['unshared']


def test_seeds_share_a_name_and_other_runs_do_not(make_run):
    runs = [make_run({'end_to_end.joint': {}}, name=name, seed=seed) for name, seed in (('a', 0), ('b', 1))]
    assert [track.name for track in plots.tracks(load_summaries(*runs))] == ['end_to_end', 'end_to_end']
    (runs[1] / 'run.yaml').write_text((runs[1] / 'run.yaml').read_text().replace('steps: 10', 'steps: 11'))
    assert [track.name for track in plots.tracks(load_summaries(*runs))] == ['a/end_to_end', 'b/end_to_end']


def test_the_spread_of_seeds_is_taken_evaluation_by_evaluation():
    one, two = (Track('a', (), (), ap) for ap in (((1.0, 0.2), (4.0, 0.5)), ((3.0, 0.4), (6.0, 0.5))))
    first, last = plots.spread([one, two])
    assert (first.seconds, first.mean, first.deviation) == (2.0, pytest.approx(0.3), pytest.approx(0.2 / 2**0.5))
    assert (last.seconds, last.mean, last.deviation) == (5.0, 0.5, 0.0)
    assert plots.spread([one]) == []
    assert plots.spread([one, Track('a', (), (), ((1.0, 0.2),))]) == []


def test_the_spread_of_seeds_is_drawn():
    spans = (Span('joint', 0.0, 6.0),)
    tracks = [Track('a', spans, (), ((2.0, 0.2), (6.0, value))) for value in (0.4, 0.5, 0.6)]
    lanes, losses, scores = plots.curves_figure(tracks).axes
    (band, *_) = scores.collections
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(0.6)  # Mean 0.5 and deviation 0.1 at the end.
    alone = plots.curves_figure(tracks[:1]).axes[2]
    assert not alone.collections and lanes is not losses


def test_smoothing_keeps_times_and_averages_neighbours():
    points = ((0.0, 4.0), (1.0, 1.0), (2.0, 1.0), (3.0, 7.0))
    assert plots.smoothed(points, 3) == ((0.0, 4.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0))
    assert plots.smoothed(points, 1) == points


@pytest.mark.parametrize(('length', 'unit', 'end'), [(120.0, 'seconds', 139.2), (600.0, 'minutes', 11.6)])
def test_long_runs_are_shown_in_minutes(length, unit, end):
    track = Track('a', (Span('joint', 0.0, length),), ((),), ((length, 0.5),))
    axes = plots.curves_figure([track]).axes
    assert unit in axes[2].get_xlabel()
    assert axes[2].get_xlim() == pytest.approx((0.0, end))


def test_loss_and_ap_are_drawn_and_the_result_stands_behind_the_lane():
    track = Track('a', (Span('one', 0.0, 9.0),), (((1.0, 3.0), (2.0, 2.0)),), ((4.0, 0.25), (9.0, 0.375)))
    lanes, losses, scores = plots.curves_figure([track]).axes
    assert list(losses.lines[0].get_ydata()) == [3.0, 2.0]
    assert list(scores.lines[0].get_ydata()) == [0.25, 0.375]
    assert [text.get_text().strip() for text in lanes.texts] == ['one', 'AP 0.375']


def test_seeds_share_a_lane_with_mean_and_deviation():
    seeds = [Track('a', (Span('one', 0.0, 9.0),), ((),), ((9.0, ap),)) for ap in (0.46, 0.47, 0.48)]
    lanes, _, scores = plots.curves_figure(seeds).axes
    assert [text.get_text().strip() for text in lanes.texts] == ['one', 'AP 0.470 ± 0.010']
    assert len({line.get_color() for line in scores.lines}) == 1


def test_a_name_that_does_not_fit_its_bar_is_left_out():
    track = Track('a', (Span('a_rather_long_name', 0.0, 1.0), Span('long', 1.0, 100.0)), ((), ()), ())
    lanes = plots.curves_figure([track]).axes[0]
    assert [(text.get_text(), text.get_visible()) for text in lanes.texts[:2]] == [('a_rather_long_name', False), ('long', True)]


def test_picture_is_a_png_also_of_nothing():
    image = Image.open(io.BytesIO(plots.png(plots.curves_figure([]))))
    assert (image.format, image.width) == ('PNG', 1500)
