"""The part that detectors on a feature pyramid share: a backbone, a decoder behind it, and where features can be cut.

    class RetinaNet(PyramidDetector):
        def _heads_on(self, levels): ...
        def losses(self, batch, terms): ...

B images, C channels.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.vision.configs import backbones as backbones_config
from official.vision.configs import common
from official.vision.modeling import backbones as model_garden_backbones
from official.vision.modeling import decoders as model_garden_decoders

from stagetrain.config import specs
from stagetrain.config.detector_options import DetectorOptions
from stagetrain.detectors import frozen_front
from stagetrain.detectors.detector import Cut, Detector, clear_names, inside
from stagetrain.devices import setup
from stagetrain.images.network_input import Batch
from stagetrain.weights.names import named_variables

BuildHead = Callable[[], Any] | Sequence[Any]
"""Builds a module, or a list of such for a module of several parts."""
_SEED_OFFSETS = {'backbone': 0, 'decoder': 1, 'heads': 2, 'mask_head': 10}
"""What is added to the seed of the initialisers for each part; heads in order, and the mask head after those of any cascade."""


class PyramidDetector(Detector):
    """A detector whose heads read the output of a decoder, or of the backbone where there is none."""

    kernels: str
    """What `setup.kernels` gives where it is built: CPUs have kernels of their own for some ops."""

    def __init__(self, model: DetectorOptions, config: Any, wanted: Sequence[str], seed: int):
        """Builds the modules with initial values that depend on `seed` alone.

        Args:
          model: the detector's options in a pipeline.
          config: the Model Garden's own config with the same options; its factory of decoders reads it.
          wanted: modules to build; backbone and decoder always are.
          seed: of the initialisers.
        """
        self.model = model
        self.kernels = setup.kernels()
        self._config = config
        self._seed = seed
        self.modules = dict(self._build(tuple(wanted)))
        self._neck = neck(self.modules['decoder']) if 'decoder' in self.modules else None
        self._trunk = trunk(self.modules['backbone'], set(self._neck.input) if self._neck is not None else self._head_levels())
        self._rests: dict[tuple[str, ...], frozen_front.Rest] = {}

    # ---- building -------------------------------------------------------------------------------------------------------

    def _build(self, wanted: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        """Yields each module built on symbolic inputs, so that all its variables exist."""
        backbone = self._built(_SEED_OFFSETS['backbone'], self._build_backbone)
        yield 'backbone', backbone
        decoder = self._built(_SEED_OFFSETS['decoder'], lambda: self._build_decoder(backbone.output_specs))
        levels = {level: tf_keras.Input(shape[1:]) for level, shape in backbone.output_specs.items()}
        if decoder is not None:
            yield 'decoder', decoder
            levels = decoder({level: levels[level] for level in decoder.input})
        heads = self._heads_on({level: tensor.shape for level, tensor in levels.items()})
        for number, (module, build) in enumerate(heads.items()):
            if module in wanted:
                yield module, self._built(_SEED_OFFSETS.get(module, _SEED_OFFSETS['heads'] + number), build)

    def _built(self, offset: int, build: BuildHead) -> Any:
        """Returns what `build` builds, or a list where it is a list, each part with a seed of its own."""
        if isinstance(build, Sequence):
            return [self._built(offset + number, part) for number, part in enumerate(build)]
        clear_names(self._seed + offset)
        return build()

    @abc.abstractmethod
    def _heads_on(self, levels: Mapping[str, tf.TensorShape]) -> Mapping[str, BuildHead]:
        """Returns module -> what builds it, of all heads in network order; those that are not wanted are not built.

        Args:
          levels: level -> shape `[B, h, w, C]` of what the heads read.
        """

    def _build_backbone(self) -> tf_keras.Model:
        input_specs = tf_keras.layers.InputSpec(shape=[None, *self.model.input_size])
        options = self.model.backbone
        registered = specs.backbone(str(options.type))
        if registered is not None:
            build = specs.load_implementation(registered.implementation)
            return build(input_specs, options.chosen, self.model.losses.l2_weight_decay)
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

    def _head_levels(self) -> set[str]:
        """Returns the levels that the heads read where there is no decoder."""
        return set(map(str, range(self.model.min_level, self.model.max_level + 1)))

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
        stored = batch.get('features', {})
        if self._last_module in stored:
            return stored[self._last_module]
        features = self._backbone_features(batch, training)
        return self._neck(features, training=training) if self._neck is not None else features

    def _backbone_features(self, batch: Batch, training: bool) -> Mapping[str, tf.Tensor]:
        stored = batch.get('features', {})
        if 'backbone' in stored:
            return stored['backbone']
        if inside('backbone') in stored:
            layers = stored[inside('backbone')]
            return self._rest_behind(tuple(sorted(layers)))(layers, training)
        return self._trunk(batch['image'], training=training)

    def _rest_behind(self, layers: tuple[str, ...]) -> frozen_front.Rest:
        if layers not in self._rests:
            with tf.init_scope():  # Not inside the step that is being traced.
                self._rests[layers] = frozen_front.Rest(self._trunk, layers)
        return self._rests[layers]

    @property
    def _last_module(self) -> str:
        """The module whose output the heads read."""
        return 'decoder' if 'decoder' in self.modules else 'backbone'

    def variables_before(self, cut: Cut) -> dict[str, tf.Variable]:
        """Returns the variables of backbone, backbone and decoder, or a part of the backbone; see `Detector.variables_before`."""
        before = {'backbone': self.modules['backbone']}
        if cut.module == 'decoder':
            before['decoder'] = self.modules['decoder']
        found = named_variables(before)
        if cut.layers:
            inside = {id(variable) for variable in frozen_front.front_of(self._trunk, cut.layers).variables}
            found = {name: variable for name, variable in found.items() if id(variable) in inside}
        return found

    def frozen_cut(self, trained: Sequence[str]) -> Cut | None:
        """Returns the cut behind the decoder, behind the backbone, inside it, or None; see `Detector.frozen_cut`."""
        training = {name.split('/')[0] for name in trained}
        if 'backbone' not in training:
            return Cut('backbone' if 'decoder' in training or 'decoder' not in self.modules else 'decoder')
        variables = named_variables({'backbone': self.modules['backbone']})
        layers = frozen_front.frozen_border(self._trunk, [variables[name] for name in trained if name in variables])
        return Cut('backbone', layers) if layers else None

    def with_features(self, batch: Batch, training: bool = False) -> Batch:
        """Returns the batch with the output of the last module in front of the heads; see `Network.with_features`."""
        return {**batch, 'features': {self._last_module: self.features(batch, training)}}

    def features_at(self, cut: Cut, batch: Batch) -> Mapping[str, tf.Tensor]:
        """Returns what backbone, decoder or layers of the backbone give in inference mode; see `Detector.features_at`."""
        if cut.module == 'decoder':
            return self.features(batch, training=False)
        front = frozen_front.front_of(self._trunk, cut.layers) if cut.layers else self._trunk
        return front(batch['image'], training=False)

    def reached(self, terms: Sequence[str]) -> set[str]:
        """Returns the canonical names of the trainable variables that `terms` depend on; see `Detector.reached`."""
        needs = specs.detector(self.model.type).loss_modules
        return self.reached_by({module for term in terms for module in needs[term]})

    def reached_by(self, modules: Collection[str]) -> set[str]:
        """Returns the trainable variables that `modules` depend on, less the end of the backbone that no level reads."""
        used = [self.modules[module] for module in set(modules) & set(self.modules)]
        parts = {str(number): self._trunk if part is self.modules['backbone'] else part for number, part in enumerate(used)}
        inside = {id(variable) for variable in named_variables(parts).values() if variable.trainable}
        return {name for name, variable in named_variables(self.modules).items() if id(variable) in inside}


def neck(decoder: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """Returns a decoder around the same layers, without the inputs that none of them reads.

    A pyramid that ends below the backbone's last level has such inputs.
    """
    if not hasattr(decoder, 'input_names'):  # No functional model: what it reads is not known.
        return decoder
    read = {id(tensor) for layer in decoder.layers for call in layer.inbound_nodes for tensor in call.keras_inputs}
    return tf_keras.Model({level: tensor for level, tensor in decoder.input.items() if id(tensor) in read}, decoder.output)


def trunk(backbone: tf_keras.Model, levels: Collection[str]) -> tf_keras.Model:
    """Returns the part of a backbone that gives `levels`, around the same layers.

    What lies behind it, as a Model Garden backbone's classification layers, would be computed, and its BatchNorm would drift.
    """
    return tf_keras.Model(backbone.inputs, {level: output for level, output in backbone.output.items() if level in levels})


def override(config: Any, model: DetectorOptions) -> Any:
    """Returns the Model Garden's `config` with the options of a pipeline's `model`.

    What the Model Garden's config has no place for is left out: `type`, `losses`, `parser`, and a registered backbone.
    """
    values = model.model_dump(exclude_unset=True, exclude={'type', 'losses', 'parser'})
    if specs.backbone(str(model.backbone.type)) is not None:
        del values['backbone']
    config.override(values, is_strict=True)
    return config
