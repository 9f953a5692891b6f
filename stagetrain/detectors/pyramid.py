"""The part that detectors on a feature pyramid share: a backbone, a decoder behind it, and where features can be cut.

    class RetinaNet(PyramidDetector):
        def _build_heads(self, wanted, levels): ...
        def losses(self, batch, terms): ...

B images, C channels.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.vision.configs import backbones as backbones_config
from official.vision.configs import common
from official.vision.modeling import backbones as model_garden_backbones
from official.vision.modeling import decoders as model_garden_decoders

from stagetrain.config import specs
from stagetrain.detectors.detector import Batch, Detector, clear_names, feature_key
from stagetrain.weights.names import named_variables


class PyramidDetector(Detector):
    """A detector whose heads read the output of a decoder, or of the backbone where there is none."""

    def __init__(self, model: Any, config: Any, wanted: Sequence[str], seed: int):
        """Builds the modules with initial values that depend on `seed` alone.

        Args:
          model: the detector's options in a pipeline.
          config: the Model Garden's own config with the same options; its factory of decoders reads it.
          wanted: modules to build; backbone and decoder always are.
          seed: of the initialisers.
        """
        self.model = model
        self._config = config
        self._seed = seed
        self.modules = dict(self._build(tuple(wanted)))
        self._trunk = trunk(self.modules['backbone'], self.modules.get('decoder'))

    # ---- building -------------------------------------------------------------------------------------------------------

    def _build(self, wanted: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        """Yields each module built on symbolic inputs, so that all its variables exist."""
        clear_names(self._seed)
        backbone = self._build_backbone()
        yield 'backbone', backbone
        clear_names(self._seed + 1)
        decoder = self._build_decoder(backbone.output_specs)
        levels = {level: tf_keras.Input(shape[1:]) for level, shape in backbone.output_specs.items()}
        if decoder is not None:
            yield 'decoder', decoder
            levels = decoder({level: levels[level] for level in decoder.input})
        yield from self._build_heads(wanted, {level: tensor.shape for level, tensor in levels.items()})

    @abc.abstractmethod
    def _build_heads(self, wanted: tuple[str, ...], levels: Mapping[str, tf.TensorShape]) -> Iterator[tuple[str, Any]]:
        """Yields the heads among `wanted`, built, each after `clear_names` with a seed of its own from `_seed + 2` on.

        Args:
          wanted: names of modules.
          levels: level -> shape `[B, h, w, C]` of what the heads read.
        """

    def _build_backbone(self) -> tf_keras.Model:
        input_specs = tf_keras.layers.InputSpec(shape=[None, *self.model.input_size])
        options = self.model.backbone
        registered = specs.backbone(options.type)
        if registered is not None:
            build = specs.load_implementation(registered.implementation)
            return build(input_specs, getattr(options, options.type), self.model.losses.l2_weight_decay)
        config = backbones_config.Backbone()
        config.override(options.model_dump(exclude_unset=True), is_strict=True)
        return model_garden_backbones.factory.build_backbone(
            input_specs=input_specs,
            backbone_config=config,
            norm_activation_config=common.NormActivation(**self.model.norm_activation.model_dump()),
            l2_regularizer=self._regularizer(),
        )

    def _build_decoder(self, levels: Mapping[str, tf.TensorShape]) -> tf_keras.Model | None:
        return model_garden_decoders.factory.build_decoder(
            input_specs=levels, model_config=self._config, l2_regularizer=self._regularizer()
        )

    def _regularizer(self) -> tf_keras.regularizers.Regularizer | None:
        """Returns the L2 of the option `losses.l2_weight_decay`, halved as in the Model Garden."""
        l2 = self.model.losses.l2_weight_decay
        return tf_keras.regularizers.l2(l2 / 2.0) if l2 else None

    def _norm_options(self) -> dict[str, Any]:
        norm = self.model.norm_activation
        return {name: getattr(norm, name) for name in ('activation', 'use_sync_bn', 'norm_momentum', 'norm_epsilon')}

    # ---- computing ------------------------------------------------------------------------------------------------------

    def features(self, batch: Batch, training: bool) -> Mapping[str, tf.Tensor]:
        """Returns level -> features `[B, h, w, C]` for the heads; begins behind stored features where the batch has them."""
        if feature_key(self._last_module) in batch:
            return batch[feature_key(self._last_module)]
        stored = batch.get(feature_key('backbone'))
        features = self._trunk(batch['image'], training=training) if stored is None else stored
        if 'decoder' in self.modules:
            features = self.modules['decoder'](features, training=training)
        return features

    @property
    def _last_module(self) -> str:
        """The module whose output the heads read."""
        return 'decoder' if 'decoder' in self.modules else 'backbone'

    def modules_before(self, cut: str) -> tuple[str, ...]:
        """Returns `backbone`, or `backbone` and `decoder`; see `Detector.modules_before`."""
        return ('backbone',) if cut == 'backbone' else ('backbone', 'decoder')

    def frozen_cut(self, trained: Sequence[str]) -> str | None:
        """Returns `decoder`, `backbone` or None; see `Detector.frozen_cut`."""
        training = {name.split('/')[0] for name in trained}
        if 'backbone' in training:
            return None
        return 'backbone' if 'decoder' in training or 'decoder' not in self.modules else 'decoder'

    def with_features(self, batch: Batch) -> Batch:
        """Returns the batch with the output of the last module in front of the heads; see `Detector.with_features`."""
        return {**batch, feature_key(self._last_module): self.features(batch, training=False)}

    def features_at(self, cut: str, batch: Batch) -> Mapping[str, tf.Tensor]:
        """Returns the output of `backbone` or `decoder` in inference mode; see `Detector.features_at`."""
        return self._trunk(batch['image'], training=False) if cut == 'backbone' else self.features(batch, training=False)

    def reached(self, terms: Sequence[str]) -> set[str]:
        """Returns the canonical names of the trainable variables that `terms` depend on; see `Detector.reached`."""
        needs = specs.detector(self.model.type).loss_modules
        used = [self.modules[module] for module in {module for term in terms for module in needs[term]} & set(self.modules)]
        parts = [self._trunk if part is self.modules['backbone'] else part for part in used]
        inside = {id(variable) for part in parts for variable in part.variables if variable.trainable}
        return {name for name, variable in named_variables(self.modules).items() if id(variable) in inside}


def trunk(backbone: tf_keras.Model, decoder: tf_keras.Model | None) -> tf_keras.Model:
    """Returns the part of a backbone that the decoder reads, around the same layers.

    Model Garden backbones go on to classification layers that no detector uses; their BatchNorm would be computed and drift.
    """
    used = set(decoder.input if decoder is not None else backbone.output)
    return tf_keras.Model(backbone.inputs, {level: output for level, output in backbone.output.items() if level in used})


def override(config: Any, model: Any) -> Any:
    """Returns the Model Garden's `config` with the options of a pipeline's `model`.

    What the Model Garden's config has no place for is left out: `type`, `losses`, `parser`, and a registered backbone.
    """
    values = model.model_dump(exclude_unset=True, exclude={'type', 'losses', 'parser'})
    if specs.backbone(model.backbone.type) is not None:
        del values['backbone']
    config.override(values, is_strict=True)
    return config
