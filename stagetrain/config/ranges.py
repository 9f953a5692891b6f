"""Which values the Model Garden's options may have, by the option's name; the Model Garden itself takes any.

    constraint('nms_iou_threshold')      # {'ge': 0, 'le': 1}

A name means the same in all its config classes. A rate of -0.1 or an IoU of 7 trains without complaint and learns nothing, so
every number of the detectors' and optimizers' options stands here, also one that may be anything; and words that would show as
wrong after the training only (`nms_version`), or never (`spp_layer_version`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_POSITIVE = {'gt': 0}
_NOT_NEGATIVE = {'ge': 0}
_SHARE = {'ge': 0, 'le': 1}
_DECAY = {'ge': 0, 'lt': 1}
_LEVEL = {'ge': 1, 'le': 12}
_ANY: Mapping[str, Any] = {}

_RANGES: dict[str, Mapping[str, Any]] = {
    **dict.fromkeys(('level', 'max_level', 'min_level'), _LEVEL),
    # Sizes and counts of networks.
    **dict.fromkeys(
        (
            'anchor_size',
            'aspect_ratios',
            'crop_size',
            'depth_multiplier',
            'dilation_rates',
            'expand_ratio',
            'fc_dims',
            'filter_size_scale',
            'hidden_size',
            'last_stage_repeats',
            'mask_crop_size',
            'mlp_dim',
            'multigrid',
            'num_filters',
            'num_heads',
            'num_layers',
            'num_repeats',
            'num_sampled_masks',
            'num_scales',
            'output_stride',
            'patch_size',
            'pool_kernel_size',
            'pos_embed_shape',
            'transformer_partition_dims',
            'upsample_factor',
        ),
        _POSITIVE,
    ),
    **dict.fromkeys(('model_id', 'num_convs', 'num_fcs', 'representation_size', 'layer_scale_init_value'), _NOT_NEGATIVE),
    **dict.fromkeys(
        ('attention_dropout_rate', 'dropout_rate', 'init_stochastic_depth_rate', 'stochastic_depth_drop_rate'), _DECAY
    ),
    'se_ratio': _SHARE,
    'norm_epsilon': _POSITIVE,
    'norm_momentum': _SHARE,
    # Proposals, sampling, detections.
    **dict.fromkeys(
        (
            'detections_per_class',
            'max_classes_per_detection',
            'max_detections',
            'max_num_detections',
            'max_num_instances',
            'num_channels',
            'num_proposals',
            'num_sampled_rois',
            'pre_nms_top_k',
            'rpn_batch_size_per_im',
            'size',
            'test_num_proposals',
            'test_pre_nms_top_k',
        ),
        _POSITIVE,
    ),
    **dict.fromkeys(
        (
            'background_iou_high_threshold',
            'background_iou_low_threshold',
            'cascade_iou_thresholds',
            'foreground_fraction',
            'foreground_iou_threshold',
            'match_threshold',
            'nms_iou_threshold',
            'nms_score_threshold',
            'pre_nms_score_threshold',
            'rpn_fg_fraction',
            'rpn_match_threshold',
            'rpn_unmatched_threshold',
            'sample_offset',
            'test_nms_iou_threshold',
            'test_pre_nms_score_threshold',
            'unmatched_threshold',
        ),
        _SHARE,
    ),
    **dict.fromkeys(('pre_nms_min_size_threshold', 'soft_nms_sigma', 'test_pre_nms_min_size_threshold'), _NOT_NEGATIVE),
    **dict.fromkeys(
        ('aug_scale_max', 'aug_scale_min', 'box_coder_weights', 'h_scale', 'w_scale', 'x_scale', 'y_scale'), _POSITIVE
    ),
    # Losses.
    **dict.fromkeys(('class_weights', 'focal_loss_gamma', 'l2_weight_decay'), _NOT_NEGATIVE),
    **dict.fromkeys(('box_loss_weight', 'frcnn_huber_loss_delta', 'huber_loss_delta', 'rpn_huber_loss_delta'), _POSITIVE),
    'focal_loss_alpha': _SHARE,
    'frcnn_class_loss_top_k_percent': {'gt': 0, 'le': 1},
    # Optimizers.
    **dict.fromkeys(('beta1', 'beta_1', 'beta_2', 'momentum', 'rho'), _DECAY),
    **dict.fromkeys(
        (
            'clip_threshold',
            'clipnorm',
            'clipping_threshold',
            'clipvalue',
            'eeta',
            'epsilon',
            'epsilon1',
            'epsilon2',
            'epsilon_1',
            'epsilon_2',
            'global_clipnorm',
            'min_dim_size_to_factor',
            'ratio_clip_norm',
        ),
        _POSITIVE,
    ),
    **dict.fromkeys(
        (
            'decay',
            'gradient_clip_norm',
            'initial_accumulator_value',
            'sparse_layer_learning_rate',
            'step_offset',
            'weight_decay',
            'weight_decay_rate',
        ),
        _NOT_NEGATIVE,
    ),
    'average_decay': _DECAY,
    'start_step': _NOT_NEGATIVE,
    # Schedules.
    **dict.fromkeys(
        (
            'end_learning_rate',
            'initial_learning_rate',
            'learning_rate',
            'offset',
            'pre_offset_learning_rate',
            'values',
            'warmup_learning_rate',
            'warmup_steps',
        ),
        _NOT_NEGATIVE,
    ),
    **dict.fromkeys(('boundaries', 'decay_rate', 'decay_steps', 'total_decay_steps'), _POSITIVE),
    **dict.fromkeys(('alpha', 'linear_decay_fraction'), _SHARE),
    # A power of steps is negative where it makes a rate fall, and Adafactor's decay of its second moment is, too; the three
    # numbers of an input size are judged together, by `check`.
    **dict.fromkeys(('beta_2_decay', 'input_size', 'power'), _ANY),
}

_CHOICES = {
    'fusion_type': ('sum', 'concat'),
    'nms_version': ('batched', 'v1', 'v2'),
    'spp_layer_version': ('v1', 'v2'),
    'stem_type': ('v0', 'v1'),
}


def constraint(name: str) -> Mapping[str, Any]:
    """Returns the bounds of an option as `pydantic.Field` takes them; none for a name that is not known."""
    return _RANGES.get(name, _ANY)


def choices(name: str) -> tuple[str, ...]:
    """Returns the words that an option takes; none for one that takes any text, or that the building of the network judges."""
    return _CHOICES.get(name, ())


def is_known(name: str) -> bool:
    """Returns whether an option's bounds were decided."""
    return name in _RANGES
