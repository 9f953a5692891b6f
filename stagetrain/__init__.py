"""Trains object detectors in stages that a YAML file describes.

    import stagetrain as st

    pipeline = st.load('configs/bccd/four_step.yaml')
    run = pipeline.run('runs/bccd')
    run.stages['detector_2'].metrics['AP']

Importing this imports neither TensorFlow nor anything else that takes time: names are looked up when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagetrain.api.pipeline import Pipeline as Pipeline
    from stagetrain.api.pipeline import load as load
    from stagetrain.api.prediction import Predictor as Predictor
    from stagetrain.api.prediction import build_detector as build_detector
    from stagetrain.api.run import Run as Run
    from stagetrain.api.run import open_run as open_run
    from stagetrain.config.schema import DataSource as DataSource
    from stagetrain.pipeline.stopping import Stopper as Stopper

__version__ = '0.1.0'

_PLACES = {
    'DataSource': 'stagetrain.config.schema',
    'Pipeline': 'stagetrain.api.pipeline',
    'Predictor': 'stagetrain.api.prediction',
    'Run': 'stagetrain.api.run',
    'Stopper': 'stagetrain.pipeline.stopping',
    'build_detector': 'stagetrain.api.prediction',
    'load': 'stagetrain.api.pipeline',
    'open_run': 'stagetrain.api.run',
}
__all__ = ['DataSource', 'Pipeline', 'Predictor', 'Run', 'Stopper', '__version__', 'build_detector', 'load', 'open_run']


def __getattr__(name: str) -> Any:
    """Imports a name of the Python face when it is used."""
    if name not in _PLACES:
        raise AttributeError(f"module 'stagetrain' has no attribute '{name}'. Known here: {', '.join(sorted(_PLACES))}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
