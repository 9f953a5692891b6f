"""Which versions decide a stage's numbers."""

from __future__ import annotations

import re

import pytest

from stagetrain.config import onednn
from stagetrain.config.versions import package_versions, unrecorded


def test_versions_come_without_imports() -> None:
    versions = package_versions()
    assert sorted(versions) == ['onednn', 'tensorflow', 'tf-models-official', 'tf_keras']
    assert re.fullmatch(r'\d+\.\d+.*', versions['tensorflow'])


def test_whether_onednn_is_on_is_one_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(onednn.VARIABLE, raising=False)
    assert package_versions()['onednn'] == 'on'
    monkeypatch.setenv(onednn.VARIABLE, '0')
    assert package_versions()['onednn'] == 'off'


def test_where_nobody_decided_tensorflow_chose_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, 'tensorflows_choice', lambda: 'off')
    assert unrecorded() == {'onednn': 'off'}
    monkeypatch.setattr(onednn, 'tensorflows_choice', lambda: None)
    assert unrecorded() == {}
