"""Clocks that jump: files from the future and from long ago, under a half-done run, change neither the weights nor the plan."""

from __future__ import annotations

import os
import pathlib
import random
import shutil
import time
from collections.abc import Iterator

from stagetrain.errors import StageFailed
from stagetrain.pipeline.file_checks import verify
from tests.fakes.project import Project, make_project

TEN_YEARS_SECONDS = 10 * 365 * 86400
STAGES = ('rpn_1', 'detector_1', 'rpn_2', 'detector_2')


def jumps(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each trial: a run fails at a random step, the times of files jump, and it goes on, twice."""
    (work / 'undisturbed').mkdir()
    undisturbed = make_project(work / 'undisturbed')
    undisturbed.run()
    for number in range(count):
        folder = work / f'trial-{number}'
        folder.mkdir()
        yield _faults(make_project(folder), draw, dict(undisturbed.weights()))
        shutil.rmtree(folder)


def _faults(project: Project, draw: random.Random, reference: dict[str, object]) -> list[str]:
    os.environ['FAKE_DIE'] = f'{draw.choice(STAGES)}:{draw.randint(1, 8)}:fail'
    try:
        project.run()
        return [f'the run did not fail as {os.environ["FAKE_DIE"]} says']
    except StageFailed:
        _jump(project.folder, draw)
    finally:
        del os.environ['FAKE_DIE']
    project.run()
    found = [] if project.weights() == reference else ['other weights']
    _jump(project.folder, draw)
    project.run()
    actions = set(project.actions().values())
    if actions != {'skip'}:
        found.append(f'the finished run would be: {actions}')
    return [*found, *verify(project.directory).wrong]


def _jump(folder: pathlib.Path, draw: random.Random) -> None:
    """Gives half of all files and folders a time up to ten years off."""
    for path in sorted(folder.rglob('*')):
        if draw.random() < 0.5:
            moment = time.time() + draw.uniform(-TEN_YEARS_SECONDS, TEN_YEARS_SECONDS)
            os.utime(path, (moment, moment))
