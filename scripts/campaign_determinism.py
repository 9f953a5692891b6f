"""The same stage on an idle machine, a loaded one, and one core, with 1, 2 and 4 pinned threads: equal bits for equal threads.

    python scripts/campaign_determinism.py                # every surroundings with every number of threads
    python scripts/campaign_determinism.py --threads 2 --surroundings idle one_core

Each trial is `stagetrain run` with real child processes on a small pipeline. Prints one JSON object; the exit code is 1 when
two trials of equal thread counts differ in one bit of weights, statistics or optimizer slots.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # Run from a clone, nothing need be installed.

import campaign_tiny

from stagetrain.errors import EXIT_DONE, EXIT_FAILED
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers.environment import prepare_environment

ROOT = pathlib.Path(__file__).resolve().parents[1]
STAGE = 'rpn_1'
SPIN = 'while True: pass'


@contextlib.contextmanager
def _idle() -> Iterator[Callable[[], None] | None]:
    """Nothing beside it."""
    yield None


@contextlib.contextmanager
def _loaded() -> Iterator[Callable[[], None] | None]:
    """As many busy processes beside it as there are cores."""
    busy = [subprocess.Popen([sys.executable, '-c', SPIN]) for _ in os.sched_getaffinity(0)]
    try:
        yield None
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _one_core() -> Iterator[Callable[[], None] | None]:
    """All its processes on one core."""
    core = min(os.sched_getaffinity(0))
    yield lambda: os.sched_setaffinity(0, {core})


SURROUNDINGS = {'idle': _idle, 'again': _idle, 'loaded': _loaded, 'one_core': _one_core}


def main() -> int:
    """Runs all trials and returns the exit code."""
    options = _options()
    work = pathlib.Path(tempfile.mkdtemp(prefix='campaign-determinism-', dir=options.work_dir))
    config = campaign_tiny.make_tiny(work, num_steps=20)
    started = time.monotonic()
    found = {threads: _trials(work, config, threads, options.surroundings) for threads in options.threads}
    differing = [f'{threads} threads: {name}' for threads, trials in found.items() for name in _different(trials)]
    report = {
        'trials': sum(map(len, found.values())),
        'tensors': len(_first(found[options.threads[0]])),
        'failed': len(differing),
        'differing': differing,
        'different_results_over_thread_counts': len({json.dumps(_first(trials), sort_keys=True) for trials in found.values()}),
        'seconds': round(time.monotonic() - started, 1),
    }
    print(json.dumps(report, indent=1))
    if differing:
        print(f'What differs is kept in {work}', file=sys.stderr)
        return EXIT_FAILED
    shutil.rmtree(work)
    return EXIT_DONE


def _trials(work: pathlib.Path, config: pathlib.Path, threads: int, surroundings: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns surroundings -> tensor -> digest."""
    found = {}
    for name in surroundings:
        directory = RunDirectory(work / f'{threads}-{name}')
        if found:  # The check of the pipeline against the network holds for the others too.
            shutil.copytree(work / f'{threads}-{surroundings[0]}' / 'cache', directory.cache)
        found[name] = _trial(directory, config, threads, name)
    return found


def _trial(directory: RunDirectory, config: pathlib.Path, threads: int, surroundings: str) -> dict[str, str]:
    run_dir = directory.path
    command = [sys.executable, '-m', 'stagetrain.cli.main', 'run', str(config), '--only', STAGE, '--run_dir', str(run_dir)]
    for pool in ('intra_op_threads', 'inter_op_threads'):
        command += ['--set', f'runtime.{pool}={threads}']
    with SURROUNDINGS[surroundings]() as before:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=before, check=False)
    if done.returncode != EXIT_DONE:
        raise SystemExit(f'{surroundings}, {threads} threads: exit code {done.returncode}: {done.stderr[-2000:]}')
    return _tensors(directory.checkpoint(directory.lock().stages[STAGE].result))


def _tensors(checkpoint: pathlib.Path) -> dict[str, str]:
    prepare_environment()
    from stagetrain.weights import tensor_checks

    return tensor_checks.tensor_digests(checkpoint)


def _different(trials: dict[str, dict[str, str]]) -> list[str]:
    return [name for name, tensors in trials.items() if tensors != _first(trials)]


def _first(trials: dict[str, dict[str, str]]) -> dict[str, str]:
    return next(iter(trials.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2, 4])
    parser.add_argument('--surroundings', choices=SURROUNDINGS, nargs='+', default=list(SURROUNDINGS))
    parser.add_argument('--work_dir', help='where to work; default: the temporary folder')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
