"""The paper's recipe as it is shipped, with narrow layers and few steps: weights come from where it says, frozen ones rest."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest
import tf_keras

from stagetrain import files
from stagetrain.config.builtin import keras_backbones as keras_options
from stagetrain.detectors import keras_backbones
from stagetrain.errors import Interrupted
from stagetrain.inference.detect import detect_images
from stagetrain.weights import assign, keras_files
from tests import tiny

pytestmark = pytest.mark.slow
STAGES = ('rpn_1', 'detector_1', 'rpn_2', 'detector_2')
WIDTH = 0.0625
NARROW = {
    'input_size': [64, 64, 3],
    'backbone': {'keras_vgg16': {'width': WIDTH}},
    'anchor': {'sizes': [12, 20, 28]},
    'rpn_head': {'num_filters': 16},
    'roi_head': {'fc': {'fc_dims': 16}},
    'roi_generator': {'test_num_proposals': 30},
    'parser': {'shorter_side': 48},
}


@dataclasses.dataclass(frozen=True)
class Narrow:
    """The recipe's run with narrow layers, its pipeline file and the weights that it starts from."""

    config: pathlib.Path
    run_dir: pathlib.Path
    imagenet: pathlib.Path

    def weights(self, stage: str) -> dict[str, np.ndarray]:
        """Returns canonical name -> value at the end of a stage."""
        return assign.read_stage_checkpoint(tiny.last_checkpoint(self.run_dir, stage))


def save_narrow_vgg16(path: pathlib.Path) -> None:
    """Saves a narrow VGG16 with `fc1` and `fc2`, random, as Keras does."""
    backbone = keras_backbones.vgg16(
        tf_keras.layers.InputSpec(shape=[None, 224, 224, 3]), keras_options.KerasVgg(width=WIDTH), 0.0
    )
    outputs = tf_keras.layers.Flatten()(backbone.get_layer('block5_pool').output)
    for name in ('fc1', 'fc2'):
        outputs = tf_keras.layers.Dense(16, 'relu', name=name)(outputs)
    tf_keras.Model(backbone.inputs, outputs).save_weights(path)


@pytest.fixture(scope='module')
def narrow(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> Narrow:
    """The finished run."""
    folder = tmp_path_factory.mktemp('paper')
    found = Narrow(folder / 'narrow.yaml', folder / 'run', folder / 'vgg16.h5')
    save_narrow_vgg16(found.imagenet)
    source = {'format': 'voc', 'path': str(tiny_data)}
    document: dict[str, Any] = {
        'base': str(tiny.ROOT / 'configs' / 'voc07' / 'four_step_vgg16.yaml'),
        'model': NARROW,
        'data': {'classes': ['circle', 'square', 'triangle'], 'train': source, 'validation': source},
        'sources': {'imagenet': {'keras_h5': str(found.imagenet)}},
    }
    tiny.write_config(found.config, document)
    steps = [part for stage in STAGES for part in ('--set', f'stages.{stage}.train.steps=4')]
    code, output = tiny.run_command('run', found.config, '--run_dir', found.run_dir, '--in_process', *steps)
    assert code == 0, output
    return found


def test_both_first_networks_start_from_imagenet(narrow: Narrow) -> None:
    imagenet = keras_files.read_keras_h5(narrow.imagenet)
    for stage, modules in (('rpn_1', ('backbone',)), ('detector_1', ('backbone', 'roi_head'))):
        lineage = files.read_json(narrow.run_dir / 'stages' / stage / 'lineage.json')
        assert all((origin['kind'] == 'keras_h5') == (name.split('/')[0] in modules) for name, origin in lineage.items())
        for name, value in narrow.weights(stage).items():
            if name.startswith(('backbone/block1_', 'backbone/block2_')):
                np.testing.assert_array_equal(value, imagenet[name.removeprefix('backbone/')])
            elif name == 'backbone/block3_conv1/kernel' or name == 'roi_head/fc1/kernel':
                assert (value != imagenet[name.partition('/')[2]]).any()


def test_the_last_network_has_the_detectors_features_and_the_last_rpn_bit_by_bit(narrow: Narrow) -> None:
    detector_1, rpn_2, detector_2 = (narrow.weights(stage) for stage in STAGES[1:])
    for before, after, module in (
        (detector_1, rpn_2, 'backbone'),
        (rpn_2, detector_2, 'backbone'),
        (rpn_2, detector_2, 'rpn_head'),
    ):
        same = [name for name in after if name.startswith(f'{module}/')]
        assert len(same) in (6, 26) and all(before[name].tobytes() == after[name].tobytes() for name in same)
    moved = [name for name in detector_2 if name.startswith(('roi_head/', 'detection_head/'))]
    assert len(moved) == 8 and all((detector_1[name] != detector_2[name]).any() for name in moved)


def test_the_last_network_detects(narrow: Narrow, tiny_data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert {'AP', 'VOC_AP11'} <= set(files.read_json(narrow.run_dir / 'stages' / 'detector_2' / 'evaluation.json'))
    image = sorted((tiny_data / 'JPEGImages').iterdir())[0]
    assert detect_images(narrow.run_dir, None, [image], tmp_path) == [tmp_path / f'{image.stem}.png']


def test_dropout_and_sampling_go_on_with_the_same_bits(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    model = {
        'type': 'faster_rcnn_single_scale',
        **NARROW,
        'backbone': {'type': 'keras_vgg16', **NARROW['backbone']},
        'roi_head': {'type': 'fc', **NARROW['roi_head']},
        'roi_sampler': {'num_sampled_rois': 16},
    }
    document = {**tiny.pipeline(tiny_data, [tiny.stage('joint', tiny.RPN | tiny.HEAD)]), 'model': model}
    jobs = [tiny.job(tmp_path / name, document, 'joint') for name in ('whole', 'stopped')]
    tiny.train(jobs[0])
    with pytest.raises(Interrupted):
        tiny.train(jobs[1], stop_after=3)
    tiny.train(jobs[1])
    whole, stopped = (tiny.tensors(tiny.last_checkpoint(tmp_path / name, 'joint')) for name in ('whole', 'stopped'))
    assert [key for key in whole if whole[key] != stopped[key]] == []
