"""What the runner itself takes of a stage's wall time: checkpoints, digests, the freeze proof, ledger and lock.

    python scripts/bench_own_cost.py --json=own_cost.json        # four stages of 600 steps; --steps=100 for a quick look

The benchmark's four-step pipeline runs as a user runs it. A stage's process tells the wall seconds of its checkpoints and
proofs, as it tells every user; of the command's own process all processor time counts, from the pipeline file to the last ledger
line. Waiting for a child to start is not in it: the row `pipeline` of `bench_stages.py` has that.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import bench_stages

from stagetrain import files
from stagetrain.cli import main as command_line
from stagetrain.errors import StageFailed
from stagetrain.pipeline.rundir import RunDirectory

OWN_PARTS = {
    'checkpoints': 'checkpoints: trial step, files, digests',
    'proofs': 'the proof that nothing frozen moved',
}
"""A part of a stage's seconds -> how the table calls it."""


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
        started = time.process_time()
        exit_code = command_line.main(['run', str(config), f'--run_dir={folder / "run"}'])
        own_process = time.process_time() - started
        if exit_code:
            raise StageFailed(f'stagetrain run: ended with exit code {exit_code}')
        stages = {name: entry.result for name, entry in RunDirectory(folder / 'run').lock().stages.items()}
    return report_of(stages, own_process)


def report_of(stages: Mapping[str, Mapping[str, Any]], own_process: float) -> dict[str, Any]:
    """Returns the report of stages' results and of the processor seconds of the command's own process."""
    parts = {shown: sum(result['seconds_by_part'][part] for result in stages.values()) for part, shown in OWN_PARTS.items()}
    parts['plan, decisions, lock, ledger, progress'] = own_process
    seconds = {name: result['seconds'] for name, result in stages.items()}
    return {'stages': seconds, 'parts': parts, 'share': sum(parts.values()) / sum(seconds.values())}


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
