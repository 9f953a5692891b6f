"""Files of a finished run directory, and what reads and verifies them."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable

from scripts.fuzz import templates
from scripts.fuzz.kind import Kind
from stagetrain.errors import EXIT_BAD_INPUT, StagetrainError
from stagetrain.pipeline.file_checks import verify
from stagetrain.pipeline.rundir import RunDirectory


def make_run_file(pattern: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """A finished run directory whose damaged part is the first file that a pattern names."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        shutil.copytree(templates.finished_run(), folder, dirs_exist_ok=True)
        return min((folder / 'run').glob(pattern))

    return make


def use_run_file(damaged: pathlib.Path) -> None:
    """Reads the state as `run` and `status` do, then verifies: what changed must be found."""
    run_dir = next(parent for parent in damaged.parents if parent.name == 'run')
    directory = RunDirectory(run_dir)
    directory.config()
    directory.state()
    directory.ledger.read()
    if wrong := verify(directory).wrong:
        raise StagetrainBadRun('\n'.join(wrong))


class StagetrainBadRun(StagetrainError):
    """What `verify` found."""

    exit_code = EXIT_BAD_INPUT


KINDS = {
    'lock': Kind(
        make_run_file('pipeline.lock'),
        use_run_file,
        {'nested': lambda _: b'[' * 200_000, 'long number': lambda _: b'{"digest": ' + b'9' * 100_000 + b'}'},
    ),
    'ledger': Kind(make_run_file('ledger.jsonl'), use_run_file, {'nested': lambda _: b'[' * 200_000 + b'\n'}),
    'run_yaml': Kind(make_run_file('run.yaml'), use_run_file),
    'job': Kind(make_run_file('stages/*/job.json'), use_run_file, {'not a mapping': lambda _: b'[]'}),
    'proposals': Kind(make_run_file('stores/proposals/*/boxes'), use_run_file),
    'manifest': Kind(make_run_file('stages/*/checkpoints/*/MANIFEST.json'), use_run_file),
}
