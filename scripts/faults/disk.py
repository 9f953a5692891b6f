"""A disk that fills up, or files that cannot grow, under a run: it stops with one paragraph, and goes on from what was saved.

The command line, its processes and its files are the real ones; a stage is a hash chain (`tests/fakes`).
"""

from __future__ import annotations

import contextlib
import pathlib
import random
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping

from stagetrain.errors import EXIT_BAD_INPUT, EXIT_DONE
from stagetrain.pipeline.file_checks import verify
from tests.fakes.project import ROOT, Project, environ_of, make_project

PLENTY_BYTES = 1 << 26


def can_mount() -> bool:
    """Returns whether this process may mount a tmpfs; a container's root often may not."""
    try:
        with tempfile.TemporaryDirectory() as folder, _mounted(pathlib.Path(folder), 1 << 16):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def full_disks(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each trial: a run on a tmpfs of 0.05 to 1 times what it needs, which is then made larger."""
    reference, need = _undisturbed(work)
    for number in range(count):
        size = int(need * draw.uniform(0.05, 1))
        project = _new_project(work / f'trial-{number}')
        with _mounted(project.directory.path, size) as resize:
            yield _faults(project, reference, f'{size} of {need} bytes', lambda: None, grow=lambda: resize(PLENTY_BYTES))


def short_files(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each trial: a run whose files may not be larger than some size (RLIMIT_FSIZE)."""
    reference, _ = _undisturbed(work)
    for number in range(count):
        limit = int(10 ** draw.uniform(1.5, 4.2))
        project = _new_project(work / f'trial-{number}')

        def apply(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        yield _faults(project, reference, f'files of {limit} bytes', apply, grow=lambda: None)


def _faults(
    project: Project, reference: Mapping[str, object], what: str, before: Callable[[], None], *, grow: Callable[[], None]
) -> list[str]:
    code, said = _run(project, before)
    found = []
    if code not in (EXIT_DONE, EXIT_BAD_INPUT) or 'Traceback' in said:
        found.append(f'exit code {code}: {said[-600:]}')
    elif code == EXIT_BAD_INPUT and 'What was saved before is intact' not in said:
        found.append(f'it did not say what became of the saved: {said[-600:]}')
    grow()
    code, said = _run(project, lambda: None)
    if code != EXIT_DONE:
        return [f'{what}: {fault}' for fault in (*found, f'with room it ended with exit code {code}: {said[-600:]}')]
    if project.weights() != reference:
        found.append('it went on to other weights')
    return [f'{what}: {fault}' for fault in (*found, *verify(project.directory).wrong)]


def _undisturbed(work: pathlib.Path) -> tuple[Mapping[str, object], int]:
    """Returns the weights of an undisturbed run and the bytes that it takes on a disk."""
    project = _new_project(work / 'undisturbed')
    code, said = _run(project, lambda: None)
    assert code == EXIT_DONE, said
    blocks = sum(path.lstat().st_blocks for path in project.directory.path.rglob('*'))
    return dict(project.weights()), blocks * 512


def _new_project(folder: pathlib.Path) -> Project:
    folder.mkdir()
    project = make_project(folder)
    project.directory.path.mkdir()
    return project


def _run(project: Project, before: Callable[[], None]) -> tuple[int, str]:
    """Runs `stagetrain run` with fake children; returns its exit code and standard error."""
    done = subprocess.run(
        project.command, cwd=ROOT, env=environ_of({}), capture_output=True, text=True, preexec_fn=before, check=False
    )
    return done.returncode, done.stderr


@contextlib.contextmanager
def _mounted(folder: pathlib.Path, size: int) -> Iterator[Callable[[int], None]]:
    """Mounts a tmpfs of `size` bytes on a folder; yields what gives it another size."""

    def mount(options: str) -> None:
        subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'stagetrain', str(folder)], check=True, capture_output=True)

    mount(f'size={size}')
    try:
        yield lambda larger: mount(f'remount,size={larger}')
    finally:
        subprocess.run(['umount', str(folder)], check=True, capture_output=True)
