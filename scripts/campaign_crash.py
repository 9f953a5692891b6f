"""Kills runs of a small 4-step pipeline again and again, and compares all that they leave with an undisturbed run.

    python scripts/campaign_crash.py --runs=25                           # real stages, with TensorFlow
    python scripts/campaign_crash.py --runs=200 --without_tensorflow     # the same runner and files, stages of a hash chain
    python scripts/campaign_crash.py --runs=10 --signal=SIGTERM          # what a preempted machine gets; SIGINT: Ctrl-C

Each run is killed several times: the parent, the child, or both (another signal than SIGKILL goes to the parent, which passes
it on); at a random moment, or just before or after a random call of the file system, and so in the middle of a save. Then it is
run to its end. A run passes when every tensor of every stage (optimizer slots too) equals the undisturbed run's, no finished
stage was begun again, no checkpoint ever went back, the ledger could be read at every moment, `verify` finds nothing wrong, and
no temporary file is left. Prints one JSON object; the exit code is 1 when a run failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # Run from a clone, nothing need be installed.

import campaign_processes as processes
import campaign_tiny
from campaign_processes import Arena, Forked, KillAt

from stagetrain import files
from stagetrain.config import specs
from stagetrain.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED
from stagetrain.pipeline.file_checks import verify
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import child
from stagetrain.workers.environment import prepare_environment

SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_OF_A_RUN = 600.0
SECONDS_TO_SAVE = 10.0
HIGHEST_CALL = {'parent': 90, 'child': 60}


@dataclasses.dataclass
class Outcome:
    """What became of one run."""

    faults: list[str] = dataclasses.field(default_factory=list)
    kills: list[str] = dataclasses.field(default_factory=list)
    seconds_to_save: list[float] = dataclasses.field(default_factory=list)


def main() -> int:
    """Runs the campaign and returns the exit code."""
    options = _options()
    work = pathlib.Path(tempfile.mkdtemp(prefix='campaign-crash-', dir=options.work_dir))
    arena = _arena(work, options.without_tensorflow)
    number = signal.Signals[options.signal]
    started = time.monotonic()
    reference, seconds = _reference(arena, work)
    print(f'undisturbed run: {seconds:.1f} s, {len(reference)} values', file=sys.stderr)
    outcomes = []
    for run in range(options.runs):
        if options.seconds and time.monotonic() - started > options.seconds:
            break
        outcome = _Run(arena, work / f'run-{run}', random.Random(f'{options.seed}/{run}'), number, seconds).carry_out(reference)
        outcomes.append(outcome)
        print(f'run {run}: {", ".join(outcome.kills)}: {"; ".join(outcome.faults) or "passed"}', file=sys.stderr, flush=True)
        if not outcome.faults:
            shutil.rmtree(work / f'run-{run}')
    report = _report(outcomes, time.monotonic() - started)
    print(json.dumps(report, indent=1))
    if report['passed'] == report['runs']:
        shutil.rmtree(work)
        return EXIT_DONE
    print(f'What failed is kept in {work}', file=sys.stderr)
    return EXIT_FAILED


class _Run:
    """One run directory, killed and restarted until it is done."""

    def __init__(self, arena: Arena, folder: pathlib.Path, draw: random.Random, number: signal.Signals, seconds: float) -> None:
        self._arena, self._draw, self._number, self._seconds = arena, draw, number, seconds
        self._folder = processes.fresh(folder)
        self._directory = RunDirectory(folder / 'run')
        self._outcome = Outcome()
        self._finished: dict[str, int] = {}
        self._steps: dict[str, int] = {}

    def carry_out(self, reference: dict[str, str]) -> Outcome:
        """Returns what became of the run."""
        for attempt in range(self._draw.randint(2, 6)):
            if self._attempt(attempt):
                break
        else:
            self._last_attempt()
        self._compare(reference)
        return self._outcome

    def _attempt(self, attempt: int) -> bool:
        """Starts the run and kills it; returns whether it was done before that."""
        log = self._folder / f'attempt-{attempt}.log'
        victim = self._draw.choice(('parent', 'child', 'both'))
        point = None
        if victim != 'both' and self._draw.random() < 0.5:
            point = KillAt(victim, self._draw.randint(1, HIGHEST_CALL[victim]), self._draw.random() < 0.5, self._number)
        num_begun = self._num_begun()
        wait = self._seconds * self._draw.uniform(0.02, 0.6)
        parent = self._arena.start_parent(self._directory.path, log, point)
        if point is not None:
            self._outcome.kills.append(f'{point.role} {"after" if point.after else "before"} call {point.call}')
            self._watch(parent, SECONDS_OF_A_RUN)
        elif self._watch(parent, wait):
            self._outcome.kills.append(f'{victim} at {wait:.1f} s')
            self._strike(parent, victim, log)
        code = parent.wait(SECONDS_OF_A_RUN)
        struck = processes.struck_file(log)
        if self._number != signal.SIGKILL and struck.exists() and not self._had_not_begun(code, num_begun):
            seconds = time.monotonic() - float(struck.read_text())
            self._outcome.seconds_to_save.append(seconds)
            if seconds > SECONDS_TO_SAVE:
                self._outcome.faults.append(f'it ended {seconds:.1f} s after {self._number.name}')
            if code not in (EXIT_DONE, EXIT_INTERRUPTED):
                self._outcome.faults.append(f'{self._number.name} ended the run with exit code {code}')
        self._look_at_what_is_left()
        return code == EXIT_DONE

    def _strike(self, parent: Forked, victim: str, log: pathlib.Path) -> None:
        if self._number != signal.SIGKILL:
            processes.struck_file(log).write_text(str(time.monotonic()))
            processes.kill(parent.pid, self._number)
            return
        if victim in ('parent', 'both'):
            processes.kill(parent.pid)
        if victim in ('child', 'both'):
            for pid in processes.living_children(log):
                processes.kill(pid)

    def _num_begun(self) -> int:
        return sum(line['event'] == 'started' for line in self._directory.ledger.read())

    def _had_not_begun(self, code: int, num_begun: int) -> bool:
        """Whether a signal found a process that had not yet come to the command, or to its first job."""
        return code in (-self._number, EXIT_FAILED) and self._num_begun() == num_begun

    def _last_attempt(self) -> None:
        log = self._folder / 'last.log'
        parent = self._arena.start_parent(self._directory.path, log)
        self._watch(parent, SECONDS_OF_A_RUN)
        code = parent.wait(SECONDS_OF_A_RUN)
        self._look_at_what_is_left()
        if code != EXIT_DONE:
            self._outcome.faults.append(f'the last start ended with exit code {code}: {log.read_text()[-800:]}')
        if left := processes.living_children(log):
            self._outcome.faults.append(f'children left behind: {left}')

    def _watch(self, parent: Forked, seconds: float) -> bool:
        """Reads the ledger again and again; returns whether the parent still runs after so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if parent.poll() is not None:
                return False
            self._directory.ledger.read()
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return True

    def _look_at_what_is_left(self) -> None:
        """No finished job is begun again, and no stage's newest checkpoint is older than it was."""
        lines = self._directory.ledger.read()
        begun = [line['fingerprint'] for line in lines if line['event'] == 'started']
        for fingerprint, count in self._finished.items():
            if begun.count(fingerprint) > count:
                self._outcome.faults.append(f'the job {fingerprint[:12]} was finished and begun again')
        lock = self._directory.lock()
        entries = [*lock.stages.values(), *(entry for _, _, entry in lock.all_artefacts())]
        self._finished = {entry.fingerprint: begun.count(entry.fingerprint) for entry in entries}
        for folder in self._directory.path.glob('stages/*/checkpoints/step-*'):
            step, stage = int(folder.name.removeprefix('step-')), folder.parts[-3]
            self._steps[stage] = max(step, self._steps.get(stage, 0))
        for stage, step in self._steps.items():
            if not list(self._directory.path.glob(f'stages/{stage}/checkpoints/step-{step:08d}')):
                self._outcome.faults.append(f'{stage}: the checkpoint of step {step} is gone')

    def _compare(self, reference: dict[str, str]) -> None:
        found = _values(self._arena, self._directory.path, self._folder / 'values.json')
        different = sorted(key for key in {*found, *reference} if found.get(key) != reference.get(key))
        if different:
            self._outcome.faults.append(f'{len(different)} of {len(reference)} values differ, e.g. {different[0]}')
        temporary = sorted(str(path) for path in self._directory.path.rglob('*') if files.TEMPORARY in path.name)
        if temporary:
            self._outcome.faults.append(f'temporary files are left: {temporary[:3]}')
        self._outcome.faults += verify(self._directory).wrong


