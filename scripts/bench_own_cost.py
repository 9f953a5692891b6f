"""What the runner itself takes of a stage's wall time: checkpoints, digests, the freeze proof, metrics, ledger and lock.

    python scripts/bench_own_cost.py --json=own_cost.json        # four stages of 600 steps; --steps=100 for a quick look

The benchmark's four-step pipeline runs in this process under Python's profiler, whose own cost is part of what it reports, so the
shares are upper bounds. Starting processes is not in them: the row `pipeline` of `bench_stages.py` has it.
"""

from __future__ import annotations

import argparse
import cProfile
import pathlib
import pstats
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bench_stages

from stagetrain import files
from stagetrain.cli import main as command_line
from stagetrain.cli.process import InProcessWorker
from stagetrain.errors import StageFailed
from stagetrain.pipeline import runner
from stagetrain.pipeline.ledger import Ledger
from stagetrain.training import checkpoint
from stagetrain.training.loop import Loop
from stagetrain.weights import assign

STAGES = tuple(stage for row, stage in bench_stages.STEP_ROWS.items() if row != 'end_to_end')


def own_seconds(stats: pstats.Stats) -> dict[str, float]:
    """Returns part -> seconds of a run in one process. What one part calls of another counts once."""
    parent = _seconds(stats, runner.run) - _seconds(stats, InProcessWorker.carry_out)
    return {
        'checkpoints, with their trial step, digests and manifests': _seconds(stats, Loop._save)
        + _seconds(stats, checkpoint.restore_newest),
        'digests and the freeze proof': _seconds(stats, assign.digests),
        'metrics': _seconds(stats, files.append_json_line, apart_from=Ledger.record),
        'deciding, lock, ledger, progress': parent + _seconds(stats, runner._Stage._receive),
    }


def _seconds(stats: pstats.Stats, function: Callable[..., Any], apart_from: Callable[..., Any] | None = None) -> float:
    """Returns the seconds spent in a function and all that it calls, but for calls by `apart_from`."""
    measured = stats.stats.get(_key(function))  # type: ignore[attr-defined]
    if measured is None:
        return 0.0
    _, _, _, cumulative, callers = measured
    return cumulative - (callers[_key(apart_from)][3] if apart_from and _key(apart_from) in callers else 0.0)


def _key(function: Callable[..., Any]) -> tuple[str, int, str]:
    code = function.__code__
    return code.co_filename, code.co_firstlineno, code.co_name


def measure(num_steps: int | None) -> dict[str, Any]:
    """Runs the four steps; returns their wall seconds, the seconds of each part, and the share of all parts.

    Raises:
      StageFailed: the run did not end well.
    """
    settings = bench_stages.FULL
    with tempfile.TemporaryDirectory(prefix='bench_own_cost_') as name:
        folder = pathlib.Path(name)
        data = bench_stages.data_section('synthetic', folder, settings)
        config = bench_stages.pipeline_files(folder, data, num_steps or settings.num_steps)['four_step']
        profile = cProfile.Profile()
        exit_code = profile.runcall(command_line.main, ['run', str(config), f'--run_dir={folder / "run"}', '--in_process'])
        if exit_code:
            raise StageFailed(f'stagetrain run: ended with exit code {exit_code}')
        lines = files.read_json_lines(folder / 'run' / 'ledger.jsonl')
    stages = {line['job']: line['seconds'] for line in lines if line['event'] == 'finished' and line['job'] in STAGES}
    parts = own_seconds(pstats.Stats(profile))
    return {'stages': stages, 'parts': parts, 'share': sum(parts.values()) / sum(stages.values())}


def markdown(report: Mapping[str, Any]) -> str:
    """Returns a finished run's table for `docs/performance.md`."""
    total = sum(report['stages'].values())
    rows = [*report['parts'].items(), ('**all**', sum(report['parts'].values()))]
    lines = ['| part | seconds | share |', '| --- | ---: | ---: |']
    lines += [f'| {name} | {seconds:.2f} | {seconds / total:.2%} |' for name, seconds in rows]
    return '\n'.join(lines) + f'\n\nOf {total:.0f} seconds in four stages.\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description="Measures the runner's own cost.", allow_abbrev=False)
    parser.add_argument('--steps', type=int, help='steps of each stage')
    parser.add_argument('--json', type=pathlib.Path, help='write the report there')
    given = parser.parse_args(arguments)
    report = measure(given.steps)
    print(markdown(report), end='')
    if given.json:
        files.write_json(given.json, report)
    return 0


if __name__ == '__main__':
    sys.exit(main())
