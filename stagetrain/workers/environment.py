"""What TensorFlow reads from the environment while it is imported.

prepare_environment()
import tensorflow as tf
"""

from __future__ import annotations

import os

from stagetrain.config import onednn

ENVIRONMENT = {'TF_USE_LEGACY_KERAS': '1', 'TF_CPP_MIN_LOG_LEVEL': '2', 'CUBLAS_WORKSPACE_CONFIG': ':4096:8'}
"""Set before TensorFlow is imported, with what `config.onednn` decides; the user's own values win."""


def prepare_environment() -> None:
    """Sets what the user has not set.

    Raises:
      ConfigError: TF_ENABLE_ONEDNN_OPTS has a value that TensorFlow does not understand.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    onednn.decide(os.environ)
