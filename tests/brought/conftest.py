"""Cases are carried out in a folder of their own."""

from __future__ import annotations

import pathlib

import pytest

from tests.brought import case


@pytest.fixture
def hold(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> case.Hold:
    """Fails when some step of the case that it is given does not come out as it must."""
    return lambda one: case.hold(one, tmp_path, monkeypatch, capsys)
