"""Small files of the Object Detection API, in the ways that people write them."""

from __future__ import annotations

import pathlib

from stagetrain.bridges.tfod.importing import Choices, Imported, import_file

FASTER = """
# two stages on one level
model {
  faster_rcnn {
    num_classes: 3
    image_resizer { keep_aspect_ratio_resizer { min_dimension: 320 max_dimension: 512 } }
    feature_extractor { type: 'faster_rcnn_resnet50' first_stage_features_stride: 16 }
    first_stage_anchor_generator {
      grid_anchor_generator { scales: [0.25, 0.5, 1.0] aspect_ratios: [0.5, 1.0, 2.0] height_stride: 16 width_stride: 16 }
    }
    first_stage_box_predictor_conv_hyperparams {
      op: CONV
      regularizer { l2_regularizer { weight: 0.0005 } }
      initializer { truncated_normal_initializer { stddev: 0.02 } }
    }
    first_stage_box_predictor_depth: 128
    first_stage_minibatch_size: 64
    first_stage_positive_balance_fraction: 0.4
    first_stage_nms_score_threshold: 0.01
    first_stage_nms_iou_threshold: 0.65
    first_stage_max_proposals: 200
    first_stage_localization_loss_weight: 2.0
    first_stage_objectness_loss_weight: 0.5
    initial_crop_size: 14
    maxpool_kernel_size: 2
    maxpool_stride: 2
    second_stage_batch_size: 32
    second_stage_balance_fraction: 0.3
    second_stage_box_predictor {
      mask_rcnn_box_predictor {
        use_dropout: false
        dropout_keep_probability: 1.0
        fc_hyperparams { op: FC regularizer { l2_regularizer { weight: 0.0005 } } }
      }
    }
    second_stage_post_processing {
      batch_non_max_suppression {
        score_threshold: 0.05 iou_threshold: 0.55 max_detections_per_class: 100 max_total_detections: 80
      }
      score_converter: SOFTMAX
    }
    second_stage_localization_loss_weight: 2.0
    second_stage_classification_loss_weight: 1.5
  }
}
train_config: {
  batch_size: 2
  num_steps: 1000
  gradient_clipping_by_norm: 10.0
  fine_tune_checkpoint: "model.ckpt"
  from_detection_checkpoint: true
  optimizer {
    momentum_optimizer: {
      learning_rate: {
        manual_step_learning_rate {
          initial_learning_rate: 3e-4
          schedule { step: 600 learning_rate: .00003 }
          schedule { step: 900000 learning_rate: .000003 }
        }
      }
      momentum_optimizer_value: 0.85
    }
    use_moving_average: false
  }
  data_augmentation_options { random_horizontal_flip { } }
  data_augmentation_options { random_rotation90 { probability: 0.25 } }
}
train_input_reader: {
  tf_record_input_reader { input_path: "train.record-?????-of-00002" }
  label_map_path: "label_map.pbtxt"
  shuffle: true
}
eval_config: { num_examples: 20 metrics_set: "pascal_voc_detection_metrics" batch_size: 1 }
eval_input_reader: {
  tf_record_input_reader { input_path: "val.record" }
  label_map_path: "label_map.pbtxt"
  num_readers: 1
}
"""

PYRAMID = """
model {
  faster_rcnn {
    num_classes: 2
    image_resizer { keep_aspect_ratio_resizer { min_dimension: 256 max_dimension: 256 pad_to_max_dimension: true } }
    feature_extractor {
      type: 'faster_rcnn_resnet101_fpn_keras'
      batch_norm_trainable: true
      fpn { min_level: 2 max_level: 6 additional_layer_depth: 128 }
      conv_hyperparams {
        activation: RELU_6,
        regularizer { l2_regularizer { weight: 0.0004 } }
        batch_norm { scale: true, decay: 0.997, epsilon: 0.002, }
      }
      override_base_feature_extractor_hyperparams: true
    }
    first_stage_anchor_generator {
      multiscale_anchor_generator {
        min_level: 2 max_level: 6 anchor_scale: 8.0 aspect_ratios: [1.0, 2.0, 0.5] scales_per_octave: 1
      }
    }
    first_stage_localization_loss_weight: 2.0
    initial_crop_size: 14 maxpool_kernel_size: 2 maxpool_stride: 2
    second_stage_box_predictor { mask_rcnn_box_predictor { share_box_across_classes: true } }
    second_stage_post_processing { batch_non_max_suppression { soft_nms_sigma: 0.4 } score_converter: SOFTMAX }
    clip_anchors_to_image: true
  }
}
train_config {
  num_steps: 500
  optimizer {
    momentum_optimizer {
      learning_rate {
        cosine_decay_learning_rate {
          learning_rate_base: .04 total_steps: 500 warmup_learning_rate: .013333 warmup_steps: 50
        }
      }
    }
    use_moving_average: false
  }
  fine_tune_checkpoint_version: V2
  fine_tune_checkpoint: "resnet101.ckpt-1"
  fine_tune_checkpoint_type: "classification"
}
train_input_reader { tf_record_input_reader { input_path: "train.record" } }
eval_input_reader { tf_record_input_reader { input_path: "val.record" } }
"""

