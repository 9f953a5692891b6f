"""Fixtures for tests on real data and weights, which are not part of the repository."""

from __future__ import annotations

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def _folder(variable: str, beside: str) -> pathlib.Path:
    """Returns the folder that an environment variable names, or else one beside the clone; without it the test is skipped."""
    named = os.environ.get(variable)
    folder = pathlib.Path(named) if named else ROOT.parent / 'shared' / beside
    if not folder.is_dir():
        pytest.skip(f'no folder {folder}; set {variable}')
    return folder


@pytest.fixture(scope='session')
def bccd() -> pathlib.Path:
    """The BCCD images in VOC layout."""
    return _folder('BCCD', 'data/bccd')


@pytest.fixture(scope='session')
def weights() -> pathlib.Path:
    """The folder with the ImageNet weights of MobileNet v1 0.25."""
    return _folder('WEIGHTS', 'weights')
