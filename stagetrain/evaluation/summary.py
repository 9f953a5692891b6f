"""What a run directory tells about its finished stages, as plain values. Tables, plots and pages are made of these.

(run,) = load_summaries(pathlib.Path('runs/bccd'))
run.variants[0].stages          # ('rpn_1', 'detector_1', 'rpn_2', 'detector_2')
run.stages['rpn_1'].seconds     # 61.2
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from stagetrain import files
from stagetrain.config import schema
from stagetrain.config.load import load_resolved
from stagetrain.config.stages import trained_stages
from stagetrain.errors import RunDirectoryError
from stagetrain.pipeline import fingerprint, jobs, run_files
from stagetrain.pipeline.equal import EQUAL
from stagetrain.pipeline.graph import Graph, build_graph
from stagetrain.pipeline.lock import Lock, read_lock
from stagetrain.pipeline.records import MetricsLine
from stagetrain.pipeline.rundir import RunDirectory


@dataclasses.dataclass(frozen=True)
class StageSummary:
    """One trained stage."""

    steps: int
    images: int
    """Images seen, each as often as it was seen."""
    seconds: float
    seconds_by_part: Mapping[str, float]
    trained_parameters: int
    metrics: Mapping[str, float | None]
    stores: tuple[str, ...] = ()
    """Artefacts that it trained on, by fingerprint."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """With what it was computed: versions of packages, and oneDNN `on` or `off`."""


@dataclasses.dataclass(frozen=True)
class Artefact:
    """What one stage made for another: its kind, and the seconds that it took."""

    kind: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Curves:
    """A stage over its own time. Points are (seconds since the stage's start, value)."""

    loss: tuple[tuple[float, float], ...] = ()
    """Sum of the loss terms as logged, without regularisation."""
    ap: tuple[tuple[float, float], ...] = ()


@dataclasses.dataclass(frozen=True)
class MadeEqual:
    """Lengths that `compare --equal` decided."""

    by: str
    """`time`, `steps` or `images`."""
    target: float
    """What every variant was to come to: seconds, by the speed that was measured before, steps or images."""
    notes: tuple[str, ...]
    """The rule, and what it came to."""


@dataclasses.dataclass(frozen=True)
class VariantSummary:
    """A way from the sources to a detector: its stages in order, those of others that it starts from included."""

    name: str
    stages: tuple[str, ...]
    result: str
    """The stage whose checkpoint is the variant's."""


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """A run directory at one moment."""

    path: pathlib.Path
    pipeline: schema.PipelineBase
    graph: Graph
    variants: tuple[VariantSummary, ...]
    """The pipeline itself first."""
    stages: Mapping[str, StageSummary]
    """Those that are finished, by id."""
    artefacts: Mapping[str, Artefact]
    """What stages made for others, by fingerprint."""
    curves: Mapping[str, Curves]
    made_equal: MadeEqual | None = None
    """How `compare --equal` made the variants as long as the pipeline, where their lengths are still those."""

    @property
    def label(self) -> str:
        """Returns the folder's name."""
        return self.path.name


def load_summaries(*run_dirs: pathlib.Path) -> list[RunSummary]:
    """Reads run directories, in the order given.

    Raises:
      RunDirectoryError: one is not a run directory.
      ConfigError: its `run.yaml` cannot be read.
      DamagedFile: its lock, a job file or a metrics file cannot be read.
    """
    return [_load(pathlib.Path(os.path.abspath(run_dir))) for run_dir in run_dirs]


def variants_of(pipeline: schema.PipelineBase, graph: Graph) -> tuple[VariantSummary, ...]:
    """Returns the pipeline itself, under its name, and what its `compare` section names."""
    own = tuple(stage.name for stage in pipeline.stages)
    # A variant of the pipeline's own name would hide it.
    name = f'{pipeline.name} (pipeline)' if pipeline.name in pipeline.compare else pipeline.name
    variants = [VariantSummary(name, own, own[-1])]
    for name, variant in pipeline.compare.items():
        if variant.stages is None:
            assert variant.until is not None
            results = [variant.until]
        else:
            results = [f'{name}.{stage.name}' for stage in variant.stages]
        needed = {*results, *(ancestor for result in results for ancestor in graph.ancestors(result))}
        variants.append(VariantSummary(name, tuple(stage for stage in graph.nodes if stage in needed), results[-1]))
    return tuple(variants)


def _load(run_dir: pathlib.Path) -> RunSummary:
    if not (run_dir / run_files.CONFIG).is_file():
        raise RunDirectoryError(
            f'{run_dir}: no run.yaml in it; expected a run directory, as `stagetrain run --run_dir=...` makes it'
        )
    pipeline = load_resolved(run_dir / run_files.CONFIG).pipeline
    graph = build_graph(pipeline)
    lock = read_lock(run_dir / run_files.LOCK)
    finished = [stage_id for stage_id in graph.nodes if stage_id in lock.stages]
    return RunSummary(
        path=run_dir,
        pipeline=pipeline,
        graph=graph,
        variants=variants_of(pipeline, graph),
        stages={stage_id: _finished(run_dir, stage_id, lock) for stage_id in finished},
        artefacts={key: Artefact(kind, float(entry.result['seconds'])) for kind, key, entry in lock.all_artefacts()},
        curves={stage_id: read_curves(RunDirectory(run_dir).stage(stage_id) / run_files.METRICS) for stage_id in finished},
        made_equal=_made_equal(run_dir, pipeline),
    )


def _made_equal(run_dir: pathlib.Path, pipeline: schema.PipelineBase) -> MadeEqual | None:
    """Returns what `--equal` decided, unless the stages have other lengths since."""
    kept = RunDirectory(run_dir).lengths().get(EQUAL)
    steps = {entry.id: entry.stage.train.steps for entry in trained_stages(pipeline) if entry.stage.train.steps is not None}
    if kept is None or any(kept['steps'].get(stage_id) != count for stage_id, count in steps.items()):
        return None
    return MadeEqual(kept['by'], float(kept['target']), tuple(kept['notes']))


def _finished(run_dir: pathlib.Path, stage_id: str, lock: Lock) -> StageSummary:
    entry, known = lock.stages[stage_id], {key for _, key, _ in lock.all_artefacts()}
    result = entry.result
    job_file = RunDirectory(run_dir).stage(stage_id) / run_files.JOB
    stores = jobs.recorded_job(job_file).artefacts if job_file.is_file() else ()
    return StageSummary(
        steps=int(result['step']),
        images=int(result['num_images']),
        seconds=float(result['seconds']),
        seconds_by_part=dict(result['seconds_by_part']),
        trained_parameters=int(result['num_trained_parameters']),
        metrics=dict(result['metrics']),
        stores=tuple(key for key in (pathlib.PurePath(folder).name for folder in stores) if key in known),
        versions=fingerprint.versions_in(entry.parts),
    )


def read_curves(metrics_file: pathlib.Path) -> Curves:
    """Reads a stage's `metrics.jsonl`; a missing file gives no points.

    Raises:
      DamagedFile: a line is not JSON; the message names it.
    """
    loss, ap = [], []
    lines: list[MetricsLine] = files.read_json_lines(metrics_file)
    for line in lines:
        if line.get('losses'):
            loss.append((float(line['seconds']), float(sum(line['losses'].values()))))
        if (value := line.get('evaluation', {}).get('AP')) is not None:
            ap.append((float(line['seconds']), float(value)))
    return Curves(tuple(loss), tuple(ap))
