"""An exporter from outside the package: NumPy's `.npz`, an array for each variable by its canonical name.

What it writes is a weight file of `npz.py` beside it.
"""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from stagetrain.config import exporters
from stagetrain.config.options import Strict


class NpzOptions(Strict):
    """What `--set` may say of it."""

    compressed: bool = False
    """Whether the arrays are compressed."""


def export(network: Any, options: NpzOptions, folder: pathlib.Path) -> dict[str, Any]:
    """Writes `variables.npz`; see `ExporterSpec`."""
    save = np.savez_compressed if options.compressed else np.savez
    arrays = {name: variable.numpy() for name, variable in network.variables.items()}
    save(folder / 'variables.npz', **arrays)
    return {'num_variables': len(arrays)}


exporters.register_exporter(exporters.ExporterSpec('npz', NpzOptions, f'{__name__}:export', detects=False))
