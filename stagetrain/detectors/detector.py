"""What a detector offers to training, stores, evaluation and inference.

A detector is built for one purpose (the losses of a stage, or making proposals, or detecting) and holds only the modules that
this needs. B images, H x W pixels, G ground-truth boxes, P proposals, D detections.
`stagetrain.images.network_input` has what it reads: batches, and what is known of an image.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
import tf_keras

from stagetrain.config.detector_options import DetectorOptions
from stagetrain.config.options import NetworkOptions
from stagetrain.images.network_input import Batch, Known, Seeds
from stagetrain.weights import names


@dataclasses.dataclass(frozen=True)
class BatchDetections:
    """Boxes found in a batch, by falling score, padded with zeros."""

    boxes_yxyx_px: tf.Tensor
    """float32 `[B, D, 4]` in pixels of the scaled image."""
    scores: tf.Tensor
    """float32 `[B, D]`."""
    classes: tf.Tensor
    """int32 `[B, D]`, from 1."""
    num_valid: tf.Tensor
    """int32 `[B]`."""
    masks: tf.Tensor | None = None
    """float32 `[B, D, m, m]`: the probability of the object at each point of its box; None where masks are not predicted."""


@dataclasses.dataclass(frozen=True)
class Cut:
    """Where the frozen front of a network ends; what it gives there can be stored."""

    module: str
    """The module behind which, or in which, it ends."""
    layers: tuple[str, ...] = ()
    """Inside the module: the layers whose outputs the rest of the network needs; none: it ends behind the module."""

    @property
    def key(self) -> str:
        """The key of `Batch.features` under which the stored outputs stand: by level after a module, by layer inside one."""
        return inside(self.module) if self.layers else self.module

    def __str__(self) -> str:
        return f'{self.module} up to {", ".join(self.layers)}' if self.layers else self.module


class Proposing(NamedTuple):
    """How proposals are taken from what a region proposal network says."""

    pre_nms_top_k: int
    """Highest-scoring boxes of each level that enter non-maximum suppression."""
    nms_iou: float
    """IoU threshold of non-maximum suppression."""
    num_proposals: int
    """Boxes kept for each image."""


class BatchProposals(NamedTuple):
    """Region proposals of a batch, best first, padded with zeros."""

    boxes_yxyx_px: tf.Tensor
    """float32 `[B, P, 4]`: (ymin, xmin, ymax, xmax) in pixels of the scaled image."""
    scores: tf.Tensor
    """float32 `[B, P]`, in (0, 1]."""


class Network(abc.ABC):
    """What stages train: named modules, and losses on a batch."""

    modules: Mapping[str, Any]
    """Module name -> layer, or list of layers, in network order. Built: all variables exist."""
    model: NetworkOptions
    """The options under `model`, or a name of `models`, of the pipeline file."""

    @abc.abstractmethod
    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the value of each of `terms`, unweighted, in training mode; builds nothing that they do not need."""

    @abc.abstractmethod
    def reached(self, terms: Sequence[str]) -> set[str]:
        """Returns the canonical names of the trainable variables that `terms` depend on; the others are idle."""

    def reached_by(self, modules: Collection[str]) -> set[str]:
        """Returns the canonical names of the trainable variables that what whole `modules` compute depends on."""
        held = {name: module for name, module in self.modules.items() if name in modules}
        return {name for name, variable in names.named_variables(held).items() if variable.trainable}

    def with_features(self, batch: Batch, training: bool = False) -> Batch:
        """Returns the batch with the features that all heads read, so that several calls share them; here as it is."""
        del training
        return batch

    def regularization(self, trained: Sequence[tf.Variable]) -> tf.Tensor:
        """Returns the L2 terms of the layers that own any of `trained`; what is frozen or idle does not count."""
        wanted = {variable.ref() for variable in trained}
        terms = [
            loss
            for leaf in names.leaves(self.modules)
            if any(variable.ref() in wanted for variable in leaf.variables.values())
            for loss in leaf.layer.losses
        ]
        return tf.add_n(terms) if terms else tf.zeros([])


class Detector(Network):
    """A network that finds objects in images."""

    model: DetectorOptions

    @abc.abstractmethod
    def features(self, batch: Batch, training: bool) -> Mapping[str, tf.Tensor]:
        """Returns level -> features `[B, h, w, C]` that the heads read, computed from `image` or taken from the batch."""

    @property
    def proposing(self) -> Proposing:
        """How it proposes in inference, by its own options.

        Raises:
          AssertionError: as for `propose`.
        """
        raise AssertionError(f'{type(self).__name__} gives no proposals')

    def propose(self, batch: Batch, how: Proposing) -> BatchProposals:
        """Returns region proposals, in inference mode.

        Raises:
          AssertionError: the detector's spec names no `proposal_modules`, so it has none to give.
        """
        raise AssertionError(f'{type(self).__name__} gives no proposals')

    def mask_size(self, terms: Sequence[str]) -> int | None:
        """Returns S, the side of `Batch.gt_masks`, where `terms` need them."""
        return None

    @abc.abstractmethod
    def variables_before(self, cut: Cut) -> dict[str, tf.Variable]:
        """Returns canonical name -> variable of all that computes what stands at a cut."""

    @abc.abstractmethod
    def frozen_cut(self, trained: Sequence[str]) -> Cut | None:
        """Returns the last place, in network order, up to which no variable is in `trained` (canonical names), or None."""

    @abc.abstractmethod
    def features_at(self, cut: Cut, batch: Batch) -> Mapping[str, tf.Tensor]:
        """Returns level (inside a module: layer) -> `[B, h, w, C]` at a cut, in inference mode."""

    @abc.abstractmethod
    def detect(self, batch: Batch) -> BatchDetections:
        """Returns detections, in inference mode."""

    @abc.abstractmethod
    def match(self, known: Known, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the part of one image's targets that no random number decides, so that it can be kept.

        Args:
          known: of the image.
          terms: the loss terms that need targets.
        """

    def targets(
        self,
        known: Known,
        matched: Mapping[str, tf.Tensor],
        seeds: Seeds,
        terms: Sequence[str],
    ) -> dict[str, Any]:
        """Returns what `losses` needs of one image in `Batch.targets`, sampled from `match`'s result; here that result itself.

        Args:
          known: of the image.
          matched: what `match` returned.
          seeds: of the sampling.
          terms: the loss terms that need targets.
        """
        del known, seeds, terms
        return dict(matched)


def inside(module: str) -> str:
    """Returns the key of `Batch.features` under which the stored outputs of layers inside a module stand."""
    return f'{module}/layers'


def clear_names(seed: int) -> None:
    """Starts Keras' layer numbering anew and seeds the initialisers: a module is built equal in every stage and process."""
    if tf.distribute.has_strategy():  # Its scope belongs to the default graph, which a cleared session replaces.
        tf_keras.backend.reset_uids()
    else:
        tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
