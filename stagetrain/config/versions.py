"""What decides a stage's numbers besides its settings, without importing it: versions of packages, and whether oneDNN is on.

package_versions()      # {'tensorflow': '2.20.0', 'tf-models-official': '2.20.0', 'tf_keras': '2.20.1', 'onednn': 'on'}
"""

from __future__ import annotations

import importlib.metadata
import os

from stagetrain.config import onednn

PACKAGES = ('tensorflow', 'tf-models-official', 'tf_keras')
ONEDNN = 'onednn'


def package_versions() -> dict[str, str]:
    """Returns package -> installed version, and `onednn` -> `on` or `off`.

    Raises:
      ConfigError: TF_ENABLE_ONEDNN_OPTS has a value that TensorFlow does not understand.
    """
    return {**{package: _version(package) for package in PACKAGES}, ONEDNN: onednn.value(os.environ)}


def unrecorded() -> dict[str, str]:
    """Returns what counts as the value where an older stagetrain recorded none.

    Nobody decided on oneDNN then, so it was TensorFlow's own choice by the processor; this machine's is taken for the one that
    trained. Empty where that choice cannot be known: the present value counts for the former one there.
    """
    choice = onednn.tensorflows_choice()
    return {} if choice is None else {ONEDNN: choice}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return 'not installed'
