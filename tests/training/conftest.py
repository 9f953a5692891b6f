"""Stages that are trained in this process, once for all tests that look at them."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest

from tests import tiny


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished stage: its job, its result, its events, and where it lies."""

    job: dict[str, Any]
    result: dict[str, Any]
    events: list[dict[str, Any]]

    @property
    def run_dir(self) -> pathlib.Path:
        """The run directory."""
        return pathlib.Path(self.job['run_dir'])

    @property
    def folder(self) -> pathlib.Path:
        """The stage's folder."""
        return self.run_dir / 'stages' / self.job['id']

    @property
    def checkpoint(self) -> pathlib.Path:
        """The folder of the last checkpoint."""
        return self.run_dir / self.result['checkpoint']


def trained(job: dict[str, Any]) -> Trained:
    """Trains a job to its end."""
    return Trained(job, *tiny.train(job))


@pytest.fixture(scope='session')
def joint(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> Trained:
    """All losses, six steps, from the initialiser, without interruption. Not to be changed."""
    document = tiny.pipeline(tiny_data, [tiny.stage('joint', tiny.RPN | tiny.HEAD)])
    return trained(tiny.job(tmp_path_factory.mktemp('joint'), document, 'joint'))
