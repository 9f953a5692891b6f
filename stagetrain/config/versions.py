"""Versions of the packages that decide a stage's numbers, without importing them.

package_versions()      # {'tensorflow': '2.20.0', 'tf-models-official': '2.20.0', 'tf_keras': '2.20.1'}
"""

from __future__ import annotations

import importlib.metadata

PACKAGES = ('tensorflow', 'tf-models-official', 'tf_keras')


def package_versions() -> dict[str, str]:
    """Returns package -> installed version."""
    return {package: _version(package) for package in PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return 'not installed'
