"""The rules in `docs/weights.md` name every variable of the network that they are for."""

from __future__ import annotations

import pathlib
import re

import tf_keras
import yaml

from stagetrain.config.builtin import keras_backbones as keras_options
from stagetrain.detectors import keras_backbones
from stagetrain.weights import names, renaming

DOCUMENT = pathlib.Path(__file__).parents[2] / 'docs' / 'weights.md'
BATCH_NORM = [f'BatchNorm/{name}' for name in ('gamma', 'beta', 'moving_mean', 'moving_variance')]


def slim_names() -> list[str]:
    """Returns the names of slim's MobileNet v1 in a checkpoint of the Object Detection API, with an optimizer's beside them."""
    found = [f'Conv2d_0/{name}' for name in ('weights', *BATCH_NORM)]
    for number in range(1, 14):
        found += [f'Conv2d_{number}_depthwise/{name}' for name in ('depthwise_weights', *BATCH_NORM)]
        found += [f'Conv2d_{number}_pointwise/{name}' for name in ('weights', *BATCH_NORM)]
    variables = [f'FirstStageFeatureExtractor/MobilenetV1/{name}' for name in found]
    return [*variables, *(f'{name}/Momentum' for name in variables), 'global_step']


def test_the_rules_for_slims_mobilenet_name_all_of_the_backbone() -> None:
    blocks = re.findall(r'```yaml\n(.*?)```', DOCUMENT.read_text(), re.DOTALL)
    sources = [yaml.safe_load(block).get('sources', {}) for block in blocks]
    (documented,) = [named['slim']['rules'] for named in sources if 'slim' in named]
    shape = tf_keras.layers.InputSpec(shape=[None, 64, 64, 3])
    backbone = keras_backbones.mobilenet_v1(shape, keras_options.KerasMobileNetV1(alpha=0.25), 0.0)
    assert set(renaming.apply(documented, slim_names(), 'model.ckpt')) == set(names.named_variables({'backbone': backbone}))
