"""What the places in specs lead to: the signatures of implementations, as types. Without TensorFlow.

    implementation=CodePlace('my_package.my_net:MyNet')      # or plain text; called as `BuildNetwork` says

A place is text, so that planning imports nothing of it; `load_implementation` does.
"""

from __future__ import annotations

import importlib
from typing import Any, Generic, Protocol, TypeVar, overload

Contract = TypeVar('Contract')


class CodePlace(str, Generic[Contract]):
    """`package.module:attribute` of what keeps to a contract."""


@overload
def load_implementation(place: CodePlace[Contract]) -> Contract: ...
@overload
def load_implementation(place: str) -> Any: ...
def load_implementation(place: str) -> Any:
    """Imports `package.module:attribute`; this is where TensorFlow comes in."""
    module, attribute = place.split(':')
    return getattr(importlib.import_module(module), attribute)


class BuildNetwork(Protocol):
    """Builds a network."""

    def __call__(self, model: Any, num_classes: int, modules: tuple[str, ...], seed: int, /) -> Any:
        """Returns a `stagetrain.detectors.detector.Network` whose variables all exist.

        Args:
          model: the options, of the spec's type.
          num_classes: classes of the pipeline's data, without background.
          modules: those that are needed; it may build others too.
          seed: of the initialisers; equal seeds give equal initial values, whatever else is built.
        """


class BuildBackbone(Protocol):
    """Builds a backbone."""

    def __call__(self, input_specs: Any, options: Any, l2_weight_decay: float, /) -> Any:
        """Returns a `stagetrain.detectors.backbones.EndpointModel`.

        Args:
          input_specs: `tf_keras.layers.InputSpec` of its images, `[None, height, width, 3]`.
          options: of the spec's type.
          l2_weight_decay: of kernels; the Model Garden halves it.
        """


class BuildInput(Protocol):
    """Builds what gives a stage its batches, for a network that does not read images with boxes."""

    def __call__(self, context: Any, network: Any, /) -> Any:
        """Returns a `stagetrain.training.input.StageInput`, for a `stagetrain.stages.context.Context` and the stage's network."""


class BuildEvaluator(Protocol):
    """Builds what measures a stage, for a network that does not detect."""

    def __call__(self, context: Any, network: Any, /) -> Any:
        """Returns a `stagetrain.evaluation.evaluate.StageEvaluator`; arguments as of `BuildInput`."""
