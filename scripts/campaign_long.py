"""A pipeline of many stages, watched from outside: memory, file handles, threads and processes do not grow from stage to stage.

    python scripts/campaign_long.py --stages=20                          # real stages, with TensorFlow
    python scripts/campaign_long.py --stages=20 --without_tensorflow     # the same runner, stages of a hash chain

Watched are the command and all its child processes. In the last stage the command is killed with SIGKILL: its children must save
and end within 10 s, and the same command must then go on to the end. Prints one JSON object; the exit code is 1 when something
grew by more than 5 % from the third stage on (medians of the later against the earlier half), stayed behind, or listened.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # Run from a clone, nothing need be installed.

import campaign_tiny

from scripts import process_tree
from scripts.process_tree import NOTHING, Usage
from stagetrain.errors import EXIT_DONE, EXIT_FAILED
from stagetrain.pipeline.file_checks import verify
from stagetrain.pipeline.rundir import RunDirectory
from tests.fakes import project

ROOT = pathlib.Path(__file__).resolve().parents[1]
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_SAVE_AND_END = 10.0
SECONDS_OF_A_STAGE = 300.0


@dataclasses.dataclass(frozen=True)
class Arena:
    """A pipeline of equal stages in a row, and the program that runs it."""

    config: pathlib.Path
    num_stages: int
    program: str
    environ: Mapping[str, str]

    @property
    def directory(self) -> RunDirectory:
        """The run directory."""
        return RunDirectory(self.config.parent / 'run')

    @property
    def log(self) -> pathlib.Path:
        """What the command prints."""
        return self.config.with_suffix('.log')

    @property
    def last(self) -> str:
        """The last stage's id."""
        return _name(self.num_stages - 1)

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the command."""
        command = [sys.executable, '-m', self.program, 'run', str(self.config), '--run_dir', str(self.directory.path)]
        with open(self.log, 'ab') as log:
            return subprocess.Popen(command, cwd=ROOT, env=self.environ, stdout=log, stderr=log)

    def stage_at_work(self) -> str | None:
        """Returns the stage that was begun last."""
        begun = [line['job'] for line in self.directory.ledger.read() if line['event'] == 'started']
        return begun[-1] if begun else None

    def last_is_half_done(self) -> bool:
        """Returns whether the last stage has a checkpoint."""
        return any(self.directory.stage(self.last).glob('checkpoints/step-*'))


def main() -> int:
    """Runs the campaign and returns the exit code."""
    options = _options()
    work = pathlib.Path(tempfile.mkdtemp(prefix='campaign-long-', dir=options.work_dir))
    arena = (_without_tensorflow if options.without_tensorflow else _with_tensorflow)(work, options.stages)
    started = time.monotonic()
    parent = arena.start()
    peaks, listening = _watch(arena, parent)
    children = process_tree.tree(parent.pid)[1:]
    parent.kill()
    parent.wait()
    seconds_to_end = _wait_for_end(children)
    code = arena.start().wait(SECONDS_OF_A_STAGE)
    faults = process_tree.growth(peaks) + [f'a process listened at {address}' for address in sorted(listening)]
    if seconds_to_end is None:
        faults.append(f'children of the killed command are left after {SECONDS_TO_SAVE_AND_END} s')
    if code != EXIT_DONE:
        faults.append(f'behind the kill the command ended with exit code {code}: {arena.log.read_text()[-800:]}')
    faults += verify(arena.directory).wrong
    report = {
        'stages': options.stages,
        'failed': len(faults),
        'faults': faults,
        'seconds': round(time.monotonic() - started, 1),
        'seconds_until_children_had_ended': seconds_to_end,
        'peaks': {stage: _shown(peak) for stage, peak in peaks.items()},
    }
    print(json.dumps(report, indent=1))
    if faults:
        print(f'What failed is kept in {work}', file=sys.stderr)
        return EXIT_FAILED
    shutil.rmtree(work)
    return EXIT_DONE


def _watch(arena: Arena, parent: subprocess.Popen[bytes]) -> tuple[dict[str, Usage], set[str]]:
    """Looks on until the last stage is half-done; returns the peak of every stage before, and where processes listened."""
    peaks: dict[str, Usage] = {}
    listening: set[str] = set()
    while not arena.last_is_half_done():
        if parent.poll() is not None:
            raise SystemExit(f'the command ended with exit code {parent.returncode}: {arena.log.read_text()[-2000:]}')
        pids, stage = process_tree.tree(parent.pid), arena.stage_at_work()
        if stage not in (None, arena.last):
            peaks[stage] = peaks.get(stage, NOTHING).highest(process_tree.usage(pids))
        listening |= process_tree.listening_sockets(pids)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return peaks, listening


def _wait_for_end(children: list[int]) -> float | None:
    """Returns the seconds until none of the processes lives, or None when one still does after the limit."""
    started = time.monotonic()
    while any(map(process_tree.is_alive, children)):
        if time.monotonic() > started + SECONDS_TO_SAVE_AND_END:
            return None
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return round(time.monotonic() - started, 2)


def _shown(peak: Usage) -> dict[str, Any]:
    return {'mib': peak.bytes >> 20, 'handles': peak.handles, 'threads': peak.threads, 'processes': peak.processes}


def _name(number: int) -> str:
    return f'stage_{number + 1}'


def _row(text: str, num_stages: int) -> str:
    """Returns a pipeline file with other stages: each trains all and starts from the one before."""
    modules = ('backbone', 'decoder', 'rpn_head')
    stages = [
        {
            'name': _name(number),
            'init': dict.fromkeys(modules, _name(number - 1)) if number else {},
            'loss_weights': {'rpn_score': 1.0, 'rpn_box': 1.0},
        }
        for number in range(num_stages)
    ]
    return f'{text.partition("stages:")[0]}stages: {json.dumps(stages)}\n'


def _with_tensorflow(work: pathlib.Path, num_stages: int) -> Arena:
    config = campaign_tiny.make_tiny(work, num_steps=20)
    config.write_text(_row(config.read_text(), num_stages))
    return Arena(config, num_stages, 'stagetrain.cli.main', {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2'})


def _without_tensorflow(work: pathlib.Path, num_stages: int) -> Arena:
    config = project.make_project(work).config
    config.write_text(_row(config.read_text(), num_stages))
    return Arena(config, num_stages, 'tests.fakes.main', project.environ_of({'FAKE_SECONDS': '0.1'}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--stages', type=int, default=20)
    parser.add_argument('--without_tensorflow', action='store_true')
    parser.add_argument('--work_dir', help='where to work; default: the temporary folder')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
