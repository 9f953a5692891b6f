"""The picture of a comparison: stages, loss and AP of all variants on one time axis.

    figure = curves_figure(tracks(load_summaries(run_dir)))
    path.write_bytes(png(figure))

A track's time is that of its stages one after the other, with the making of proposals where it is needed first: what the variant
alone would take, wherever its stages were really trained.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import statistics
from collections.abc import Sequence
from typing import Any

import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stagetrain.evaluation.summary import RunSummary, VariantSummary

Points = tuple[tuple[float, float], ...]

_COLOURS = ('#0b66a8', '#d1520a', '#0a8a63', '#a8558b', '#7a6a00', '#4a4a8a', '#a02c2c', '#2d7d8c')
_INK, _FAINT, _STORE = '#222222', '#8a8a8a', '#b9b9b9'


@dataclasses.dataclass(frozen=True)
class Span:
    """A stage, or the making of a proposal store, on a track's time axis in seconds."""

    name: str
    start: float
    end: float
    is_store: bool = False


@dataclasses.dataclass(frozen=True)
class Track:
    """One variant over time. Points are (seconds since the track's start, value)."""

    name: str
    """Tracks of one name (several seeds) share a lane and a colour."""
    spans: tuple[Span, ...]
    losses: tuple[Points, ...]
    """For each stage; losses of stages with other terms are not comparable, so no line joins them."""
    ap: Points
    """The last is the variant's result, when it has one."""
    contained: bool = False
    """The stages are the first of another track, whose curves are drawn already; only the result is marked."""


def tracks(summaries: Sequence[RunSummary]) -> list[Track]:
    """Returns a track for each finished variant; the runs' names are put before it when runs differ in more than their seed."""
    same = all(
        summary.pipeline.model_copy(update={'seed': 0}) == summaries[0].pipeline.model_copy(update={'seed': 0})
        for summary in summaries
    )
    return [
        _track(summary, variant, variant.name if same else f'{summary.label}/{variant.name}')
        for summary in summaries
        for variant in summary.variants
        if all(stage in summary.stages for stage in variant.stages)
    ]


@dataclasses.dataclass(frozen=True)
class SpreadPoint:
    """An evaluation that all seeds have."""

    seconds: float
    """The mean of when it was made."""
    mean: float
    deviation: float
    """Sample standard deviation of the values."""


def spread(tracks: Sequence[Track]) -> list[SpreadPoint]:
    """Returns AP over the seeds of one variant, evaluation by evaluation; empty for one seed, or where some have fewer."""
    if len(tracks) < 2 or not tracks[0].ap or len({len(track.ap) for track in tracks}) > 1:
        return []
    each = zip(*(track.ap for track in tracks), strict=True)
    return [
        SpreadPoint(
            statistics.fmean(seconds for seconds, _ in points),
            statistics.fmean(value for _, value in points),
            statistics.stdev(value for _, value in points),
        )
        for points in each
    ]


def curves_figure(tracks: Sequence[Track]) -> Figure:
    """Draws lanes of stages, losses and AP below one another."""
    names = list(dict.fromkeys(track.name for track in tracks))
    colours = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
    lanes_height = 0.55 + 0.42 * max(1, len(names))
    figure = Figure(figsize=(10, lanes_height + 5.6), layout='constrained', facecolor='white')
    lanes, losses, scores = figure.subplots(3, 1, sharex=True, height_ratios=[lanes_height, 2.8, 2.8])
    longest = max((track.spans[-1].end for track in tracks), default=1.0)
    unit, divisor = ('minutes', 60.0) if longest > 300 else ('seconds', 1.0)
    for axes in (lanes, losses, scores):
        _plain(axes)
    losses.set_xlim(0, longest / divisor * 1.16)  # The results stand behind the lanes.
    lane_tracks = {name: [track for track in tracks if track.name == name] for name in names}
    for track in tracks:
        if not track.contained:
            _draw_losses(losses, track, colours[track.name], divisor)
        _draw_ap(scores, track, colours[track.name], divisor, is_one_of_many=len(lane_tracks[track.name]) > 1)
    for name, seeds in lane_tracks.items():
        _draw_spread(scores, spread(seeds), colours[name], divisor)
    for name, (first, *_) in lane_tracks.items():
        if not first.contained:
            _draw_boundaries((losses, scores), first, colours[name], divisor)
    losses.set_ylabel('loss, without regularisation')
    losses.set_ylim(bottom=0)
    scores.set_ylabel('AP on validation')
    scores.set_ylim(0, 1.2 * max((value for track in tracks for _, value in track.ap), default=1.0) or 1.0)
    scores.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, steps=[1, 2, 5, 10]))
    scores.set_xlabel(f'wall-clock {unit} of training, proposals and evaluation')
    _draw_lanes(figure, lanes, lane_tracks, colours, divisor)
    return figure


