"""Faults of disks, machines and clocks under saves and runs, many times: nothing saved is lost, and one process writes.

    python scripts/campaign_faults.py commit --trials=5000
    python scripts/campaign_faults.py full_disk --trials=13 --seed=7

Kinds: see `KINDS`; the module of each says what a trial is. Prints one JSON object; the exit code is 1 when a trial failed, and 2
when this machine cannot inject such faults.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # Run from a clone, nothing need be installed.

from scripts.faults import calls, clock, commit, disk, locks, rotten, wrong_numbers
from stagetrain.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED

NUM_FAILURES_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of fault: `trials(work, count, draw)` yields what was wrong in each of at most `count` trials."""

    trials: Callable[[pathlib.Path, int, random.Random], Iterator[list[str]]]
    count: int
    is_possible: Callable[[], bool] = lambda: True


KINDS = {
    'commit': Kind(commit.killed_savers, 5000),
    'rotten': Kind(rotten.damaged_checkpoints, 5000),
    'calls': Kind(calls.injected_calls, 10_000, calls.is_possible),
    'full_disk': Kind(disk.full_disks, 13, disk.can_mount),
    'short_files': Kind(disk.short_files, 10),
    'races': Kind(locks.races, 1000),
    'take_overs': Kind(locks.take_overs, 500),
    'clock': Kind(clock.jumps, 200),
    'wrong_numbers': Kind(wrong_numbers.wrong_numbers, 60),
}


def main() -> int:
    """Runs the trials of one kind and returns the exit code."""
    options = _options()
    kind = KINDS[options.kind]
    if not kind.is_possible():
        print(f'campaign_faults: {options.kind}: this machine does not let such faults be injected', file=sys.stderr)
        return EXIT_BAD_INPUT
    work = pathlib.Path(tempfile.mkdtemp(prefix='campaign-faults-', dir=options.work_dir))
    count = options.trials or kind.count
    started = time.monotonic()
    found = list(kind.trials(work, count, random.Random(options.seed)))
    failures = [faults for faults in found if faults]
    report = {'kind': options.kind, 'trials': len(found), 'failed': len(failures)}
    report['seconds'] = round(time.monotonic() - started, 1)
    print(json.dumps({**report, 'failures': failures[:NUM_FAILURES_SHOWN]}, indent=1))
    if failures:
        print(f'What failed is kept in {work}', file=sys.stderr)
        return EXIT_FAILED
    shutil.rmtree(work)
    return EXIT_DONE


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('kind', choices=KINDS)
    parser.add_argument('--trials', type=int, help='default: as in docs/reliability.md')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work_dir', help='where to work; default: the temporary folder')
    return parser.parse_args()


if __name__ == '__main__':
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    sys.exit(main())
