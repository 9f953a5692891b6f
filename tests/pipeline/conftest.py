"""A small pipeline of four steps that runs without TensorFlow."""

from __future__ import annotations

import pathlib

import pytest

from tests.fakes.project import Project, make_project


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Project:
    """A project that has not run yet."""
    return make_project(tmp_path)
