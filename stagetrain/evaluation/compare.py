"""Variants of a pipeline side by side: what each reached, and what it cost.

    summaries = load_summaries(run_dir)
    console.print(table(compare_runs(summaries)))
    write_report(run_dir, summaries)          # report/compare.json, compare.md, compare.png, index.html

Everything is computed from what finished stages left in the run directory; nothing is run. The cost of a variant is the sum over
its stages, those of others that it starts from included, and over the proposal stores that they trained on, each counted once.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import rich.table
import rich.text

from stagetrain import files
from stagetrain.config import metric_names
from stagetrain.config.metric_names import COMPARED, RECALL
from stagetrain.config.stages import spec_of
from stagetrain.errors import DataError
from stagetrain.evaluation import confidence, pictures, plots, report
from stagetrain.evaluation.confidence import Difference
from stagetrain.evaluation.summary import MadeEqual, RunSummary, VariantSummary, load_summaries
from stagetrain.pipeline import equal, run_files

__all__ = [
    'Comparison',
    'Line',
    'Row',
    'compare_runs',
    'comparison',
    'lines',
    'load_summaries',
    'markdown',
    'table',
    'write_report',
]

JUDGED = 'AP'
"""The metric by which sentences tell whether one variant is better."""
_COSTS = ('steps', 'images', 'seconds', 'trained_parameters')


@dataclasses.dataclass(frozen=True)
class Row:
    """One variant. With several seeds every number is the mean over them."""

    name: str
    metrics: Mapping[str, float | None]
    """`COMPARED` of the variant's result, and those at `evaluation.max_detections`; `recall_0.5` of the last of its
    stages that has proposals of its own; and all metrics of a result that measures itself (an experiment's)."""
    steps: float
    images: float
    seconds: float
    seconds_by_part: Mapping[str, float]
    trained_parameters: float
    """Sum over the stages: a variable that is trained in two stages counts twice, for it was trained twice."""
    stages: tuple[str, ...]
    seeds: int = 1
    deviations: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Sample standard deviation over the seeds, by metric and for `seconds`; empty for one seed."""

    def to_json(self) -> dict[str, Any]:
        """Returns the row as `compare.json` holds it."""
        costs = {name: getattr(self, name) for name in _COSTS}
        parts = {'seconds_by_part': dict(self.seconds_by_part), 'stages': list(self.stages)}
        spread = {'seeds': self.seeds, 'standard_deviation': dict(self.deviations)} if self.seeds > 1 else {}
        return {**self.metrics, **costs, **parts, **spread}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All variants that are finished, and what the others lack."""

    rows: tuple[Row, ...]
    unfinished: Mapping[str, tuple[str, ...]]
    """Variant -> ids of the stages that are not finished."""
    differences: Mapping[str, Difference] = dataclasses.field(default_factory=dict)
    """Variant -> how much more AP the pipeline, the first row, has than it."""
    made_equal: MadeEqual | None = None
    """How `--equal` decided the variants' lengths."""

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `compare.json`."""
        unfinished = {name: list(stages) for name, stages in self.unfinished.items()}
        whole: dict[str, Any] = {'variants': {row.name: row.to_json() for row in self.rows}, 'unfinished': unfinished}
        if self.differences:
            whole['differences'] = {
                name: {'metric': JUDGED, 'confidence': confidence.CONFIDENCE, **dataclasses.asdict(difference)}
                for name, difference in self.differences.items()
            }
        return whole | ({'equal': dataclasses.asdict(self.made_equal)} if self.made_equal is not None else {})

    def sentences(self) -> list[str]:
        """Returns what a reader of the table should know, in words."""
        first = self.rows[0].name if self.rows else ''
        better = [difference.words(first, name, JUDGED) for name, difference in self.differences.items()]
        missing = [f'{name} is not in the table: not finished: {", ".join(stages)}' for name, stages in self.unfinished.items()]
        return [*better, *(self.made_equal.notes if self.made_equal is not None else ()), *missing]


@dataclasses.dataclass(frozen=True)
class Line:
    """One quantity over all variants, as text. `best` are the columns with the highest value, where higher is better."""

    label: str
    cells: tuple[str, ...]
    best: frozenset[int] = frozenset()


def compare_runs(summaries: Sequence[RunSummary]) -> Comparison:
    """Compares the variants of one run, of several runs, or of one pipeline over several seeds.

    Runs that differ in nothing but their seed give one row per variant, with mean and standard deviation; other runs give a
    row per run and variant, named `run/variant`.

    Args:
      summaries: at least one.
    """
    each = [comparison(summary) for summary in summaries]
    if len(each) == 1 or are_seeds(summaries):
        found = each[0] if len(each) == 1 else _over_seeds(each)
        return dataclasses.replace(found, differences=differences(each), made_equal=summaries[0].made_equal)
    rows: list[Row] = []
    unfinished: dict[str, tuple[str, ...]] = {}
    for summary, label, one in zip(summaries, _labels(summaries), each, strict=True):
        prefix = f'{label}/' if len(summary.variants) > 1 else f'{label}: '
        rows += [dataclasses.replace(row, name=prefix + row.name) for row in one.rows]
        unfinished |= {prefix + name: stages for name, stages in one.unfinished.items()}
    return Comparison(tuple(rows), unfinished)


def comparison(summary: RunSummary) -> Comparison:
    """Compares the variants of one run."""
    missing = {
        variant.name: tuple(stage for stage in variant.stages if stage not in summary.stages) for variant in summary.variants
    }
    return Comparison(
        rows=tuple(_row(summary, variant) for variant in summary.variants if not missing[variant.name]),
        unfinished={name: stages for name, stages in missing.items() if stages},
    )


def differences(comparisons: Sequence[Comparison]) -> dict[str, Difference]:
    """Returns variant -> how much more AP the pipeline has than it, paired over the runs that have both.

    Args:
      comparisons: of one pipeline, one for each seed.
    """
    measured = [{row.name: row.metrics.get(JUDGED) for row in one.rows} for one in comparisons]
    first, *others = dict.fromkeys(row.name for one in comparisons for row in one.rows) or ('',)
    found = {}
    for other in others:
        pairs = [(values.get(first), values.get(other)) for values in measured]
        whole = [(one, two) for one, two in pairs if one is not None and two is not None]
        if whole:
            found[other] = confidence.paired([one for one, _ in whole], [two for _, two in whole])
    return found


def are_seeds(summaries: Sequence[RunSummary]) -> bool:
    """Tells whether runs differ in their seed and in nothing else."""
    different = {summary.pipeline.seed for summary in summaries}
    same = [summary.pipeline.model_copy(update={'seed': 0}) for summary in summaries]
    return len(different) == len(summaries) and all(pipeline == same[0] for pipeline in same)


def lines(comparison: Comparison) -> list[Line]:
    """Returns the table's lines: metrics first, then costs. A quantity that no variant has is left out."""
    rows = comparison.rows
    found = []
    usual = (*COMPARED, RECALL)
    for name in (*usual, *sorted({name for row in rows for name in row.metrics} - set(usual))):
        values = [row.metrics.get(name) for row in rows]
        if any(value is not None for value in values):
            cells = tuple(_metric(value, row.deviations.get(name)) for value, row in zip(values, rows, strict=True))
            found.append(Line(name, cells, _best(values) if name in usual else frozenset()))  # Of others lower may be better.
    found += [_cost_line(name, [getattr(row, name) for row in rows]) for name in ('steps', 'images')]
    if comparison.made_equal is not None and comparison.made_equal.by == equal.TIME:
        found.append(Line('seconds, as planned', tuple(_seconds(comparison.made_equal.target) for _ in rows)))
    found.append(Line('seconds', tuple(_seconds(row.seconds, row.deviations.get('seconds')) for row in rows)))
    parts = {part: sum(row.seconds_by_part.get(part, 0.0) for row in rows) for row in rows for part in row.seconds_by_part}
    found += [
        Line(f'  {part}', tuple(_seconds(row.seconds_by_part.get(part, 0.0)) for row in rows))
        for part in sorted(parts, key=lambda part: -parts[part])
    ]
    found.append(_cost_line('trained parameters', [row.trained_parameters for row in rows]))
    return found


def table(comparison: Comparison) -> rich.table.Table:
    """Returns the table for the terminal: a column per variant, the best metrics in bold."""
    shown = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column('')
    for row in comparison.rows:
        shown.add_column(rich.text.Text(row.name), justify='right')
    for line in lines(comparison):
        cells = [rich.text.Text(cell, 'bold' if column in line.best else '') for column, cell in enumerate(line.cells)]
        shown.add_row(rich.text.Text(line.label, 'dim' if line.label.startswith(' ') else ''), *cells)
    return shown


def markdown(comparison: Comparison) -> str:
    """Returns the same table in Markdown."""
    header = ['', *(row.name for row in comparison.rows)]
    text = [_markdown_row(header), _markdown_row(['---', *('---:' for _ in comparison.rows)])]
    for line in lines(comparison):
        cells = [f'**{cell}**' if column in line.best else cell for column, cell in enumerate(line.cells)]
        # Markdown swallows leading spaces; a part of the line above is marked by a dash.
        text.append(_markdown_row([line.label.replace('  ', '– '), *cells]))
    return '\n'.join([*text, *(f'\n{sentence}' for sentence in comparison.sentences())]) + '\n'


def write_report(run_dir: pathlib.Path, summaries: Sequence[RunSummary]) -> pathlib.Path:
    """Writes `report/compare.json`, `compare.md`, `compare.png`, `index.html` and, of the first run, `detections.png`.

    Args:
      run_dir: where `report/` is made.
      summaries: at least one.

    Returns:
      The page's path.

    Raises:
      OSError: the disk is full or read-only.
      DamagedFile: the detections of a stage cannot be read.
    """
    folder = run_dir / run_files.REPORT
    folder.mkdir(parents=True, exist_ok=True)
    found = compare_runs(summaries)
    files.write_json(folder / 'compare.json', found.to_json())
    files.atomic_write(folder / 'compare.md', markdown(found))
    files.atomic_write(folder / 'compare.png', plots.png(plots.curves_figure(plots.tracks(summaries))))
    notes = [*found.sentences(), *_write_detections(folder / 'detections.png', summaries[0])]
    cells = [(line.label, line.cells, line.best) for line in lines(found)]
    page = report.page(
        summaries, [row.name for row in found.rows], cells, notes, has_detections=(folder / 'detections.png').is_file()
    )
    files.atomic_write(folder / 'index.html', page)
    return folder / 'index.html'


def _write_detections(path: pathlib.Path, summary: RunSummary) -> list[str]:
    """Draws the result of the first finished variant; returns why there is no picture, where there is none."""
    path.unlink(missing_ok=True)
    results = [variant.result for variant in summary.variants if variant.result in summary.stages]
    if not results:
        return []
    try:
        sheet = pictures.detections_sheet(summary, results[0])
    except DataError as error:  # The images may have moved since; the numbers stand without them.
        return [f'No picture of detections: {error}']
    if sheet is not None:
        buffer = io.BytesIO()
        sheet.save(buffer, format='png')
        files.atomic_write(path, buffer.getvalue())
    return []


def _row(summary: RunSummary, variant: VariantSummary) -> Row:
    stages = [summary.stages[stage] for stage in variant.stages]
    made = [summary.artefacts[store] for store in dict.fromkeys(store for stage in stages for store in stage.stores)]
    parts: dict[str, float] = {}
    for stage in stages:
        for part, seconds in stage.seconds_by_part.items():
            parts[part] = parts.get(part, 0.0) + seconds
    for artefact in made:
        parts[artefact.kind] = parts.get(artefact.kind, 0.0) + artefact.seconds
    result, most = summary.stages[variant.result].metrics, summary.pipeline.evaluation.max_detections
    reads_images = spec_of(summary.pipeline, summary.graph.nodes[variant.result].stage).reads_images
    recalls = [stage.metrics[RECALL] for stage in stages if stage.metrics.get(RECALL) is not None]
    return Row(
        name=variant.name,
        metrics={
            **({} if reads_images else result),
            **{name: result.get(name) for name in COMPARED},
            **{name: result.get(name) for name in (metric_names.at(most) if most is not None else ())},
            RECALL: recalls[-1] if recalls else None,
        },
        steps=sum(stage.steps for stage in stages),
        images=sum(stage.images for stage in stages),
        seconds=sum(stage.seconds for stage in stages) + sum(artefact.seconds for artefact in made),
        seconds_by_part=parts,
        trained_parameters=sum(stage.trained_parameters for stage in stages),
        stages=variant.stages,
    )


def _over_seeds(comparisons: Sequence[Comparison]) -> Comparison:
    by_name: dict[str, list[Row]] = {}
    for row in (row for one in comparisons for row in one.rows):
        by_name.setdefault(row.name, []).append(row)
    unfinished: dict[str, tuple[str, ...]] = {}
    for name, stages in (item for one in comparisons for item in one.unfinished.items()):
        unfinished[name] = tuple(dict.fromkeys([*unfinished.get(name, ()), *stages]))
    return Comparison(tuple(_mean_row(rows) for rows in by_name.values()), unfinished)


def _mean_row(rows: Sequence[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    measured = {name: [row.metrics[name] for row in rows] for name in rows[0].metrics}
    # A metric that one seed lacks has no mean that could be compared.
    complete = {name: [float(value) for value in values if value is not None] for name, values in measured.items()}
    complete = {name: values for name, values in complete.items() if len(values) == len(rows)}
    seconds = [row.seconds for row in rows]
    parts = dict.fromkeys(part for row in rows for part in row.seconds_by_part)
    return Row(
        name=rows[0].name,
        metrics={name: statistics.fmean(complete[name]) if name in complete else None for name in measured},
        steps=statistics.fmean(row.steps for row in rows),
        images=statistics.fmean(row.images for row in rows),
        seconds=statistics.fmean(seconds),
        seconds_by_part={part: statistics.fmean(row.seconds_by_part.get(part, 0.0) for row in rows) for part in parts},
        trained_parameters=statistics.fmean(row.trained_parameters for row in rows),
        stages=rows[0].stages,
        seeds=len(rows),
        deviations={name: statistics.stdev(values) for name, values in {**complete, 'seconds': seconds}.items()},
    )


def _labels(summaries: Sequence[RunSummary]) -> list[str]:
    """The folders' names, or their whole paths where two have the same name."""
    names = [summary.label for summary in summaries]
    return names if len(set(names)) == len(names) else [str(summary.path) for summary in summaries]


def _cost_line(label: str, values: Sequence[float]) -> Line:
    return Line(label, tuple(f'{value:,.0f}' for value in values))


def _metric(value: float | None, deviation: float | None) -> str:
    if value is None:
        return '–'
    return f'{value:.3f}' if deviation is None else f'{value:.3f} ± {deviation:.3f}'


def _seconds(value: float, deviation: float | None = None) -> str:
    digits = 1 if value < 100 else 0
    return f'{value:,.{digits}f}' if deviation is None else f'{value:,.{digits}f} ± {deviation:,.{digits}f}'


def _best(values: Sequence[float | None]) -> frozenset[int]:
    measured = [value for value in values if value is not None]
    if len(values) < 2 or not measured:
        return frozenset()
    return frozenset(column for column, value in enumerate(values) if value == max(measured))


def _markdown_row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cell.replace("|", "&#124;") for cell in cells)} |'
