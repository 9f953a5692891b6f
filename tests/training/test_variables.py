"""The check before the first step reads names and shapes of every source of every stage, and tells all that does not fit."""

from __future__ import annotations

import pathlib
from typing import Any

import h5py
import pytest
import tf_keras

from stagetrain.errors import ConfigError
from stagetrain.pipeline.jobs import CheckJob, ModuleOrigin
from stagetrain.training import variables
from tests import tiny


@pytest.fixture(scope='module')
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Weights of MobileNet v1, as Keras saves them: of the right width, of another, and of the right one with a part missing."""
    folder = tmp_path_factory.mktemp('published')
    for name, alpha in (('narrow', 0.25), ('wide', 0.5)):
        network = tf_keras.applications.MobileNet(input_shape=(64, 64, 3), alpha=alpha, include_top=False, weights=None)
        network.save_weights(folder / f'{name}.h5')
    (folder / 'lacking.h5').write_bytes((folder / 'narrow.h5').read_bytes())
    with h5py.File(folder / 'lacking.h5', 'a') as file:
        names = [name for name in file.attrs['layer_names'] if name != 'conv_pw_3']
        file.attrs['layer_names'] = names
    (folder / 'torn.h5').write_bytes((folder / 'narrow.h5').read_bytes()[:1000])
    return {path.stem: path for path in folder.iterdir()}


def checked(sources: dict[str, pathlib.Path], inits: list[dict[str, Any]], **document: Any) -> dict[str, int]:
    """Checks a pipeline whose stages start as given."""
    stages = [tiny.stage(f'rpn_{number}', tiny.RPN, init=init) for number, init in enumerate(inits, start=1)]
    pipeline = tiny.pipeline(pathlib.Path('data'), stages) | document
    pipeline['sources'] = {name: {'keras_h5': str(path)} for name, path in sources.items()}
    origins = {name: ModuleOrigin('keras_h5', str(path)) for name, path in sources.items()}
    return variables.check_model(CheckJob('', pipeline, origins), lambda event: None, lambda: False)


def test_sources_that_fit_pass(published: dict[str, pathlib.Path]) -> None:
    assert checked({'narrow': published['narrow']}, [{'backbone': 'narrow'}, {'backbone': 'rpn_1'}])['num_stages'] == 2


def test_every_fault_of_every_stage_is_told_at_once(published: dict[str, pathlib.Path]) -> None:
    inits = [{'backbone': 'narrow'}, {'backbone': 'wide'}, {'backbone': 'lacking'}, {'backbone': 'torn'}, {'decoder': 'narrow'}]
    with pytest.raises(ConfigError) as error:
        checked({name: published[name] for name in ('narrow', 'wide', 'lacking', 'torn')}, inits)
    told = str(error.value).splitlines()
    starts = ('stages.rpn_5.init: decoder', 'stages.rpn_2.init: backbone', 'stages.rpn_3.init: backbone', 'sources.torn')
    decoder, wide, lacking, torn = (next(line for line in told if line.startswith(start)) for start in starts)
    assert len(told) == 4
    assert f'cannot be loaded from {published["narrow"]}: ' in decoder and 'not in the source' in decoder
    assert 'shape (3, 3, 3, 16) in the source (conv1/kernel), (3, 3, 3, 8) expected' in wide and 'skip_mismatch: true' in wide
    assert f'variables cannot be loaded from {published["lacking"]}: backbone/conv_pw_3/kernel: not in the source' in lacking
    assert f'{published["torn"]}: not a readable Keras .h5' in torn


def test_what_is_skipped_by_name_passes_and_what_is_required_counts(published: dict[str, pathlib.Path]) -> None:
    loose = {'backbone': {'from': 'lacking', 'skip_mismatch': True}}
    assert checked({'lacking': published['lacking']}, [loose])['num_stages'] == 1


def test_a_stage_of_another_network_must_fit_too(published: dict[str, pathlib.Path]) -> None:
    wide = tiny.model(backbone={'type': 'keras_mobilenet_v1', 'keras_mobilenet_v1': {'alpha': 0.5}})
    stages = [
        tiny.stage('first', tiny.RPN, model='wide'),
        tiny.stage('second', tiny.RPN, init=dict.fromkeys(('backbone', 'decoder', 'rpn_head'), 'first')),
    ]
    document = tiny.pipeline(pathlib.Path('data'), stages) | {'models': {'wide': wide}}
    with pytest.raises(ConfigError) as error:
        variables.check_model(CheckJob('', document), lambda event: None, lambda: False)
    backbone, decoder = str(error.value).splitlines()
    assert 'stages.second.init: backbone: ' in backbone and 'cannot be loaded from stage first: ' in backbone
    assert 'stages.second.init: decoder: ' in decoder and 'expected' in decoder
