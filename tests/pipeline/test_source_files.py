"""What is certainly no weights is told by its first bytes, with the file, what it is, and what to do."""

from __future__ import annotations

import io
import json
import pathlib
import pickle
import re
import tarfile
import zipfile

import h5py
import numpy as np
import pytest

from stagetrain.config import specs
from stagetrain.errors import WeightsError
from stagetrain.pipeline import source_files
from tests.fakes.project import Project

POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n'
PAGE = b'\n<!DOCTYPE html><html><body>404 Not Found</body></html>'
FORBIDDEN = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'


def packed(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name in names:
            archive.writestr(name, b'content')
    return buffer.getvalue()


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('ckpt.index'))
    return buffer.getvalue()


def arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, kernel=np.zeros(3))
    return buffer.getvalue()


def safetensors() -> bytes:
    header = json.dumps({'conv1.weight': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4]}}).encode()
    return len(header).to_bytes(8, 'little') + header + bytes(4)


def hdf5(path: pathlib.Path) -> pathlib.Path:
    with h5py.File(path, 'w') as file:
        file['kernel'] = np.zeros(3)
    return path


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (POINTER, r'a pointer of git-lfs, not the weights; expected a Keras `\.h5`.*Remedy: run `git lfs pull`'),
        (b'', 'an empty file; expected .*Remedy: fetch it again'),
        (PAGE, 'a page of HTML or XML'),
        (FORBIDDEN, 'a page of HTML or XML'),
        (b'{"message": "Not Found"}', 'JSON text'),
        (packed('archive/data.pkl', 'archive/data/0'), 'a file of PyTorch; .*Remedy: convert it where you have PyTorch'),
        (pickle.dumps({'conv1.weight': 1}, protocol=2), 'a pickle of Python or PyTorch; '),
        (pickle.dumps({'conv1.weight': 1}, protocol=4), 'a pickle of Python or PyTorch; '),
        (safetensors(), 'a safetensors file'),
        (arrays(), 'arrays of NumPy'),
        (tar(), 'a packed archive.*Remedy: unpack it'),
        (b'\x1f\x8b\x08' + bytes(20), 'a packed archive'),
        (packed('vgg/readme.txt'), 'a packed archive'),
        (bytes(4) + b'TFL3' + bytes(20), 'a model of TensorFlow Lite'),
    ],
)
def test_what_is_no_file_of_keras_is_named(tmp_path: pathlib.Path, content: bytes, message: str) -> None:
    path = tmp_path / 'weights.h5'
    path.write_bytes(content)
    found = source_files.fault('keras_h5', path)
    assert found is not None and found.startswith(f'{path}: ')
    with pytest.raises(WeightsError, match=message):
        raise WeightsError(found)


@pytest.mark.parametrize('content', [packed('config.json', 'model.weights.h5'), b'of a kind that nobody knows'])
def test_what_may_be_weights_is_left_to_its_reader(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / 'net.keras').write_bytes(content)
    assert source_files.fault('keras_h5', tmp_path / 'net.keras') is None
    assert source_files.fault('keras_h5', hdf5(tmp_path / 'a.h5')) is None


def test_a_description_that_is_a_sentence_ends_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'a.h5'
    path.write_bytes(b'')
    assert specs.source('keras_h5').description.endswith('.')
    said = source_files.fault('keras_h5', path)
    assert said is not None and re.search(r'\w\. Remedy: fetch it again$', said)


def test_a_folder_is_no_file_of_keras(tmp_path: pathlib.Path) -> None:
    hdf5(tmp_path / 'a.h5')
    assert (source_files.fault('keras_h5', tmp_path) or '').startswith(f'{tmp_path}: a folder; expected a Keras')


@pytest.mark.parametrize('kind', ['checkpoint', 'tf1_checkpoint'])
def test_a_file_of_keras_is_no_checkpoint(tmp_path: pathlib.Path, kind: str) -> None:
    found = source_files.fault(kind, hdf5(tmp_path / 'vgg16.h5'))
    assert found is not None and 'vgg16.h5: a file of Keras; expected' in found and found.endswith('name it as keras_h5')


