"""What every field of the Object Detection API becomes here: the table of `docs/migrating_fields.md`, and the words of reports.

    verdict('TrainConfig.batch_size')      # Verdict('mapped', 'train.batch_size', '')

`account` says what became of a field in one file, and takes its words from here where the translator has none of its own.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

from stagetrain.bridges.tfod import descriptors


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a field becomes."""

    kind: Literal['mapped', 'meaningless', 'reported', 'refused']
    text: str
    """Keys of the pipeline file; or why there is none."""
    otherwise: str = ''
    """mapped: why the field decides nothing in a file where the translator did not take it."""


_MARKS: dict[str, Literal['mapped', 'meaningless', 'reported', 'refused']] = {
    '=': 'mapped',
    '-': 'meaningless',
    '!': 'reported',
    'x': 'refused',
}
_TABLE = """
AdamOptimizer
  learning_rate = train.learning_rate
  epsilon = train.optimizer.adam_experimental.epsilon
AdjustGamma
  * ! there is no correction of gamma
AnchorGenerator
  grid_anchor_generator = model.anchor
  multiscale_anchor_generator = model.anchor
  ssd_anchor_generator ! the anchors of RetinaNet are used: SSD's are scales of the image, those here are sizes in pixels
  flexible_grid_anchor_generator ! the anchors of the network here are used: each level's are twice those of the level before
AnchorGrid
  * ! see flexible_grid_anchor_generator
ArgMaxMatcher
  matched_threshold = model.parser.match_threshold
  unmatched_threshold = model.parser.unmatched_threshold | where ignore_thresholds is true no threshold counts
  ignore_thresholds ! an anchor counts by thresholds here, always
  negatives_lower_than_unmatched ! anchors below the lower threshold are the negatives here, always
  force_match_for_each_row - the best anchor of a box is its own here, always
  use_matmul_gather - how the same numbers are computed on TPUs
AutoAugmentImage
  policy_name = model.parser.aug_type.autoaug.augmentation_name
BatchNonMaxSuppression
  score_threshold = model.detection_generator.pre_nms_score_threshold
  iou_threshold = model.detection_generator.nms_iou_threshold
  max_detections_per_class ! there is no limit for each class, max_num_detections alone counts
  max_total_detections = model.detection_generator.max_num_detections
  use_static_shapes - how the same numbers are computed on TPUs
  use_class_agnostic_nms = model.detection_generator.use_class_agnostic_nms | boxes of two classes do not suppress each other
  max_classes_per_detection ! goes with use_class_agnostic_nms there; no limit here
  soft_nms_sigma = model.detection_generator.soft_nms_sigma
  use_partitioned_nms - how nearly the same boxes are found on TPUs
  use_combined_nms - how the same boxes are found faster
  change_coordinate_frame - boxes are in pixels of the image here
  use_hard_nms - greedy suppression is what happens here without soft_nms_sigma
  use_cpu_nms - where the same numbers are computed
BatchNorm
  decay = model.norm_activation.norm_momentum | the ImageNet network's own value counts in a network of Keras
  epsilon = model.norm_activation.norm_epsilon | the ImageNet network's own value counts in a network of Keras
  center - always true here
  scale ! always true here: a scale is learned
  train ! heads normalise by batches while they train here; freeze_variables makes them rest
BidirectionalFeaturePyramidNetworks
  * ! the pyramid here is an FPN
BipartiteMatcher
  * ! anchors are matched by thresholds here, as argmax_matcher does
BootstrappedSigmoidClassificationLoss
  * ! the network's own loss is used
BoxCoder
  faster_rcnn_box_coder = model.detection_generator.box_coder_weights
  * ! boxes are coded as faster_rcnn_box_coder does
BoxPredictor
  mask_rcnn_box_predictor = model.detection_head
  weight_shared_convolutional_box_predictor = model.head
  convolutional_box_predictor ! heads of RetinaNet share their weights between levels
  rfcn_box_predictor ! the head of Faster R-CNN is used, when --backbone is given
CalibrationConfig
  * ! scores are not calibrated
CenterNet
  num_classes = data.classes
  feature_extractor = model.backbone
  image_resizer = model.input_size
  use_depthwise ! heads have plain convolutions here
  compute_heatmap_sparse - how the same heat maps are computed
  object_detection_task = stages[].loss_weights
  object_center_params = stages[].loss_weights.heatmap
  keypoint_label_map_path x keypoints
  keypoint_estimation_task x keypoints
  mask_estimation_task x masks of CenterNet
  densepose_estimation_task x DensePose
  track_estimation_task x tracking
  temporal_offset_task x tracking
  deepmac_mask_estimation x DeepMAC's masks
  post_processing ! peaks are taken as they are here
  output_prediction_dict - what a served model gives besides detections
CenterNetDeepMACMaskEstimation
  * x DeepMAC's masks
CenterNetDensePoseEstimation
  * x DensePose
CenterNetFeatureExtractor
  type = model.backbone
  channel_means - images are normalised as the weights of the backbone need it
  channel_stds - images are normalised as the weights of the backbone need it
  bgr_ordering - images are normalised as the weights of the backbone need it
  use_depthwise ! up-convolutions are plain here
  depth_multiplier ! the backbone has its usual width
  use_separable_conv ! up-convolutions are plain here
  upsampling_interpolation ! up-convolutions learn their interpolation here
CenterNetKeypointEstimation
  * x keypoints
CenterNetKeypointEstimationKeypointLabelToStdEntry
  * x keypoints
CenterNetMaskEstimation
  * x masks of CenterNet
CenterNetObjectCenterParams
  object_center_loss_weight = stages[].loss_weights.heatmap
  classification_loss ! the penalty-reduced focal loss with alpha 2 and beta 4 is used
  heatmap_bias_init = model.head.heatmap_bias
  min_box_overlap_iou = model.losses.gaussian_iou
  max_box_predictions = model.detection_generator.max_detections
  use_labeled_classes ! all classes count in every image
  keypoint_weights_for_center x keypoints
  center_head_params ! heads are a 3x3 convolution and a 1x1 convolution here
  peak_max_pool_kernel_size = model.detection_generator.peak_extract_kernel_size
CenterNetObjectDetection
  task_loss_weight = stages[].loss_weights.size, stages[].loss_weights.offset
  offset_loss_weight = stages[].loss_weights.offset
  scale_loss_weight = stages[].loss_weights.size
  localization_loss ! L1 is used
  scale_head_params ! heads are a 3x3 convolution and a 1x1 convolution here
  offset_head_params ! heads are a 3x3 convolution and a 1x1 convolution here
CenterNetPredictionHeadParams
  * ! heads are a 3x3 convolution and a 1x1 convolution here
CenterNetTemporalOffsetEstimation
  * x tracking
CenterNetTrackEstimation
  * x tracking
ClassIdFunctionApproximations
  * ! scores are not calibrated
ClassIdFunctionApproximationsClassIdXyPairsMapEntry
  * ! scores are not calibrated
ClassIdSigmoidCalibrations
  * ! scores are not calibrated
ClassIdSigmoidCalibrationsClassIdSigmoidParametersMapEntry
  * ! scores are not calibrated
ClassificationLoss
  weighted_softmax - the loss of Faster R-CNN here
  weighted_sigmoid = model.losses.frcnn_class_use_binary_cross_entropy | the network's own loss is used
  weighted_sigmoid_focal = model.losses.focal_loss_alpha, model.losses.focal_loss_gamma | the network's own loss is used
  penalty_reduced_logistic_focal_loss - the loss of CenterNet here
  * ! the network's own loss is used
CocoKeypointMetrics
  * ! keypoints are not measured
CocoKeypointMetricsKeypointLabelToSigmasEntry
  * ! keypoints are not measured
ConditionalShapeResizer
  condition ! images are scaled to fit size_threshold, larger and smaller ones alike
  size_threshold = model.input_size
  resize_method ! images are scaled bilinearly
  convert_to_grayscale ! images stay in colour
ConstantLearningRate
  learning_rate = train.learning_rate.constant.learning_rate
Context
  max_num_context_features x context features
  * x context features
ConvertClassLogitsToSoftmax
  * ! class scores of training data are not read
ConvolutionalBoxPredictor
  * ! heads of RetinaNet are used: four convolutions that all levels share
ConvolutionalBoxPredictorBoxEncodingsClipRange
  * ! box codes are not clipped
CosineDecayLearningRate
  learning_rate_base = train.learning_rate.cosine.initial_learning_rate
  total_steps = train.learning_rate.cosine.decay_steps
  warmup_learning_rate = train.warmup.linear.warmup_learning_rate | there is no warm-up: warmup_steps is 0
  warmup_steps = train.warmup.linear.warmup_steps
  hold_base_rate_steps = train.learning_rate
DetectionModel
  faster_rcnn = model
  ssd = model
  center_net = model
  experimental_model x an experimental model
DropLabelProbabilistically
  * ! labels are not dropped
EvalConfig
  batch_size = evaluation.batch_size
  num_visualizations - the report shows a fixed number of images
  num_examples - the whole validation set is measured
  eval_interval_secs - stages are measured by steps (train.validation_interval), not by time
  max_evals - stages are measured at their end, or by train.validation_interval
  save_graph - the network is what the pipeline file says
  visualization_export_dir - pictures are in the report of the run
  eval_master - there is one process for each stage
  metrics_set = evaluation.voc_ap
  parameterized_metric ! keypoints are not measured
  export_path - metrics are in evaluation.json of the stage
  ignore_groundtruth ! the validation set is always compared with its annotations
  use_moving_averages ! the averages are measured where there are any: train.ema
  eval_instance_masks - masks are measured where the network has them
  min_score_threshold - only decides which boxes a picture shows
  max_num_boxes_to_visualize - only decides which boxes a picture shows
  skip_scores - only decides what a picture shows
  skip_labels - only decides what a picture shows
  visualize_groundtruth_boxes - only decides what a picture shows
  groundtruth_box_visualization_color - only decides what a picture shows
  keep_image_id_for_visualization_export - only decides the names of pictures
  retain_original_images - only decides what a picture shows
  include_metrics_per_category - AP of each class is always measured
  all_metrics_per_category - AP of each class is always measured
  super_categories ! metrics of groups of classes are not measured
  recall_lower_bound ! recall is measured over its whole range
  recall_upper_bound ! recall is measured over its whole range
  retain_original_image_additional_channels - images have three channels
  force_no_resize ! images are resized in evaluation as in training
  use_dummy_loss_in_eval - no loss is computed in evaluation
  keypoint_edge - only decides what a picture shows
  skip_predictions_for_unlabeled_class ! all classes count in every image
  image_classes_field_map_empty_to_ones - all classes count in every image
EvalConfigSuperCategoriesEntry
  * ! metrics of groups of classes are not measured
ExperimentalModel
  * x an experimental model
ExponentialDecayLearningRate
  initial_learning_rate = train.learning_rate.exponential.initial_learning_rate
  decay_steps = train.learning_rate.exponential.decay_steps
  decay_factor = train.learning_rate.exponential.decay_rate
  staircase = train.learning_rate.exponential.staircase
  burnin_learning_rate = train.warmup.linear.warmup_learning_rate | there is no burn-in: burnin_steps is 0
  burnin_steps = train.warmup.linear.warmup_steps
  min_learning_rate ! the rate falls without a lower limit
ExternalInputReader
  * ! no reader outside the API is known; name the data set with --set data.train.path=...
FasterRcnn
  number_of_stages = stages[].loss_weights
  num_classes = data.classes
  image_resizer = model.input_size
  feature_extractor = model.backbone
  first_stage_anchor_generator = model.anchor
  first_stage_atrous_rate ! convolutions are not dilated here
  first_stage_box_predictor_conv_hyperparams = model.losses.l2_weight_decay
  first_stage_box_predictor_kernel_size ! the convolution of the RPN is 3x3
  first_stage_box_predictor_depth = model.rpn_head.num_filters
  first_stage_minibatch_size = model.parser.rpn_batch_size_per_im
  first_stage_positive_balance_fraction = model.parser.rpn_fg_fraction
  first_stage_nms_score_threshold = model.roi_generator.pre_nms_score_threshold
  first_stage_nms_iou_threshold = model.roi_generator.nms_iou_threshold
  first_stage_max_proposals = model.roi_generator.num_proposals
  first_stage_localization_loss_weight = stages[].loss_weights.rpn_box
  first_stage_objectness_loss_weight = stages[].loss_weights.rpn_score
  initial_crop_size = model.roi_aligner.crop_size | without a second stage no RoI is cut out
  maxpool_kernel_size ! maxima are taken over squares that do not overlap, of maxpool_stride points a side
  maxpool_stride = model.roi_aligner.crop_size | without a second stage no RoI is cut out
  second_stage_box_predictor = model.detection_head
  second_stage_batch_size = model.roi_sampler.num_sampled_rois | without a second stage no RoI is sampled
  second_stage_balance_fraction = model.roi_sampler.foreground_fraction | without a second stage no RoI is sampled
  second_stage_post_processing = model.detection_generator
  second_stage_localization_loss_weight = stages[].loss_weights.frcnn_box | there is no second stage
  second_stage_classification_loss_weight = stages[].loss_weights.frcnn_class | there is no second stage
  second_stage_mask_prediction_loss_weight = stages[].loss_weights.mask | no mask is predicted
  hard_example_miner ! RoIs are sampled at random, num_sampled_rois of each image; hard ones are not looked for
  second_stage_classification_loss = model.losses
  inplace_batchnorm_update - how TensorFlow 1 ran the update of the statistics
  use_matmul_crop_and_resize - how the same numbers are computed on TPUs
  clip_anchors_to_image = model.anchor.allowed_border | all anchors count in a pyramid here
  use_matmul_gather_in_matcher - how the same numbers are computed on TPUs
  use_static_balanced_label_sampler - how the same numbers are computed on TPUs
  use_static_shapes - how the same numbers are computed on TPUs
  use_static_shapes_for_eval - how the same numbers are computed on TPUs
  resize_masks - the mask of a detection has the size of the image here
  use_partitioned_nms_in_first_stage - how nearly the same boxes are found on TPUs
  return_raw_detections_during_predict - what a served model gives besides detections
  use_combined_nms_in_first_stage - how the same boxes are found faster
  output_final_box_features - what a served model gives besides detections
  output_final_box_rpn_features - what a served model gives besides detections
  context_config ! the boxes are classified without context features, when --backbone is given
FasterRcnnBoxCoder
  y_scale = model.detection_generator.box_coder_weights
  x_scale = model.detection_generator.box_coder_weights
  height_scale = model.detection_generator.box_coder_weights
  width_scale = model.detection_generator.box_coder_weights
FasterRcnnFeatureExtractor
  type = model.backbone
  first_stage_features_stride ! the features have stride 16 here
  batch_norm_trainable = stages[].freeze_variables
  conv_hyperparams = model.norm_activation, model.losses.l2_weight_decay | see its fields
  override_base_feature_extractor_hyperparams = model.losses.l2_weight_decay
  pad_to_multiple - images are padded to a multiple of the coarsest level's stride
  fpn = model.min_level, model.max_level
FeaturePyramidNetworks
  min_level = model.min_level | the network of this extractor has one level
  max_level = model.max_level | the network of this extractor has one level
  additional_layer_depth = model.decoder.fpn.num_filters | the network of this extractor has no pyramid
FixedShapeResizer
  height = model.input_size
  width = model.input_size
  resize_method ! images are scaled bilinearly
  convert_to_grayscale ! images stay in colour
FlexibleGridAnchorGenerator
  * ! see flexible_grid_anchor_generator
FunctionApproximation
  * ! scores are not calibrated
GraphRewriter
  * ! numbers are not quantized in training
GridAnchorGenerator
  height = model.anchor.sizes
  width = model.anchor.sizes
  height_stride ! anchors have the stride of the features
  width_stride ! anchors have the stride of the features
  height_offset ! anchors lie on the centres of cells, half a stride from the corner
  width_offset ! anchors lie on the centres of cells, half a stride from the corner
  scales = model.anchor.sizes
  aspect_ratios = model.anchor.aspect_ratios
GroupNorm
  * ! heads have BatchNorm here
HardExampleMiner
  * ! hard examples are not looked for
Hyperparams
  op - follows from the layer
  regularizer = model.losses.l2_weight_decay | another part's regularizer decides l2_weight_decay, which is one for the network
  initializer ! initial weights are those of the network here
  activation = model.norm_activation.activation | the layer's own activation is used
  batch_norm = model.norm_activation | the layer is not normalised here
  sync_batch_norm = model.norm_activation | the layer is not normalised here
  group_norm ! heads have BatchNorm here
  regularize_depthwise ! kernels of depthwise convolutions are not regularised
  force_use_bias - layers in front of BatchNorm need no bias
IdentityResizer
  * ! images are scaled to fit model.input_size: batches need one size
ImageResizer
  keep_aspect_ratio_resizer = model.input_size
  fixed_shape_resizer = model.input_size
  conditional_shape_resizer = model.input_size
  pad_to_multiple_resizer = model.input_size
  identity_resizer ! images are scaled to fit model.input_size: batches need one size
Initializer
  * ! initial weights are those of the network here
InputReader
  name - only a label
  label_map_path = data.train.class_file, data.validation.class_file
  shuffle - which image a step shows is a function of seed, stage and step; each is shown once an epoch
  shuffle_buffer_size - each image is shown once an epoch, in an order drawn over all of them
  filenames_shuffle_buffer_size - each image is shown once an epoch, in an order drawn over all of them
  num_epochs - a stage has train.steps; evaluation shows each image once
  sample_1_of_n_examples ! all examples are read
  num_readers - how fast images come
  num_parallel_batches - how fast images come
  num_prefetch_batches - how fast images come
  queue_capacity - how fast images come
  min_after_dequeue - each image is shown once an epoch, in an order drawn over all of them
  read_block_length - how fast images come
  prefetch_size - how fast images come
  num_parallel_map_calls - how fast images come
  drop_remainder - batches are always whole
  num_additional_channels ! images have three channels
  num_keypoints ! keypoints are not read
  keypoint_type_weight ! keypoints are not read
  max_number_of_boxes = model.parser.max_num_instances | train_config.max_number_of_boxes counts
  load_multiclass_scores ! class scores of training data are not read
  load_context_features ! context features are not read
  load_context_image_ids ! context features are not read
  load_instance_masks = data.train.masks, data.validation.masks | no mask is trained or measured, so none is read
  mask_type ! masks are read as PNG, or as numbers, by what the records hold
  load_dense_pose ! DensePose is not read
  load_track_id ! tracks are not read
  load_keypoint_depth_features ! keypoints are not read
  use_display_name ! classes are called by `name` of the label map
  include_source_id - image/source_id is always read
  input_type ! records are tf.train.Example
  frame_index ! records are tf.train.Example
  use_keypoint_label_map ! keypoints are not read
  tf_record_input_reader = data.train.path, data.validation.path
  external_input_reader ! no reader outside the API is known; name the data set with --set data.train.path=...
  sample_from_datasets_weights ! all records are shown equally often
  expand_labels_hierarchy ! a label stands for itself only
KeepAspectRatioResizer
  min_dimension = model.parser.shorter_side, model.input_size
  max_dimension = model.input_size
  resize_method ! images are scaled bilinearly
  pad_to_max_dimension - images are always padded to model.input_size
  convert_to_grayscale ! images stay in colour
  per_channel_pad_value ! what is padded has the mean colour here
KeypointBoxCoder
  * ! boxes are coded as faster_rcnn_box_coder does
KeypointEdge
  * - only decides what a picture shows
L1LocalizationLoss
  * - the loss of CenterNet's boxes here
L1Regularizer
  * ! weights are regularised by L2 only
L2Regularizer
  weight = model.losses.l2_weight_decay | another part's weight decides l2_weight_decay, which is one for the network
LearningRate
  * = train.learning_rate
LocalizationLoss
  weighted_smooth_l1 = model.losses.huber_loss_delta
  l1_localization_loss - the loss of CenterNet's boxes here
  * ! the network's own loss is used: smooth L1, of CenterNet L1
Loss
  localization_loss = model.losses.huber_loss_delta
  classification_loss = model.losses.focal_loss_alpha, model.losses.focal_loss_gamma
  hard_example_miner ! hard examples are not looked for; the focal loss has their place
  classification_weight = stages[].loss_weights.class
  localization_weight = stages[].loss_weights.box
  random_example_sampler ! all anchors count
  equalization_loss ! classes count equally
  expected_loss_weights ! anchors count equally
  min_num_negative_samples - goes with expected_loss_weights
  desired_negative_sampling_ratio - goes with expected_loss_weights
LossEqualizationLoss
  * ! classes count equally
ManualStepLearningRate
  initial_learning_rate = train.learning_rate.stepwise.values
  schedule = train.learning_rate.stepwise.boundaries
  warmup = train.warmup.linear
ManualStepLearningRateLearningRateSchedule
  step = train.learning_rate.stepwise.boundaries
  learning_rate = train.learning_rate.stepwise.values | the step lies behind the last one of the training
MaskRCNNBoxPredictor
  fc_hyperparams = model.losses.l2_weight_decay
  use_dropout ! there is no dropout before the classifier here
  dropout_keep_probability ! there is no dropout before the classifier here
  box_code_size - boxes have four numbers
  conv_hyperparams = model.losses.l2_weight_decay
  predict_instance_masks = model.type, stages[].loss_weights.mask
  mask_prediction_conv_depth = model.mask_head.num_filters
  predict_keypoints x keypoints
  mask_height = model.mask_roi_aligner.crop_size | no mask is predicted
  mask_width ! masks are squares of mask_height
  mask_prediction_num_conv_layers = model.mask_head.num_convs | no mask is predicted
  masks_are_class_agnostic = model.mask_head.class_agnostic | no mask is predicted
  share_box_across_classes = model.detection_head.class_agnostic_bbox_pred | the head regresses a box for each class here
  convolve_then_upsample_masks - masks are always convolved first here
Matcher
  argmax_matcher = model.parser.match_threshold
  bipartite_matcher ! anchors are matched by thresholds here, as argmax_matcher does
MeanStddevBoxCoder
  * ! boxes are coded as faster_rcnn_box_coder does
MomentumOptimizer
  learning_rate = train.learning_rate
  momentum_optimizer_value = train.optimizer.sgd.momentum
MultiscaleAnchorGenerator
  min_level = model.min_level
  max_level = model.max_level
  anchor_scale = model.anchor.anchor_size
  aspect_ratios = model.anchor.aspect_ratios
  scales_per_octave = model.anchor.num_scales
  normalize_coordinates - boxes are in pixels here
NormalizeImage
  * - images are normalised as the weights of the backbone need it
Optimizer
  rms_prop_optimizer = train.optimizer.rmsprop
  momentum_optimizer = train.optimizer.sgd
  adam_optimizer = train.optimizer.adam_experimental
  use_moving_average = train.ema
  moving_average_decay = train.ema.average_decay | use_moving_average is false
PadToMultipleResizer
  multiple ! images are padded to a multiple of the coarsest level's stride
  convert_to_grayscale ! images stay in colour
ParameterizedMetric
  * ! keypoints are not measured
PenaltyReducedLogisticFocalLoss
  alpha ! is 2 here
  beta ! is 4 here
PostProcessing
  batch_non_max_suppression = model.detection_generator
  score_converter = model.detection_generator.use_sigmoid_probability | it is that of the network here
  logit_scale ! logits are not scaled
  calibration_config ! scores are not calibrated
PreprocessingStep
  random_horizontal_flip = model.parser.aug_rand_hflip
  random_vertical_flip = model.parser.aug_rand_vflip
  random_image_scale = model.parser.aug_scale_min, model.parser.aug_scale_max
  random_square_crop_by_scale = model.parser.aug_scale_min, model.parser.aug_scale_max
  random_scale_crop_and_pad_to_square = model.parser.aug_scale_min, model.parser.aug_scale_max
  random_crop_image = model.parser.aug_scale_max
  random_adjust_brightness = model.parser.color_jitter
  random_adjust_contrast = model.parser.color_jitter
  random_adjust_saturation = model.parser.color_jitter
  random_distort_color = model.parser.color_jitter
  autoaugment_image = model.parser.aug_type
  normalize_image - images are normalised as the weights of the backbone need it
  subtract_channel_mean - images are normalised as the weights of the backbone need it
  scale_boxes_to_pixel_coordinates - boxes are in pixels here
  random_pixel_value_scale ! there is no noise of single pixels
  random_rgb_to_gray ! images stay in colour
  rgb_to_gray ! images stay in colour
  random_adjust_hue ! hue is not changed
  random_jitter_boxes ! boxes are not jittered
  random_pad_image ! images are padded to model.input_size only
  random_absolute_pad_image ! images are padded to model.input_size only
  random_crop_pad_image ! there is no crop with padding; aug_scale_min and aug_scale_max come near
  random_crop_to_aspect_ratio ! images keep their aspect ratio
  random_black_patches ! there are no black patches; Cutout of aug_type comes near
  random_resize_method ! images are scaled bilinearly
  resize_image ! images are resized by model.input_size only
  ssd_random_crop ! there is no crop by overlap; aug_scale_max comes near
  ssd_random_crop_pad ! there is no crop by overlap; aug_scale_min and aug_scale_max come near
  ssd_random_crop_fixed_aspect_ratio ! there is no crop by overlap; aug_scale_max comes near
  ssd_random_crop_pad_fixed_aspect_ratio ! there is no crop by overlap; aug_scale_min and aug_scale_max come near
  random_rotation90 ! images are not turned by 90 degrees
  convert_class_logits_to_softmax ! class scores of training data are not read
  random_self_concat_image ! images are not put side by side
  drop_label_probabilistically ! labels are not dropped
  remap_labels ! labels are not renamed
  random_jpeg_quality ! images are not compressed again
  random_downscale_to_target_pixels ! images are not scaled down at random; aug_scale_min comes near
  random_patch_gaussian ! there is no noise in patches
  adjust_gamma ! there is no correction of gamma
Quantization
  * ! numbers are not quantized in training
RGBtoGray
  * ! images stay in colour
RMSPropOptimizer
  learning_rate = train.learning_rate
  momentum_optimizer_value = train.optimizer.rmsprop.momentum
  decay = train.optimizer.rmsprop.rho
  epsilon = train.optimizer.rmsprop.epsilon
RandomAbsolutePadImage
  * ! images are padded to model.input_size only
RandomAdjustBrightness
  max_delta = model.parser.color_jitter
RandomAdjustContrast
  min_delta = model.parser.color_jitter
  max_delta = model.parser.color_jitter
RandomAdjustHue
  * ! hue is not changed
RandomAdjustSaturation
  min_delta = model.parser.color_jitter
  max_delta = model.parser.color_jitter
RandomBlackPatches
  * ! there are no black patches
RandomCropImage
  min_area = model.parser.aug_scale_max
  * ! a crop is drawn by its size alone, and keeps the aspect ratio of the input
RandomCropPadImage
  * ! there is no crop with padding
RandomCropToAspectRatio
  * ! images keep their aspect ratio
RandomDistortColor
  * ! the order of operations is one
RandomDownscaleToTargetPixels
  * ! images are not scaled down at random
RandomExampleSampler
  * ! all anchors count
RandomHorizontalFlip
  probability ! an image is mirrored with probability 0.5
  keypoint_flip_permutation ! keypoints are not read
RandomImageScale
  min_scale_ratio = model.parser.aug_scale_min
  max_scale_ratio = model.parser.aug_scale_max
RandomJitterBoxes
  * ! boxes are not jittered
RandomJpegQuality
  * ! images are not compressed again
RandomNormalInitializer
  * ! initial weights are those of the network here
RandomPadImage
  * ! images are padded to model.input_size only
RandomPatchGaussian
  * ! there is no noise in patches
RandomPixelValueScale
  * ! there is no noise of single pixels
RandomRGBtoGray
  * ! images stay in colour
RandomResizeMethod
  * ! images are scaled bilinearly
RandomRotation90
  * ! images are not turned by 90 degrees
RandomScaleCropAndPadToSquare
  scale_min = model.parser.aug_scale_min
  scale_max = model.parser.aug_scale_max
  output_size ! images have the size of model.input_size
RandomSelfConcatImage
  * ! images are not put side by side
RandomSquareCropByScale
  scale_min = model.parser.aug_scale_max
  scale_max = model.parser.aug_scale_min
  max_border ! a crop lies anywhere in the image
  num_scales ! scales are drawn from all between the least and the greatest
RandomVerticalFlip
  probability ! an image is mirrored with probability 0.5
  keypoint_flip_permutation ! keypoints are not read
RegionSimilarityCalculator
  iou_similarity - what is used here
  * ! anchors and boxes are compared by IoU
Regularizer
  l2_regularizer = model.losses.l2_weight_decay | another part's weight decides l2_weight_decay, which is one for the network
  l1_regularizer ! weights are regularised by L2 only
RemapLabels
  * ! labels are not renamed
ResizeImage
  * ! images are resized by model.input_size only
RfcnBoxPredictor
  conv_hyperparams ! the head of Faster R-CNN is used
  * ! the head of Faster R-CNN is used
SSDRandomCrop
  * ! there is no crop by overlap
SSDRandomCropFixedAspectRatio
  * ! there is no crop by overlap
SSDRandomCropFixedAspectRatioOperation
  * ! there is no crop by overlap
SSDRandomCropOperation
  * ! there is no crop by overlap
SSDRandomCropPad
  * ! there is no crop by overlap
SSDRandomCropPadFixedAspectRatio
  * ! there is no crop by overlap
SSDRandomCropPadFixedAspectRatioOperation
  * ! there is no crop by overlap
SSDRandomCropPadOperation
  * ! there is no crop by overlap
SigmoidCalibration
  * ! scores are not calibrated
SigmoidFocalClassificationLoss
  anchorwise_output - the loss is summed either way
  alpha = model.losses.focal_loss_alpha
  gamma = model.losses.focal_loss_gamma
SigmoidParameters
  * ! scores are not calibrated
SquareBoxCoder
  * ! boxes are coded as faster_rcnn_box_coder does
Ssd
  num_classes = data.classes
  image_resizer = model.input_size
  feature_extractor = model.backbone
  box_coder = model.detection_generator.box_coder_weights
  matcher = model.parser.match_threshold
  similarity_calculator - anchors and boxes are compared by IoU
  encode_background_as_zeros ! the background has no class of its own in RetinaNet: always true here
  negative_class_weight ! classes count equally
  box_predictor = model.head
  anchor_generator = model.anchor
  post_processing = model.detection_generator
  normalize_loss_by_num_matches ! losses are always divided by the number of positives
  normalize_loc_loss_by_codesize = stages[].loss_weights.box
  loss = model.losses
  freeze_batchnorm = stages[].freeze_variables
  inplace_batchnorm_update - how TensorFlow 1 ran the update of the statistics
  add_background_class - the background has no class of its own in RetinaNet
  explicit_background_class ! the background has no class of its own in RetinaNet
  use_confidences_as_targets ! a class is there or not
  implicit_example_weight - goes with use_confidences_as_targets
  return_raw_detections_during_predict - what a served model gives besides detections
  mask_head_config x masks of SSD
SsdAnchorGenerator
  * ! see ssd_anchor_generator
SsdFeatureExtractor
  type = model.backbone
  depth_multiplier ! the backbone has its usual width
  min_depth - goes with depth_multiplier
  conv_hyperparams = model.norm_activation, model.losses.l2_weight_decay
  override_base_feature_extractor_hyperparams - one l2_weight_decay counts for the whole network
  pad_to_multiple - images are padded to a multiple of the coarsest level's stride
  use_explicit_padding ! layers are padded as the network here does
  use_depthwise ! convolutions are plain here
  fpn = model.min_level, model.max_level
  bifpn ! the pyramid here is an FPN
  replace_preprocessor_with_placeholder - how a graph was exported
  num_layers ! the number of levels follows from min_level and max_level
  spaghettinet_arch_name ! the backbone is that of --backbone
SsdMaskHead
  * x masks of SSD
SubtractChannelMean
  * - images are normalised as the weights of the backbone need it
TFRecordInputReader
  input_path = data.train.path, data.validation.path
TemperatureScalingCalibration
  * ! scores are not calibrated
ThresholdedIouSimilarity
  * ! anchors and boxes are compared by IoU
TrainConfig
  batch_size = train.batch_size
  data_augmentation_options = model.parser
  sync_replicas - a step is one batch of one device
  keep_checkpoint_every_n_hours - checkpoints are kept by train.max_to_keep
  optimizer = train.optimizer
  gradient_clipping_by_norm = train.optimizer
  fine_tune_checkpoint = sources.fine_tune
  fine_tune_checkpoint_type = stages[].init
  fine_tune_checkpoint_version = sources.fine_tune
  from_detection_checkpoint = stages[].init | fine_tune_checkpoint_type counts
  load_all_detection_checkpoint_vars ! modules are loaded as `init` names them
  run_fine_tune_checkpoint_dummy_computation - how TensorFlow 2 made variables before it loaded them
  num_steps = train.steps
  startup_delay_steps - a step is one batch of one device
  bias_grad_multiplier = train.learning_rate_multipliers
  update_trainable_variables = stages[].freeze_variables | the freeze rule does not read the field
  freeze_variables = stages[].freeze_variables | the freeze rule does not read the field
  replicas_to_aggregate - a step is one batch of one device
  batch_queue_capacity - how fast images come
  num_batch_queue_threads - how fast images come
  prefetch_queue_capacity - how fast images come
  merge_multiple_label_boxes ! boxes with several classes stay several boxes
  use_multiclass_scores ! class scores of training data are not read
  add_regularization_loss = model.losses.l2_weight_decay
  max_number_of_boxes = model.parser.max_num_instances
  unpad_groundtruth_tensors - padding does not count either way
  retain_original_images - only decides what a picture shows
  use_bfloat16 ! numbers have 32 bits
  summarize_gradients - only decides what TensorBoard shows
TrainEvalPipelineConfig
  model = model
  train_config = train
  train_input_reader = data.train
  eval_config = evaluation
  eval_input_reader = data.validation
  graph_rewriter ! numbers are not quantized in training
TruncatedNormalInitializer
  * ! initial weights are those of the network here
VarianceScalingInitializer
  * ! initial weights are those of the network here
WeightSharedConvolutionalBoxPredictor
  conv_hyperparams = model.norm_activation, model.losses.l2_weight_decay
  apply_conv_hyperparams_to_heads ! heads are initialised as those of the network here
  apply_conv_hyperparams_pointwise ! heads are initialised as those of the network here
  num_layers_before_predictor = model.head.num_convs
  depth = model.head.num_filters
  kernel_size ! convolutions of the heads are 3x3
  box_code_size - boxes have four numbers
  class_prediction_bias_init ! the initial probability of a class is 0.01, which is a bias of -4.6
  use_dropout ! there is no dropout in the heads here
  dropout_keep_probability ! there is no dropout in the heads here
  share_prediction_tower ! classes and boxes have towers of their own
  use_depthwise = model.head.use_separable_conv
  score_converter ! scores are converted once, after the heads
  box_encodings_clip_range ! box codes are not clipped
WeightSharedConvolutionalBoxPredictorBoxEncodingsClipRange
  * ! box codes are not clipped
WeightedDiceClassificationLoss
  * ! the network's own loss is used
WeightedL2LocalizationLoss
  * ! the network's own loss is used: smooth L1
WeightedSigmoidClassificationLoss
  * - the loss is summed either way
WeightedSmoothL1LocalizationLoss
  anchorwise_output - the loss is summed either way
  delta = model.losses.huber_loss_delta
WeightedSoftmaxClassificationAgainstLogitsLoss
  * ! the network's own loss is used
WeightedSoftmaxClassificationLoss
  anchorwise_output - the loss is summed either way
  logit_scale ! logits are not scaled
XYPairs
  * ! scores are not calibrated
XYPairsXYPair
  * ! scores are not calibrated
"""


