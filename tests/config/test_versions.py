"""Which versions decide a stage's numbers."""

from __future__ import annotations

import re

from stagetrain.config.versions import package_versions


def test_versions_come_without_imports() -> None:
    versions = package_versions()
    assert sorted(versions) == ['tensorflow', 'tf-models-official', 'tf_keras']
    assert re.fullmatch(r'\d+\.\d+.*', versions['tensorflow'])
