"""The backbones give what `tf_keras.applications` gives, on weights that Keras itself saved."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from stagetrain.config import specs
from stagetrain.detectors import keras_backbones
from stagetrain.detectors.detector import clear_names
from stagetrain.errors import ConfigError
from stagetrain.images.normalization import normalize
from stagetrain.pipeline.jobs import ModuleOrigin
from stagetrain.stages import roles
from stagetrain.weights import assign, names

pytestmark = pytest.mark.numbers
APPLICATIONS = tf_keras.applications
SHAPE = (64, 64, 3)
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    'keras_vgg16': (APPLICATIONS.VGG16, APPLICATIONS.vgg16, {}),
    'keras_vgg19': (APPLICATIONS.VGG19, APPLICATIONS.vgg19, {}),
    'keras_resnet50': (APPLICATIONS.ResNet50, APPLICATIONS.resnet, {}),
    'keras_resnet101': (APPLICATIONS.ResNet101, APPLICATIONS.resnet, {}),
    'keras_resnet152': (APPLICATIONS.ResNet152, APPLICATIONS.resnet, {}),
    'keras_mobilenet_v1': (APPLICATIONS.MobileNet, APPLICATIONS.mobilenet, {'alpha': 0.25}),
    'keras_mobilenet_v2': (APPLICATIONS.MobileNetV2, APPLICATIONS.mobilenet_v2, {'alpha': 0.35}),
    'keras_mobilenet_v3_small': (APPLICATIONS.MobileNetV3Small, APPLICATIONS.mobilenet_v3, {}),
    'keras_mobilenet_v3_large': (APPLICATIONS.MobileNetV3Large, APPLICATIONS.mobilenet_v3, {}),
    'keras_efficientnet_b0': (APPLICATIONS.EfficientNetB0, APPLICATIONS.efficientnet, {}),
}
OWN_OPTIONS = {'keras_efficientnet_b0': {'imagenet_rescaling': False}}


def build(name: str, l2_weight_decay: float = 0.0, **options: Any) -> tf_keras.Model:
    spec = specs.backbone(name)
    assert spec is not None
    clear_names(0)
    input_specs = tf_keras.layers.InputSpec(shape=[None, *SHAPE])
    return specs.load_implementation(spec.implementation)(input_specs, spec.options(**options), l2_weight_decay)


def scramble(model: tf_keras.Model) -> None:
    """Gives BatchNorm and biases values that are not those of the initialiser; a pass that forgets one would not show else."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        if variable.shape.rank == 1:
            variable.assign(random.uniform(0.5, 1.5, variable.shape).astype(np.float32))


def saved_application(name: str, folder: pathlib.Path) -> tuple[tf_keras.Model, pathlib.Path]:
    """Returns the application with random weights, and the `.h5` that Keras saved them to."""
    make, _, options = CASES[name]
    clear_names(1)
    network = make(input_shape=SHAPE, include_top=False, weights=None, **options)
    scramble(network)
    for layer in network.layers:
        layer.finalize_state()
    network.save_weights(folder / 'weights.h5')
    return network, folder / 'weights.h5'


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_features_are_those_of_the_application(name: str, tmp_path: pathlib.Path) -> None:
    network, path = saved_application(name, tmp_path)
    image = tf.constant(np.random.default_rng(2).integers(0, 256, [2, *SHAPE]), tf.float32)
    backbone = build(name, l2_weight_decay=1e-4, **{**CASES[name][2], **OWN_OPTIONS.get(name, {})})
    layers = {level: tensor.node.layer.name for level, tensor in backbone.output.items()}
    wanted = tf_keras.Model(network.input, {level: network.get_layer(layer).output for level, layer in layers.items()})
    expected = wanted(CASES[name][1].preprocess_input(image.numpy().copy()), training=False)
    assign.initialise({'backbone': backbone}, {'backbone': ModuleOrigin('keras_h5', str(path))})
    found = backbone(normalize(image, specs.preprocessing(name)), training=False)
    for level in backbone.output_specs:
        scale = float(tf.reduce_max(tf.abs(expected[level])))
        assert scale > 0
        assert float(tf.reduce_max(tf.abs(found[level] - expected[level]))) <= 1e-5 * max(scale, 1.0)
        assert found[level].shape[1] == 64 // 2 ** int(level)


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in CASES if name not in ('keras_vgg19', 'keras_resnet101', 'keras_resnet152')])
def test_freeze_up_to_takes_the_variables_that_decide_the_layers_output(name: str) -> None:
    backbone = build(name, **CASES[name][2])
    layer = backbone.output['3'].node.layer.name
    frozen = set(roles._names_up_to({'backbone': backbone}, layer, 'stages.a'))
    variables = names.named_variables({'backbone': backbone})
    trainable = {name for name, variable in variables.items() if variable.trainable}
    with tf.GradientTape() as tape:
        output = tf.reduce_sum(backbone(tf.ones([1, *SHAPE]), training=False)['3'])
    gradients = tape.gradient(output, {name: variables[name] for name in trainable})
    assert 0 < len(frozen & trainable) < len(trainable)
    assert {name for name, gradient in gradients.items() if gradient is not None} == frozen & trainable
    layers = {name.rpartition('/')[0] for name in frozen}
    assert {name for name in variables if name.rpartition('/')[0] in layers} == frozen  # Statistics go with their layer.


