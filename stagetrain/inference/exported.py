"""A finished stage's network as exporters see it.

network = ExportedNetwork(choice.choose(run_dir, None))
network.variables['backbone/conv1/kernel'], network.classes
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from stagetrain.images.geometry import Geometry, geometry_of
from stagetrain.inference.choice import Chosen
from stagetrain.stages.network import loaded_network
from stagetrain.stages.undisturbed import undisturbed
from stagetrain.weights.names import named_variables


class ExportedNetwork:
    """A finished stage's network with its weights."""

    def __init__(self, chosen: Chosen) -> None:
        """Stores which stage; the network is built when it is asked for."""
        self._chosen = chosen

    @functools.cached_property
    def network(self) -> Any:
        """The `stagetrain.detectors.detector.Detector` of the modules that the stage holds, on one device."""
        with undisturbed():
            return loaded_network(self._chosen.pipeline, self._chosen.stage, self._chosen.origins)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; the first has id 1."""
        return tuple(self._chosen.pipeline.data.classes)

    @property
    def variables(self) -> dict[str, tf.Variable]:
        """Canonical name -> variable."""
        return named_variables(self.network.modules)

    @property
    def geometry(self) -> Geometry:
        """How pictures become the network's inputs."""
        return geometry_of(self._chosen.model, training=False)

    @property
    def metrics(self) -> Mapping[str, float | None]:
        """What the run measured of the stage."""
        return dict(self._chosen.finished.result.get('metrics') or {})