_AS_HERE: dict[str, object] = {
    'ArgMaxMatcher.ignore_thresholds': False,
    'ArgMaxMatcher.negatives_lower_than_unmatched': True,
    'BatchNonMaxSuppression.max_classes_per_detection': 1,
    'BatchNorm.scale': True,
    'BatchNorm.train': True,
    'CenterNet.use_depthwise': False,
    'CenterNetFeatureExtractor.depth_multiplier': 1.0,
    'CenterNetFeatureExtractor.use_depthwise': False,
    'CenterNetFeatureExtractor.use_separable_conv': False,
    'CenterNetObjectCenterParams.use_labeled_classes': False,
    'EvalConfig.force_no_resize': False,
    'EvalConfig.ignore_groundtruth': False,
    'EvalConfig.recall_lower_bound': 0.0,
    'EvalConfig.recall_upper_bound': 1.0,
    'EvalConfig.skip_predictions_for_unlabeled_class': False,
    'ExponentialDecayLearningRate.min_learning_rate': 0.0,
    'FasterRcnn.first_stage_atrous_rate': 1,
    'FasterRcnn.first_stage_box_predictor_kernel_size': 3,
    'FasterRcnnFeatureExtractor.first_stage_features_stride': 16,
    'FixedShapeResizer.convert_to_grayscale': False,
    'FixedShapeResizer.resize_method': 'BILINEAR',
    'GridAnchorGenerator.height_stride': 16,
    'GridAnchorGenerator.width_stride': 16,
    'InputReader.expand_labels_hierarchy': False,
    'InputReader.frame_index': -1,
    'InputReader.input_type': 'TF_EXAMPLE',
    'InputReader.load_context_features': False,
    'InputReader.load_dense_pose': False,
    'InputReader.load_multiclass_scores': False,
    'InputReader.load_track_id': False,
    'InputReader.num_additional_channels': 0,
    'InputReader.num_keypoints': 0,
    'InputReader.sample_1_of_n_examples': 1,
    'InputReader.use_display_name': False,
    'KeepAspectRatioResizer.convert_to_grayscale': False,
    'KeepAspectRatioResizer.resize_method': 'BILINEAR',
    'MaskRCNNBoxPredictor.use_dropout': False,
    'PenaltyReducedLogisticFocalLoss.alpha': 2.0,
    'PenaltyReducedLogisticFocalLoss.beta': 4.0,
    'PostProcessing.logit_scale': 1.0,
    'RandomHorizontalFlip.probability': 0.5,
    'RandomVerticalFlip.probability': 0.5,
    'Ssd.encode_background_as_zeros': True,
    'Ssd.explicit_background_class': False,
    'Ssd.negative_class_weight': 1.0,
    'Ssd.normalize_loss_by_num_matches': True,
    'Ssd.use_confidences_as_targets': False,
    'SsdFeatureExtractor.depth_multiplier': 1.0,
    'SsdFeatureExtractor.use_depthwise': False,
    'SsdFeatureExtractor.use_explicit_padding': False,
    'TrainConfig.load_all_detection_checkpoint_vars': False,
    'TrainConfig.merge_multiple_label_boxes': False,
    'TrainConfig.use_bfloat16': False,
    'TrainConfig.use_multiclass_scores': False,
    'WeightSharedConvolutionalBoxPredictor.kernel_size': 3,
    'WeightSharedConvolutionalBoxPredictor.share_prediction_tower': False,
    'WeightSharedConvolutionalBoxPredictor.use_dropout': False,
    'WeightedSoftmaxClassificationLoss.logit_scale': 1.0,
}
"""Field that is not carried over -> the value with which it says what happens here anyway."""


def is_as_here(name: str, value: object) -> bool:
    """Returns whether a value of a field that is not carried over says what happens here anyway."""
    return name in _AS_HERE and _AS_HERE[name] == value


def verdict(name: str) -> Verdict:
    """Returns what a field becomes; `name` is `Message.field`."""
    message, _, field = name.partition('.')
    known = _verdicts()
    return known[name] if name in known else known[f'{message}.*']


def all_fields() -> list[tuple[str, str, Verdict]]:
    """Returns (message, field, verdict) of every field of every message, as the table of the docs lists them."""
    found = []
    for message in descriptors.message_names():
        for field in descriptors.new_message(message).DESCRIPTOR.fields:
            found.append((message, field.name, verdict(f'{message}.{field.name}')))
    return found


@functools.cache
def _verdicts() -> dict[str, Verdict]:
    found: dict[str, Verdict] = {}
    message = ''
    for line in _TABLE.strip().splitlines():
        if not line.startswith(' '):
            message = line
            continue
        field, mark, text = line.strip().split(' ', 2)
        text, _, otherwise = text.partition(' | ')
        found[f'{message}.{field}'] = Verdict(_MARKS[mark], text, otherwise)
    return found
