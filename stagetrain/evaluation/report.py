"""The page of a run: the comparison, its picture, and what was done to every module in every stage.

    path.write_text(page(summaries, names, lines, notes))

One HTML file without scripts; it shows `compare.png`, and `detections.png` where there is one, from its own folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jinja2

from stagetrain.config import schema
from stagetrain.config.stages import live_losses
from stagetrain.evaluation.summary import RunSummary, StageSummary
from stagetrain.pipeline.graph import Origin, StageNode

_TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  :root { color-scheme: light; --ink: #222; --soft: #6b6b6b; --line: #e3e3e0; --accent: #0b66a8; }
  body { margin: 3rem auto; max-width: 62rem; padding: 0 1.25rem; color: var(--ink); background: #fff;
         font: 16px/1.55 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
  h1 { font-size: 1.7rem; margin: 0; }
  h2 { font-size: 1.15rem; margin: 2.75rem 0 .75rem; }
  h3 { font-size: 1rem; margin: 0; color: var(--accent); }
  .soft { color: var(--soft); }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
  th:first-child, td:first-child { text-align: left; white-space: pre; }
  th { font-weight: 600; }
  .best { font-weight: 600; }
  img { max-width: 100%; height: auto; }
  .stage { border-top: 1px solid var(--line); padding: 1.1rem 0; }
  dl { display: grid; grid-template-columns: 8.5rem 1fr; gap: .15rem 1rem; margin: .5rem 0 0; }
  dt { color: var(--soft); }
  dd { margin: 0; overflow-wrap: anywhere; }
  code { font: .88em ui-monospace, Menlo, Consolas, monospace; background: #f5f5f2; padding: .08em .35em; border-radius: 3px; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="soft">{{ subtitle }}</p>
{% if names %}
<h2>Comparison</h2>
<div class="wide"><table>
<tr><th></th>{% for name in names %}<th>{{ name }}</th>{% endfor %}</tr>
{% for label, cells, best in lines %}
<tr><td>{{ label }}</td>
{% for cell in cells %}
<td{% if loop.index0 in best %} class="best"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</table></div>
{% endif %}
{% for note in notes %}
<p class="soft">{{ note }}</p>
{% endfor %}
{% if names %}
<p><img src="compare.png" alt="Stages, loss and AP of every variant over wall-clock time"></p>
{% endif %}
{% if has_detections %}
<h2>Detections</h2>
<p><img src="detections.png" alt="Detections on validation images"></p>
<p class="soft">On validation images; dashed: the annotated boxes.</p>
{% endif %}
{% for heading, stages in runs %}
<h2>{{ heading }}</h2>
{% for stage in stages %}
<div class="stage">
<h3>{{ stage.name }}</h3>
<dl>
<dt>starts from</dt><dd>{{ stage.origins }}</dd>
<dt>losses</dt><dd>{{ stage.losses }}</dd>
{% for kind, maker in stage.artefacts.items() %}
<dt>{{ kind }}</dt><dd>{{ maker }}</dd>
{% endfor %}
{% if stage.trained is not none %}
<dt>trained only</dt><dd>{% for scope in stage.trained %}<code>{{ scope }}</code> {% else %}nothing{% endfor %}</dd>
{% endif %}
<dt>frozen</dt><dd>{% for scope in stage.frozen %}<code>{{ scope }}</code> {% else %}nothing by name{% endfor %}</dd>
<dt>cost</dt><dd>{{ stage.cost }}</dd>
{% if stage.metrics %}
<dt>metrics</dt><dd>{{ stage.metrics }}</dd>
{% endif %}
{% if stage.versions %}
<dt>computed with</dt><dd>{{ stage.versions }}</dd>
{% endif %}
</dl>
</div>
{% endfor %}
{% endfor %}
</body>
</html>
"""


@dataclasses.dataclass(frozen=True)
class StageView:
    """A stage as the page words it."""

    name: str
    origins: str
    losses: str
    artefacts: Mapping[str, str]
    trained: tuple[str, ...] | None
    """Scopes outside of which everything is frozen; None when the stage has none."""
    frozen: tuple[str, ...]
    cost: str
    metrics: str
    versions: str
    """Of packages, and whether oneDNN was on; empty when it is not finished."""


def page(
    summaries: Sequence[RunSummary],
    names: Sequence[str],
    lines: Sequence[tuple[str, Sequence[str], frozenset[int]]],
    notes: Sequence[str],
    *,
    has_detections: bool = False,
) -> str:
    """Returns the HTML page.

    Args:
      summaries: the runs, at least one.
      names: the comparison's columns.
      lines: the comparison's lines: label, a cell per column, the columns to stress.
      notes: sentences below the table.
      has_detections: whether `detections.png` lies beside the page.
    """
    pipeline = summaries[0].pipeline
    headings = ['Stages'] if len(summaries) == 1 else [f'Stages of {summary.path}' for summary in summaries]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE).render(
        title=pipeline.name,
        subtitle=f'{pipeline.model.type}, {len(pipeline.data.classes)} classes: {", ".join(pipeline.data.classes)}',
        names=names,
        lines=lines,
        notes=notes,
        has_detections=has_detections,
        runs=[(heading, stage_views(summary)) for heading, summary in zip(headings, summaries, strict=True)],
    )


def stage_views(summary: RunSummary) -> list[StageView]:
    """Returns every stage of a run in order, finished or not."""
    return [_view(node, summary.stages.get(stage_id)) for stage_id, node in summary.graph.nodes.items()]


def _view(node: StageNode, finished: StageSummary | None) -> StageView:
    stage = node.stage
    return StageView(
        name=node.id,
        origins=', '.join([*(f'{module} ← {_origin(origin)}' for module, origin in node.origins.items()), *node.made_of]),
        losses=', '.join(f'{name} × {weight:g}' for name, weight in live_losses(stage).items()),
        artefacts={kind: f'of {maker}' for kind, maker in node.reads.items()},
        trained=None if stage.train_variables is None else tuple(stage.train_variables),
        frozen=tuple(stage.freeze_variables),
        cost='not finished' if finished is None else _cost(finished),
        metrics='' if finished is None else _metrics(finished),
        versions='' if finished is None else ', '.join(f'{name} {value}' for name, value in sorted(finished.versions.items())),
    )


def _origin(origin: Origin) -> str:
    return 'initialiser' if origin.kind == schema.FRESH else origin.name


def _cost(stage: StageSummary) -> str:
    parts = sorted(stage.seconds_by_part.items(), key=lambda part: -part[1])
    seconds = ', '.join(f'{name} {value:,.1f} s' for name, value in parts)
    return (
        f'{stage.steps:,} steps, {stage.images:,} images, {stage.seconds:,.1f} s ({seconds}), '
        f'{stage.trained_parameters:,} trained parameters'
    )


def _metrics(stage: StageSummary) -> str:
    return ', '.join(f'{name} {value:.3f}' for name, value in stage.metrics.items() if value is not None)