def test_endpoints_can_be_chosen_by_layer() -> None:
    backbone = build('keras_vgg16', width=0.0625, endpoints={'2': 'block2_pool'})
    assert {level: tuple(shape) for level, shape in backbone.output_specs.items()} == {'2': (None, 16, 16, 8)}
    assert {name.split('/')[1] for name in names.named_variables({'backbone': backbone})} == {
        'block1_conv1',
        'block1_conv2',
        'block2_conv1',
        'block2_conv2',
    }


def test_an_unknown_endpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"endpoints\.2: no layer 'block2_pol' in vgg16.*Did you mean 'block2_pool'\?"):
        build('keras_vgg16', width=0.0625, endpoints={'2': 'block2_pol'})


def test_an_endpoint_of_another_stride_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"endpoints\.3: 'block2_pool' gives features of 16x16.*expected 8x8, a stride of 8"):
        build('keras_vgg16', width=0.0625, endpoints={'3': 'block2_pool'})


def test_l2_counts_kernels_and_leaves_depthwise_ones_out() -> None:
    backbone = build('keras_mobilenet_v1', l2_weight_decay=0.5, alpha=0.25)
    kernels = [value for name, value in names.named_variables({'backbone': backbone}).items() if name.endswith('/kernel')]
    expected = sum(0.25 * float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert len(kernels) == 14
    assert float(tf.add_n(backbone.losses)) == pytest.approx(expected, rel=1e-5)


def test_efficientnet_has_no_random_layer() -> None:
    assert not [layer.name for layer in build('keras_efficientnet_b0').layers if isinstance(layer, tf_keras.layers.Dropout)]


def test_image_normalization_reads_variables_that_were_assigned_after_it_was_built() -> None:
    layer = keras_backbones.ImageNormalization(imagenet_rescaling=True)
    layer.build([None, 2, 2, 3])
    layer.mean.assign([1.0, 2.0, 3.0])
    layer.variance.assign([4.0, 4.0, 4.0])
    found = layer(tf.constant([[[[5.0, 6.0, 7.0]]]]))
    np.testing.assert_allclose(found[0, 0, 0], [2 / 0.229**0.5, 2 / 0.224**0.5, 2 / 0.225**0.5], rtol=1e-6)


def test_caffe_preprocessing_is_bgr_less_the_means() -> None:
    found = normalize(tf.constant([[200.0, 100.0, 50.0]]), 'bgr_mean')
    np.testing.assert_allclose(found, [[50 - 103.939, 100 - 116.779, 200 - 123.68]], rtol=1e-6)


def test_the_rest_of_the_preprocessings() -> None:
    pixels = tf.constant([[255.0, 127.5, 0.0]])
    np.testing.assert_allclose(normalize(pixels, 'scale_to_one'), [[1.0, 0.0, -1.0]])
    np.testing.assert_allclose(normalize(pixels, 'none'), [[255.0, 127.5, 0.0]])


@pytest.mark.parametrize(('name', 'expected'), [('keras_vgg16', 'bgr_mean'), ('resnet', 'imagenet_mean_std')])
def test_a_backbone_says_its_preprocessing(name: str, expected: str) -> None:
    assert specs.preprocessing(name) == expected