RETINANET = """
model {
  ssd {
    num_classes: 2
    image_resizer { fixed_shape_resizer { height: 256 width: 384 } }
    feature_extractor {
      type: 'ssd_resnet50_v1_fpn'
      fpn { min_level: 3 max_level: 7 }
      conv_hyperparams { activation: RELU_6 regularizer { l2_regularizer { weight: 0.0004 } } }
    }
    box_coder { faster_rcnn_box_coder { y_scale: 10.0 x_scale: 10.0 height_scale: 5.0 width_scale: 5.0 } }
    matcher { argmax_matcher { matched_threshold: 0.6 unmatched_threshold: 0.4 force_match_for_each_row: true } }
    similarity_calculator { iou_similarity { } }
    box_predictor {
      weight_shared_convolutional_box_predictor {
        depth: 128 num_layers_before_predictor: 2 kernel_size: 3 class_prediction_bias_init: -4.6
      }
    }
    anchor_generator {
      multiscale_anchor_generator {
        min_level: 3 max_level: 7 anchor_scale: 4.0 aspect_ratios: [1.0, 2.0, 0.5] scales_per_octave: 2
      }
    }
    post_processing {
      batch_non_max_suppression { score_threshold: 1e-8 iou_threshold: 0.6 max_total_detections: 100 }
      score_converter: SIGMOID
    }
    loss {
      classification_loss { weighted_sigmoid_focal { alpha: 0.3 gamma: 1.5 } }
      localization_loss { weighted_smooth_l1 { } }
      classification_weight: 1.0
      localization_weight: 2.0
    }
    normalize_loss_by_num_matches: true
    normalize_loc_loss_by_codesize: true
    freeze_batchnorm: true
  }
}
train_config {
  batch_size: 4
  num_steps: 100
  optimizer {
    rms_prop_optimizer {
      learning_rate { exponential_decay_learning_rate { initial_learning_rate: 0.004 decay_steps: 50 decay_factor: 0.9 } }
      momentum_optimizer_value: 0.8 decay: 0.95 epsilon: 1.0
    }
  }
  fine_tune_checkpoint: "model.ckpt"
  data_augmentation_options { random_image_scale { min_scale_ratio: 0.8 max_scale_ratio: 1.5 } }
  data_augmentation_options { random_adjust_contrast { } }
}
train_input_reader { tf_record_input_reader { input_path: "train.record" } }
eval_input_reader { tf_record_input_reader { input_path: "val.record" } }
"""

CENTERNET = """
model {
  center_net {
    num_classes: 2
    feature_extractor { type: "resnet_v1_50_fpn" channel_means: [1.0, 2.0, 3.0] }
    image_resizer { keep_aspect_ratio_resizer { min_dimension: 256 max_dimension: 256 } }
    object_detection_task { task_loss_weight: 2.0 offset_loss_weight: 1.0 scale_loss_weight: 0.1 }
    object_center_params {
      object_center_loss_weight: 1.5 min_box_overlap_iou: 0.6 max_box_predictions: 50
      classification_loss { penalty_reduced_logistic_focal_loss { alpha: 2.0 beta: 4.0 } }
    }
  }
}
train_config {
  batch_size: 8
  num_steps: 100
  optimizer {
    adam_optimizer { epsilon: 1e-7 learning_rate { constant_learning_rate { learning_rate: 1e-3 } } }
    use_moving_average: false
  }
  data_augmentation_options { random_square_crop_by_scale { scale_min: 0.5 scale_max: 1.25 } }
}
train_input_reader { tf_record_input_reader { input_path: "train.record" } }
eval_input_reader { tf_record_input_reader { input_path: "val.record" } }
"""

MASKS = FASTER.replace('num_classes: 3', 'num_classes: 3 number_of_stages: 3').replace(
    'use_dropout: false',
    'use_dropout: false predict_instance_masks: true mask_height: 28 mask_width: 28 mask_prediction_conv_depth: 64',
)
ALL = {'faster': FASTER, 'pyramid': PYRAMID, 'retinanet': RETINANET, 'centernet': CENTERNET, 'masks': MASKS}
LABEL_MAP = "item { id: 1 name: 'cat' } item { id: 2 name: 'dog' } item { id: 3 name: 'cow' }"


def import_text(folder: pathlib.Path, text: str, choices: Choices = Choices()) -> Imported:  # noqa: B008
    """Imports a text as a file in a folder."""
    (folder / 'pipeline.config').write_text(text)
    return import_file(folder / 'pipeline.config', choices)
