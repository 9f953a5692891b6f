"""Nothing in a file is run: YAML, weights, annotations, paths and the environment are data. A marker file never appears."""

from __future__ import annotations

import ast
import io
import os
import pathlib
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from stagetrain.config import load, schema
from stagetrain.data import index
from stagetrain.errors import BadInput, ConfigError, DataError
from stagetrain.weights import sources
from tests.fakes.project import PIPELINE, ROOT, Project, make_project

SHELL = '$(touch marker)'
FORBIDDEN_MODULES = {'pickle', 'cPickle', 'dill', 'joblib', 'marshal', 'shelve', 'cloudpickle', 'http', 'socketserver', 'asyncio'}
FORBIDDEN_CALLS = {
    *('eval', 'exec', 'compile', 'os.system', 'os.popen', 'yaml.load', 'yaml.unsafe_load', 'yaml.full_load', 'np.fromstring'),
    *('tf_keras.models.load_model', 'tf.keras.models.load_model', 'tf.saved_model.load', 'tf.io.gfile.rmtree'),
}
SOURCES = sorted((ROOT / 'stagetrain').rglob('*.py'))


@pytest.fixture(autouse=True)
def no_marker(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs a test in a folder of its own in which no marker may appear."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob('marker'))


def calls(path: pathlib.Path) -> dict[str, ast.Call]:
    """Returns dotted name -> a call of it."""
    nodes = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return {ast.unparse(node.func): node for node in nodes}


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(ROOT / 'stagetrain')))
def test_no_source_can_run_what_a_file_says(path: pathlib.Path) -> None:
    """No pickle, no shell, no unsafe YAML, no layer that is deserialised, no server."""
    tree = ast.parse(path.read_text())
    imported = {name.name.split('.')[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {(node.module or '').split('.')[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not imported & FORBIDDEN_MODULES
    found = calls(path)
    assert not found.keys() & FORBIDDEN_CALLS
    switches = [keyword for call in found.values() for keyword in call.keywords if keyword.arg in ('shell', 'allow_pickle')]
    assert all(ast.unparse(keyword.value) == 'False' for keyword in switches)
    assert not any(name.startswith('socket.') and name != 'socket.gethostname' for name in found)


@pytest.mark.parametrize(
    'tagged',
    [
        '!!python/object/apply:os.system ["touch marker"]',
        '!!python/object/new:os.system ["touch marker"]',
        '!!python/name:os.system',
        '!!python/module:os',
        '!!python/object/apply:subprocess.check_output [[touch, marker]]',
    ],
)
def test_a_tag_in_yaml_makes_no_object(tmp_path: pathlib.Path, tagged: str) -> None:
    (tmp_path / 'a.yaml').write_text(PIPELINE.replace('name: four', f'name: {tagged}'))
    with pytest.raises(ConfigError, match=r'a\.yaml:2: .*tag'):
        load.load_pipeline(tmp_path / 'a.yaml')


@pytest.mark.parametrize('text', [SHELL, '`touch marker`', '; touch marker', '${HOME}', '!!python/name:os.system', '{a: 1}'])
def test_the_environment_is_text_and_no_shell(tmp_path: pathlib.Path, text: str) -> None:
    (tmp_path / 'a.yaml').write_text(PIPELINE.replace('path: data, split: trainval', 'path: "${PLACE}", split: trainval'))
    loaded = load.load_pipeline(tmp_path / 'a.yaml', environ={'PLACE': text})
    assert loaded.pipeline.data.train.path == os.path.join(os.getcwd(), text)


def test_what_looks_like_a_shell_in_a_pipeline_is_text(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'a.yaml').write_text(PIPELINE.replace('classes: [thing]', f'classes: ["{SHELL}"]'))
    assert load.load_pipeline(tmp_path / 'a.yaml').pipeline.data.classes == [SHELL]


LAMBDA_FILES = """
import os, sys
os.environ['TF_USE_LEGACY_KERAS'] = '1'
import tensorflow as tf, tf_keras

def touch(features):
    open('marker', 'w').close()
    return features

network = tf_keras.Sequential([tf_keras.layers.Dense(2, name='dense', input_shape=(3,)), tf_keras.layers.Lambda(touch, name='l')])
os.remove('marker')
network.save('a.h5')
network.save('a.keras')
network.save('saved_model')
"""


@pytest.mark.slow
def test_layers_of_weight_files_are_not_built(tmp_path: pathlib.Path) -> None:
    """A Lambda layer's code lies in the file; `load_model` runs it, reading arrays does not."""
    environ = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}
    subprocess.run([sys.executable, '-c', LAMBDA_FILES], cwd=tmp_path, env=environ, check=True, capture_output=True)
    (tmp_path / 'marker').unlink(missing_ok=True)  # Saving traces the layer once more.
    for name in ('a.h5', 'a.keras'):
        assert sorted(array.shape for array in sources.read('keras_h5', tmp_path / name).values()) == [(2,), (3, 2)]
    assert (3, 2) in {array.shape for array in sources.read('saved_model', tmp_path / 'saved_model').values()}


def picture(path: pathlib.Path) -> pathlib.Path:
    PIL.Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
    return path


VOC = (
    '<annotation><filename>{name}</filename><size><width>60</width><height>40</height><depth>3</depth></size><object>'
    '<name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>30</ymax></bndbox></object></annotation>'
)


def voc(folder: pathlib.Path, name: str) -> dict[str, str]:
    for part in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / part).mkdir(parents=True)
    (folder / 'Annotations' / 'a.xml').write_text(VOC.format(name=name))
    (folder / 'ImageSets' / 'Main' / 'train.txt').write_text('a\n')
    return {'format': 'voc', 'path': str(folder), 'split': 'train'}


def coco(folder: pathlib.Path, name: str) -> dict[str, str]:
    image = f'{{"id": 1, "file_name": "{name}", "width": 60, "height": 40}}'
    box = '{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 30], "area": 900, "iscrowd": 0}'
    text = f'{{"images": [{image}], "annotations": [{box}], "categories": [{{"id": 1, "name": "cat"}}]}}'
    (folder / 'a.json').write_text(text)
    return {'format': 'coco', 'path': str(folder / 'a.json'), 'images': str(folder)}


def csv(folder: pathlib.Path, name: str) -> dict[str, str]:
    (folder / 'a.csv').write_text(f'{name},1,2,30,30,cat\n')
    (folder / 'classes.csv').write_text('cat,0\n')
    return {'format': 'csv', 'path': str(folder / 'a.csv')}


@pytest.mark.parametrize('make', [voc, coco, csv])
@pytest.mark.parametrize('way', ['absolute', 'upwards', 'upwards from a folder'])
def test_annotations_cannot_name_an_image_outside_their_folder(tmp_path: pathlib.Path, make: object, way: str) -> None:
    outside = picture(tmp_path / 'outside.jpg')
    (tmp_path / 'data' / 'sub').mkdir(parents=True)
    name = {'absolute': str(outside), 'upwards': '../outside.jpg', 'upwards from a folder': 'sub/../../outside.jpg'}[way]
    source = schema.DataSource(**make(tmp_path / 'data', name))  # type: ignore[operator]
    data = schema.Data(classes=['cat'], train=source, validation=source)
    with pytest.raises(DataError, match=r'outside'):
        index.load_dataset(source, data, 'train', None)


@pytest.fixture
def bracketed(tmp_path: pathlib.Path) -> Project:
    """A project in a folder whose name is markup to the printer, and would be an error to it."""
    folder = tmp_path / '[red]a[/bold] :+1:'
    folder.mkdir(parents=True)  # `[/` is two folders; together they look like the end of a style.
    return make_project(folder)


def said(program: str, *arguments: object) -> str:
    command = [sys.executable, '-m', program, *map(str, arguments)]
    environ = {**os.environ, 'PYTHONPATH': str(ROOT), 'COLUMNS': '400'}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names_that_look_like_markup_are_shown_as_they_are(bracketed: Project) -> None:
    run_dir = bracketed.directory.path
    assert f'{bracketed.config}: correct' in said('stagetrain.cli.main', 'check', bracketed.config)
    assert f'{run_dir}: 4 of 4 stages to do' in said('tests.fakes.main', 'run', bracketed.config, '--run_dir', run_dir)
    assert str(run_dir) in said('stagetrain.cli.main', 'status', run_dir)
    assert f'{run_dir}: removed 0 stores' in said('stagetrain.cli.main', 'clean', run_dir)


def test_names_in_weight_files_are_shown_as_they_are(tmp_path: pathlib.Path) -> None:
    import h5py

    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        file.attrs['layer_names'] = [b'[/x]']
        file.create_group('[/x]').attrs['weight_names'] = [b'[/x]/[bold]kernel:0']
        file['[/x]'].create_dataset('[/x]/[bold]kernel:0', data=np.ones(3, np.float32))
    assert '[bold]kernel' in said('stagetrain.cli.main', 'weights', 'show', tmp_path / 'a.h5')


def test_a_bomb_of_a_picture_is_refused_before_it_is_decoded(tmp_path: pathlib.Path) -> None:
    buffer = io.BytesIO()
    PIL.Image.new('1', (20_000, 20_000)).save(buffer, 'PNG')
    source = schema.DataSource(**voc(tmp_path, 'a.png'))
    (tmp_path / 'JPEGImages' / 'a.png').write_bytes(buffer.getvalue())
    with pytest.raises(BadInput, match=r'400000000|20000'):
        index.load_dataset(source, schema.Data(classes=['cat'], train=source, validation=source), 'train', None)
