"""A kind of weight file from outside the package: NumPy's `.npz`, an array for each variable."""

from __future__ import annotations

import pathlib

import numpy as np

from stagetrain.config import specs


def read(path: pathlib.Path | str) -> dict[str, np.ndarray]:
    """Reads it; see `SourceSpec`."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


specs.register_source(specs.SourceSpec('npz', f'{__name__}:read'))
