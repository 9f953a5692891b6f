"""Fixtures for tests on real data and weights, which are not part of the repository."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import tempfile
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from stagetrain.config import onednn

onednn.decide(os.environ)  # As in every process of ours, before a test imports TensorFlow.
USER_CACHE = tempfile.TemporaryDirectory(prefix='stagetrain-cache-')
os.environ['STAGETRAIN_CACHE'] = USER_CACHE.name  # For child processes too: no test writes into the home of who runs it.
ROOT = pathlib.Path(__file__).parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escapes what a test logged of names that are not UTF-8, for the processes of xdist could not send it and all would end."""
    report = yield
    report.sections = [(title, text.encode(errors='backslashreplace').decode()) for title, text in report.sections]
    return report


def _folder(variable: str, beside: str) -> pathlib.Path:
    """Returns the folder that an environment variable names, or else one beside the clone; without it the test is skipped."""
    named = os.environ.get(variable)
    folder = pathlib.Path(named) if named else ROOT.parent / 'shared' / beside
    if not folder.is_dir():
        pytest.skip(f'no folder {folder}; set {variable}')
    return folder


@pytest.fixture(scope='session')
def bccd() -> pathlib.Path:
    """The BCCD images in VOC layout."""
    return _folder('BCCD', 'data/bccd')


@pytest.fixture(scope='session')
def weights() -> pathlib.Path:
    """The folder with the ImageNet weights of MobileNet v1 0.25."""
    return _folder('WEIGHTS', 'weights')


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Synthetic images of 64x64 pixels in VOC layout: 12 to train on, 6 to validate on."""
    from stagetrain.data import synthetic

    folder = tmp_path_factory.mktemp('tiny') / 'data'
    synthetic.make(folder, 12, 6, image_size=64, seed=3)
    return folder


@pytest.fixture(scope='session')
def places(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> dict[str, str]:
    """What shipped configs name in the environment: small images, and a MobileNet v1 of random weights that Keras saved."""
    import tf_keras

    from stagetrain.data import synthetic

    folder = tmp_path_factory.mktemp('places')
    network = tf_keras.applications.MobileNet(input_shape=(64, 64, 3), alpha=0.25, include_top=False, weights=None)
    network.save_weights(folder / 'mobilenet_2_5_224_tf_no_top.h5')
    synthetic.make(folder / 'demo', 6, 6, image_size=64, seed=1)
    synthetic.make_masks(folder / 'demo')
    return {'BCCD': str(tiny_data), 'VOC07': str(tiny_data), 'WEIGHTS': str(folder), 'DEMO_DATA': str(folder / 'demo')}


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run: its pipeline file, its run directory, and what the command printed."""

    config: pathlib.Path
    run_dir: pathlib.Path
    output: str


@pytest.fixture(scope='session')
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> FinishedRun:
    """A 4-step run of the command line on the Model Garden's MobileNetV2, finished without interruption. Not to be changed."""
    from tests import tiny

    folder = tmp_path_factory.mktemp('tiny_run')
    config = tiny.write_config(folder / 'tiny.yaml', tiny.pipeline(tiny_data, tiny.four_steps(), backbone=tiny.MOBILENET_V2))
    code, output = tiny.run_command('run', config, '--run_dir', folder / 'run')
    assert code == 0, output
    return FinishedRun(config, folder / 'run', output)


@pytest.fixture(scope='session')
def joint(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> Any:
    """A `tiny.Trained` stage: all losses, six steps in this process, without interruption. Not to be changed."""
    from tests import tiny

    document = tiny.pipeline(tiny_data, [tiny.stage('joint', tiny.RPN | tiny.HEAD)])
    job = tiny.job(tmp_path_factory.mktemp('joint'), document, 'joint')
    return tiny.Trained(job, *tiny.train(job))


@pytest.fixture(scope='module')
def plugins_forgotten() -> Iterator[None]:
    """Forgets, after a file whose tests load plugins in this process, what those registered: other files count what is known."""
    from stagetrain.config import artefacts, callbacks, exporters, losses, schema, stage_kinds, strategies

    known = (artefacts._specs, callbacks._specs, exporters._specs, losses._specs, stage_kinds._specs, strategies._specs)
    registries: tuple[dict[str, Any], ...] = known
    before, modules = [dict(registry) for registry in registries], set(sys.modules)
    yield
    for registry, former in zip(registries, before, strict=True):
        registry.clear()
        registry.update(former)
    for name in set(sys.modules) - modules:
        if '/tests/outside/' in (getattr(sys.modules[name], '__file__', None) or ''):
            del sys.modules[name]
    schema.clear_types()


@pytest.fixture(scope='session')
def tfod() -> pathlib.Path:
    """A folder with `samples` of the Object Detection API, `labelmaps` and `names` of variables."""
    return _folder('TFOD', 'tfod')


@pytest.fixture(scope='session')
def tfod_samples(tfod: pathlib.Path) -> list[pathlib.Path]:
    """The files that the Object Detection API ships."""
    found = sorted((tfod / 'samples').glob('*.config'))
    assert len(found) > 50
    return found
