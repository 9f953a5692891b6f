"""A child that the system killed for want of memory is reported as that, and one that somebody else killed is not."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
from collections.abc import Iterator

import pytest

from stagetrain.workers import memory_kills
from tests.fakes.project import ROOT, Project, environ_of, make_project

LIMIT_BYTES = 400 << 20


@pytest.fixture
def limited(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A group of processes that may take 400 MiB together."""
    group = None
    for line in pathlib.Path('/proc/self/cgroup').read_text().splitlines():
        number, controllers, path = line.split(':', 2)
        if 'memory' in controllers.split(',') or number == '0':
            root = pathlib.Path('/sys/fs/cgroup', controllers)
            group = root / path.lstrip('/') / f'stagetrain-{os.getpid()}'
            with contextlib.suppress(OSError):
                group.mkdir()
                limit = 'memory.limit_in_bytes' if controllers else 'memory.max'
                (group / limit).write_text(str(LIMIT_BYTES))
                break
    else:
        pytest.skip('needs the right to limit the memory of a group of processes')
    yield group
    group.rmdir()


def run(project: Project, group: pathlib.Path | None, **environ: str) -> subprocess.CompletedProcess[str]:
    def join() -> None:
        if group is not None:
            (group / 'cgroup.procs').write_text(str(os.getpid()))

    return subprocess.run(
        [*project.command, '--only', 'rpn_1'],
        cwd=ROOT,
        env=environ_of(environ),
        preexec_fn=join,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_child_killed_for_want_of_memory_is_reported_as_that(tmp_path: pathlib.Path, limited: pathlib.Path) -> None:
    project = make_project(tmp_path)
    done = run(project, limited, FAKE_DIE='rpn_1:6:memory')
    assert done.returncode == 1
    assert 'ended by SIGKILL by the system, because memory ran out' in done.stderr
    assert 'To need less: a smaller train.batch_size' in project.directory.ledger.read()[-1]['text']
    assert run(project, limited).returncode == 0


def test_a_child_killed_by_somebody_is_not_said_to_have_lacked_memory(tmp_path: pathlib.Path) -> None:
    if memory_kills.num_memory_kills() is None:
        pytest.skip('this system does not count such kills')
    done = run(make_project(tmp_path), None, FAKE_DIE='rpn_1:6:SIGKILL')
    assert 'ended by SIGKILL, and not by this system for want of memory' in done.stderr


def test_a_system_that_does_not_count_leaves_it_open(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(memory_kills, 'STATISTICS', tmp_path / 'none')
    assert memory_kills.num_memory_kills() is None
    assert memory_kills.explanation(None).startswith(', most likely by the system because memory ran out')
