"""A pipeline as small as one can be that still has all parts: four steps, and a backbone of four convolutions with BatchNorm.

Also the plugin that registers this backbone: a campaign's pipeline file names this file under `plugins`.
"""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

import pydantic

from stagetrain.config import options, specs
from stagetrain.data import synthetic

PIPELINE = """
name: tiny
plugins: [{plugin}]
model:
  type: faster_rcnn
  input_size: [32, 32, 3]
  min_level: 3
  max_level: 3
  backbone: {{type: four_convolutions, four_convolutions: {{filters: 4}}}}
  decoder: {{type: fpn, fpn: {{num_filters: 4}}}}
  anchor: {{anchor_size: 2, aspect_ratios: [1.0], num_scales: 1}}
  rpn_head: {{num_filters: 4}}
  detection_head: {{num_convs: 0, fc_dims: 4}}
  roi_generator: {{num_proposals: 8, test_num_proposals: 8, pre_nms_top_k: 16, test_pre_nms_top_k: 16}}
  roi_sampler: {{num_sampled_rois: 4}}
  losses: {{l2_weight_decay: 4e-5}}
  parser: {{aug_rand_hflip: true}}
data:
  classes: [circle, square, triangle]
  train: {{format: voc, path: {data}, split: trainval}}
  validation: {{format: voc, path: {data}, split: test}}
train:
  steps: {steps}
  batch_size: 2
  optimizer: {{type: sgd, sgd: {{momentum: 0.9}}}}
  learning_rate: {{type: constant, constant: {{learning_rate: 0.01}}}}
  checkpoint_interval: 2
  summary_interval: 1
runtime: {{intra_op_threads: 1, inter_op_threads: 1}}
stages:
  - name: rpn_1
    loss_weights: {{rpn_score: 1.0, rpn_box: 1.0}}
  - name: detector_1
    proposals: {{from: rpn_1, max_per_image: 8}}
    loss_weights: {{frcnn_class: 1.0, frcnn_box: 1.0}}
  - name: rpn_2
    init: {{backbone: detector_1, decoder: detector_1}}
    freeze_variables: ['backbone/.*', 'decoder/.*']
    loss_weights: {{rpn_score: 1.0, rpn_box: 1.0}}
  - name: detector_2
    init: {{backbone: rpn_2, decoder: rpn_2, rpn_head: rpn_2, detection_head: detector_1}}
    freeze_variables: ['backbone/.*', 'decoder/.*', 'rpn_head/.*']
    proposals: {{from: rpn_2, max_per_image: 8}}
    loss_weights: {{frcnn_class: 1.0, frcnn_box: 1.0}}
"""


class FourConvolutions(options.Strict):
    """Four convolutions of stride 2, each with BatchNorm."""

    filters: Annotated[int, pydantic.Field(gt=0)] = 4
    """Filters of each."""


def four_convolutions(input_specs: Any, model_options: FourConvolutions, l2_weight_decay: float) -> Any:
    """Builds the backbone; see `stagetrain.detectors.backbones.keras_mobilenet_v1`."""
    import tf_keras

    from stagetrain.detectors.backbones import EndpointModel, with_l2

    image = features = tf_keras.Input(tuple(input_specs.shape[1:]))
    for number in range(4):
        features = tf_keras.layers.Conv2D(model_options.filters, 3, 2, 'same', use_bias=False, name=f'conv{number}')(features)
        features = tf_keras.layers.BatchNormalization(name=f'bn{number}')(features)
        features = tf_keras.layers.ReLU(name=f'relu{number}')(features)
    network = with_l2(tf_keras.Model(image, features), l2_weight_decay)
    return EndpointModel(network.inputs, {str(n + 1): network.get_layer(f'relu{n}').output for n in range(4)})


def make_tiny(folder: pathlib.Path, num_steps: int = 6) -> pathlib.Path:
    """Writes images and pipeline file into a folder and returns the file."""
    synthetic.make(folder / 'data', num_train=6, num_validation=2, image_size=64, seed=0)
    config = folder / 'tiny.yaml'
    plugin = pathlib.Path(__file__).resolve().with_suffix('')
    config.write_text(PIPELINE.format(plugin=plugin, data=folder / 'data', steps=num_steps))
    return config


specs.register_backbone(specs.BackboneSpec('four_convolutions', FourConvolutions, f'{__name__}:four_convolutions'))