def checkpoint(folder: pathlib.Path, index: bytes = b'\x00table', shards: int = 1) -> pathlib.Path:
    """Writes what has the names of a checkpoint; returns its prefix."""
    folder.mkdir(exist_ok=True)
    (folder / 'ckpt.index').write_bytes(index)
    for number in range(shards):
        (folder / f'ckpt.data-{number:05d}-of-{shards:05d}').write_bytes(b'\x80\x02 numbers')
    return folder / 'ckpt'


@pytest.mark.parametrize('given', ['ckpt', 'ckpt.index', ''])
@pytest.mark.parametrize(
    ('file', 'content', 'message'),
    [
        ('ckpt.index', POINTER, r'ckpt\.index: a pointer of git-lfs'),
        ('ckpt.index', b'', r'ckpt\.index: an empty file'),
        ('ckpt.data-00001-of-00002', POINTER, r'ckpt\.data-00001-of-00002: a pointer of git-lfs'),
        ('ckpt.data-00000-of-00002', PAGE, r'ckpt\.data-00000-of-00002: a page of HTML'),
        ('ckpt.data-00001-of-00002', None, r'ckpt\.data-00001-of-00002: no such file, a part of this checkpoint'),
    ],
)
def test_each_file_of_a_checkpoint_is_looked_at(
    tmp_path: pathlib.Path, given: str, file: str, content: bytes | None, message: str
) -> None:
    folder = checkpoint(tmp_path / 'made', shards=2).parent
    assert source_files.fault('checkpoint', folder / given) is None
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        raise WeightsError(source_files.fault('checkpoint', folder / given))


def test_other_files_in_a_checkpoints_folder_do_not_matter(tmp_path: pathlib.Path) -> None:
    folder = checkpoint(tmp_path / 'made').parent
    (folder / 'params.yaml').write_bytes(b'')
    (folder / 'old.h5').write_bytes(POINTER)
    assert source_files.fault('checkpoint', folder) is None
    (folder / 'ckpt-2.index').write_bytes(POINTER)  # Which of the two is meant the file `checkpoint` says.
    assert source_files.fault('checkpoint', folder) is None


def test_a_saved_model_is_looked_at_too(tmp_path: pathlib.Path) -> None:
    prefix = checkpoint(tmp_path / 'variables')
    assert source_files.fault('saved_model', tmp_path) is None
    prefix.with_suffix('.index').write_bytes(PAGE)
    assert 'variables/ckpt.index: a page of HTML or XML' in (source_files.fault('saved_model', tmp_path) or '')


def test_every_source_is_looked_at_before_anything_is_said(project: Project) -> None:
    (project.folder / 'weights.h5').write_bytes(POINTER)
    (project.folder / 'late.h5').write_bytes(PAGE)
    more = (
        f'sources.late={{keras_h5: {project.folder}/late.h5}}',
        f'sources.gone={{checkpoint: {project.folder}/gone}}',
        f'sources.other={{run: {project.folder}}}',
    )
    with pytest.raises(WeightsError) as error:
        project.plan(*more)
    lines = str(error.value).splitlines()
    assert [line.split(':')[0] for line in lines] == ['sources.imagenet', 'sources.late', 'sources.gone', 'sources.other']
    assert 'git lfs pull' in lines[0] and 'HTML' in lines[1] and 'no such file' in lines[2] and 'run.yaml' in lines[3]


def test_a_run_whose_checkpoint_is_gone_is_named(project: Project) -> None:
    project.run()
    other = project.directory.path
    for path in (other / 'stages/detector_2/checkpoints').iterdir():
        path.rename(path.with_name(f'moved-{path.name}'))
    with pytest.raises(
        WeightsError, match=r"sources\.imagenet: .*step-00000008: no such folder, though stage 'detector_2' is done"
    ):
        project.plan(f'sources.imagenet={{run: {other}}}')