def png(figure: Figure) -> bytes:
    """Returns a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=150)
    return buffer.getvalue()


def smoothed(points: Points, window: int) -> Points:
    """Returns the mean over each point and `window // 2` neighbours to either side, fewer towards the ends."""
    values = [value for _, value in points]
    means = []
    for index in range(len(values)):
        reach = min(window // 2, index)  # Symmetric at the start, where a loss falls fast.
        means.append(statistics.fmean(values[index - reach : index + reach + 1]))
    return tuple((seconds, mean) for (seconds, _), mean in zip(points, means, strict=True))


def _track(summary: RunSummary, variant: VariantSummary, name: str) -> Track:
    spans: list[Span] = []
    losses: list[Points] = []
    ap: list[tuple[float, float]] = []
    made: set[str] = set()
    now = 0.0
    for stage_id in variant.stages:
        stage, curves = summary.stages[stage_id], summary.curves[stage_id]
        for store in stage.stores:
            if store not in made:
                artefact = summary.artefacts[store]
                spans.append(Span(artefact.kind, now, now + artefact.seconds, is_store=True))
                made.add(store)
                now = spans[-1].end
        spans.append(Span(stage_id.rpartition('.')[2], now, now + stage.seconds))
        losses.append(_moved(curves.loss, now))
        result = stage.metrics.get('AP')
        # The last evaluation in the stage's own record is its result, which is known at the stage's end.
        ap.extend(_moved(curves.ap[:-1] if curves.ap and curves.ap[-1][1] == result else curves.ap, now))
        now = spans[-1].end
        if result is not None:
            ap.append((now, result))
    others = [other.stages for other in summary.variants if other is not variant]
    contained = any(stages[: len(variant.stages)] == variant.stages for stages in others)
    return Track(name, tuple(spans), tuple(losses), tuple(ap), contained)


def _moved(points: Points, start: float) -> Points:
    return tuple((start + seconds, value) for seconds, value in points)


def _plain(axes: Axes) -> None:
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    for side in ('left', 'bottom'):
        axes.spines[side].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.grid(axis='y', color='#ececec', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.yaxis.label.set_fontsize(10)
    axes.xaxis.label.set_fontsize(10)


def _draw_lanes(figure: Figure, axes: Axes, lanes: dict[str, list[Track]], colours: dict[str, str], divisor: float) -> None:
    """One bar per stage, alternately strong and weak, with its name inside where it fits; behind the last one the result.

    Of several seeds the bars are those of the first.
    """
    axes.set_ylim(len(lanes) - 0.45, -0.55)
    axes.set_yticks(range(len(lanes)), list(lanes), fontsize=10)
    axes.tick_params(axis='both', length=0)
    axes.grid(False)
    for side in ('left', 'bottom'):
        axes.spines[side].set_visible(False)
    texts = []
    for lane, (name, tracks) in enumerate(lanes.items()):
        axes.get_yticklabels()[lane].set(color=colours[name], fontweight='bold')
        strengths = itertools.cycle((1.0, 0.72))
        for span in tracks[0].spans:
            start, length = span.start / divisor, (span.end - span.start) / divisor
            colour, alpha = (_STORE, 1.0) if span.is_store else (colours[name], next(strengths))
            (bar,) = axes.barh(lane, length, left=start, height=0.62, color=colour, alpha=alpha, edgecolor='white', linewidth=1.2)
            text_colour = _INK if span.is_store else 'white'
            texts.append(
                (axes.text(start + length / 2, lane, span.name, color=text_colour, ha='center', va='center', fontsize=9), bar)
            )
        axes.text(
            tracks[0].spans[-1].end / divisor,
            lane,
            f'  {_result(tracks)}',
            color=colours[name],
            va='center',
            fontsize=10,
            fontweight='bold',
        )
    made = dict.fromkeys(span.name for tracks in lanes.values() for span in tracks[0].spans if span.is_store)
    if made:
        axes.set_title(f'grey: making {", ".join(made)}', fontsize=9, color=_FAINT, loc='right')
    # Only a laid-out figure knows how wide a bar is on paper.
    figure.draw_without_rendering()
    for text, bar in texts:
        text.set_visible(text.get_window_extent().width + 4 < bar.get_window_extent().width)


def _draw_losses(axes: Axes, track: Track, colour: str, divisor: float) -> None:
    for points in track.losses:
        seconds = [second / divisor for second, _ in points]
        axes.plot(seconds, [value for _, value in points], color=colour, alpha=0.22, linewidth=0.9)
        smooth = smoothed(points, max(1, len(points) // 12))
        axes.plot(seconds, [value for _, value in smooth], color=colour, linewidth=1.8)


def _draw_boundaries(all_axes: Sequence[Axes], track: Track, colour: str, divisor: float) -> None:
    for span in track.spans[1:]:
        for axes in all_axes:
            axes.axvline(span.start / divisor, color=colour, alpha=0.3, linewidth=0.8, linestyle=(0, (2, 3)))


def _draw_ap(axes: Axes, track: Track, colour: str, divisor: float, *, is_one_of_many: bool) -> None:
    if not track.ap:
        return
    seconds, values = [second / divisor for second, _ in track.ap], [value for _, value in track.ap]
    if not track.contained:
        style: dict[str, Any] = (
            {'linewidth': 0.7, 'alpha': 0.4, 'markersize': 2.0} if is_one_of_many else {'linewidth': 1.6, 'markersize': 3.5}
        )
        axes.plot(seconds, values, color=colour, marker='o', **style)
    face = 'white' if track.contained else colour
    size = 5 if is_one_of_many else 8
    axes.plot(seconds[-1:], values[-1:], 'o', color=colour, markerfacecolor=face, markersize=size, markeredgewidth=1.8, zorder=4)


def _draw_spread(axes: Axes, points: Sequence[SpreadPoint], colour: str, divisor: float) -> None:
    """The mean over the seeds, with its standard deviation as a band and, at the end, as a bar."""
    if not points:
        return
    seconds = [point.seconds / divisor for point in points]
    low, high = ([point.mean + sign * point.deviation for point in points] for sign in (-1, 1))
    axes.fill_between(seconds, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(seconds, [point.mean for point in points], color=colour, linewidth=1.8)
    axes.errorbar(seconds[-1:], [points[-1].mean], yerr=[points[-1].deviation], color=colour, capsize=4, linewidth=1.4, zorder=5)


def _result(tracks: Sequence[Track]) -> str:
    """The AP of tracks of one name: the number, or mean and sample standard deviation over the seeds."""
    values = [track.ap[-1][1] for track in tracks if track.ap]
    if not values:
        return ''
    spread = f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ''
    return f'AP {statistics.fmean(values):.3f}{spread}'