def _arena(work: pathlib.Path, without_tensorflow: bool) -> Arena:
    if without_tensorflow:
        from tests.fakes import project
        from tests.fakes import worker as fake

        return Arena(project.make_project(work).config, fake.IMPLEMENTATIONS, {'FAKE_SECONDS': '0.01'})
    prepare_environment()
    for implementation in child.IMPLEMENTATIONS.values():
        specs.load_implementation(implementation)
    return Arena(campaign_tiny.make_tiny(work), child.IMPLEMENTATIONS, {})


def _reference(arena: Arena, work: pathlib.Path) -> tuple[dict[str, str], float]:
    """Returns the values of an undisturbed run and the seconds that it took."""
    folder = processes.fresh(work / 'reference')
    started = time.monotonic()
    code = arena.start_parent(folder / 'run', folder / 'log').wait(SECONDS_OF_A_RUN)
    seconds = time.monotonic() - started
    if code != EXIT_DONE:
        raise SystemExit(f'the undisturbed run ended with exit code {code}: {(folder / "log").read_text()[-2000:]}')
    values = _values(arena, folder / 'run', folder / 'values.json')
    assert verify(RunDirectory(folder / 'run')).wrong == ()
    return values, seconds


def _values(arena: Arena, run_dir: pathlib.Path, answer: pathlib.Path) -> dict[str, str]:
    """Returns stage and key -> digest of all that finished stages' checkpoints hold.

    A process of its own reads them: after TensorFlow has computed anything, its process can no longer be forked.
    """
    reads_tensors = arena.implementations is child.IMPLEMENTATIONS

    def read() -> int:
        lock = RunDirectory(run_dir).lock()
        found = {}
        for stage_id, entry in lock.stages.items():
            folder = run_dir / entry.result['checkpoint']
            values = _tensors(folder) if reads_tensors else files.read_json(folder / 'state.json')
            found.update({f'{stage_id}: {key}': str(value) for key, value in values.items()})
        files.write_json(answer, found)
        return EXIT_DONE

    if Forked(read).wait(SECONDS_OF_A_RUN) != EXIT_DONE:
        return {}
    return dict(files.read_json(answer))


def _tensors(folder: pathlib.Path) -> dict[str, str]:
    from stagetrain.weights import tensor_checks as tensors

    return tensors.tensor_digests(folder)


def _report(outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    waits = sorted(second for outcome in outcomes for second in outcome.seconds_to_save)
    report = {
        'runs': len(outcomes),
        'passed': sum(not outcome.faults for outcome in outcomes),
        'kills': sum(len(outcome.kills) for outcome in outcomes),
        'seconds': round(seconds, 1),
    }
    if waits:
        report |= {'saved_within_10_s': sum(wait <= SECONDS_TO_SAVE for wait in waits), 'slowest_save_s': round(waits[-1], 2)}
    return report


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=25)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--seconds', type=float, default=0, help='begin no further run after so many seconds; 0: no limit')
    parser.add_argument('--signal', choices=('SIGKILL', 'SIGTERM', 'SIGINT'), default='SIGKILL')
    parser.add_argument('--without_tensorflow', action='store_true')
    parser.add_argument('--work_dir', help='where to work; default: the temporary folder')
    return parser.parse_args()


if __name__ == '__main__':
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    sys.exit(main())
