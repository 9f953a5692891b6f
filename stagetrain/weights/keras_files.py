"""Keras' weight files as arrays: `.h5`, `.weights.h5` and `.keras`. Nothing is deserialised, no code in a file runs.

read_keras_h5('mobilenet_2_5_224_tf_no_top.h5')['conv1/kernel']       # a layer's name and a variable's
read_keras_h5('net.keras')['conv1/vars/0']                            # its variables are numbered
read_keras_h5('net.weights.h5')['layers/conv2d/vars/0']               # its layers are counted too, unless Keras 3 wrote names
"""

from __future__ import annotations

import io
import json
import mmap
import pathlib
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from stagetrain.errors import WeightsError
from stagetrain.weights.hdf5_heaps import require_sound_heaps

MAX_RATIO = 64
"""Compressed weights may be larger than their file by this factor; random numbers hardly compress at all."""
TOLERATED_BYTES = 2**24
"""What may be claimed whatever the size of the file: small constant arrays compress well."""
_EXPECTED = 'expected a .h5, .weights.h5 or .keras file saved by Keras'
_VARS = 'vars'


def read_keras_h5(path: pathlib.Path | str) -> dict[str, np.ndarray]:
    """Reads the weights in a file of Keras; the optimizer's are left out.

    Args:
      path: a `.h5` of weights or of a whole model, a `.weights.h5`, or a `.keras` archive.

    Returns:
      Key -> array. A `.h5` has `layer/variable`, the others `layer/vars/number`; where a `.weights.h5` does not name its layers
      (tf_keras wrote it) the key is its own path, `layers/class_number/vars/number`.

    Raises:
      WeightsError: no such file, no weights of Keras, or arrays larger than the file can hold.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise WeightsError(f'{path}: no such file; {_EXPECTED}')
    try:
        if zipfile.is_zipfile(path):
            return _read_archive(path)
        with open(path, 'rb') as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            require_sound_heaps(content)
        with h5py.File(path, 'r') as file:
            return _Reader(path, path.stat().st_size).read(file, {})
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, RecursionError) as error:
        raise WeightsError(f'{path}: not a readable Keras .h5 ({error}); {_EXPECTED}') from error


def numbered_paths(root: object) -> Mapping[int, tuple[str, ...]]:
    """Returns id(variable) -> keys under which `read_keras_h5` gives it for files that number variables.

    Covers the layers of a functional model that own their variables themselves. Keras counts the layers of each class in the
    model's order; a file that says its layers' names is matched by name first.
    """
    found: dict[int, tuple[str, ...]] = {}
    counts: dict[str, int] = {}
    for layer in getattr(root, 'layers', ()):
        counted = _counted(type(layer).__name__, counts)
        for number, variable in enumerate(layer.weights):
            found[id(variable)] = (f'{layer.name}/{_VARS}/{number}', f'layers/{counted}/{_VARS}/{number}')
    return found


def require_plausible(place: str, claimed_bytes: int, stored_bytes: int) -> None:
    """Refuses arrays that are larger than what is stored can hold, before memory is taken for them.

    Raises:
      WeightsError: `claimed_bytes` is beyond `MAX_RATIO` times `stored_bytes`.
    """
    if claimed_bytes > TOLERATED_BYTES + MAX_RATIO * stored_bytes:
        raise WeightsError(f'{place} claims {claimed_bytes} bytes in a file of {stored_bytes}; it is damaged or forged')


class _Reader:
    """Reads one HDF5 file, and keeps count of what it claims to hold."""

    def __init__(self, path: pathlib.Path, file_bytes: int):
        self._path, self._file_bytes, self._claimed = path, file_bytes, 0

    def read(self, file: h5py.File, layer_names: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Returns all arrays; `layer_names` says what `layers/<key>` is called where the file itself does not."""
        root = self._child(file, 'model_weights') if 'model_weights' in file else file
        if _has_list(root, 'layer_names'):
            return dict(self._by_name(root))
        if 'layers' in file or _VARS in file:
            return dict(self._numbered(file, '', layer_names))
        raise WeightsError(f"{self._path}: no attribute 'layer_names'; {_EXPECTED} (found keys: {sorted(file)[:5]})")

    def _by_name(self, root: h5py.Group) -> Iterator[tuple[str, np.ndarray]]:
        for layer in _text_list(root, 'layer_names'):
            group = self._child(root, layer)
            for weight in _text_list(group, 'weight_names'):
                yield f'{layer}/{weight.rsplit("/", 1)[-1].split(":")[0]}', self._array(self._child(group, weight))

    def _numbered(self, group: h5py.Group, path: str, layer_names: Mapping[str, str]) -> Iterator[tuple[str, np.ndarray]]:
        for key in group:
            if not path and key == 'optimizer':
                continue
            child = self._child(group, key)
            if isinstance(child, h5py.Dataset):
                yield f'{path}/{key}', self._array(child)
                continue
            below = f'{path}/{key}' if path else key
            if path == 'layers':
                below = self._layer_name(child) or layer_names.get(key, below)
            yield from self._numbered(child, below, layer_names)

    def _layer_name(self, group: h5py.Group) -> str | None:
        """Keras 3 writes a layer's name beside its variables, tf_keras does not."""
        name = self._child(group, _VARS).attrs.get('name') if _VARS in group else None
        return None if name is None else _text(name)

    def _child(self, group: h5py.Group, name: str) -> Any:
        """Returns a part of the file; a link may lead into any other file of this machine and is refused."""
        for part in name.split('/'):
            if isinstance(group.get(part, getlink=True), h5py.ExternalLink):
                raise WeightsError(f'{self._path}: {group.name}/{part} is a link into another file; such files are not read')
            group = group[part]
        return group

    def _array(self, dataset: h5py.Dataset) -> np.ndarray:
        place = f'{self._path}: {dataset.name}'
        if dataset.dtype.kind not in 'fiub':
            raise WeightsError(f'{place} holds {dataset.dtype}; expected numbers')
        if dataset.external or dataset.is_virtual:
            raise WeightsError(f'{place} lies in another file; such files are not read')
        is_plain = dataset.chunks is None
        stored = dataset.id.get_storage_size()
        if is_plain and stored < dataset.nbytes:
            raise WeightsError(f'{place} claims {dataset.nbytes} bytes in a file of {self._file_bytes} that holds {stored} of it')
        self._claimed += dataset.nbytes
        require_plausible(place, self._claimed, self._file_bytes)
        return np.asarray(dataset)


def _read_archive(path: pathlib.Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        content = _member(archive, path, 'model.weights.h5')
        names = _layer_names(json.loads(_member(archive, path, 'config.json')))
    require_sound_heaps(content)
    with h5py.File(io.BytesIO(content), 'r') as file:
        return _Reader(path, len(content)).read(file, names)


def _member(archive: zipfile.ZipFile, path: pathlib.Path, name: str) -> bytes:
    if name not in archive.namelist():
        raise WeightsError(f'{path}: no {name} in this archive; {_EXPECTED} (found: {sorted(archive.namelist())[:5]})')
    require_plausible(f'{path}: {name}', archive.getinfo(name).file_size, path.stat().st_size)
    return archive.read(name)


def _layer_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns what Keras counts a layer as -> the layer's name, from an archive's description of the model."""
    counts: dict[str, int] = {}
    names: dict[str, str] = {}
    for layer in config.get('config', {}).get('layers', ()):
        names[_counted(layer['class_name'], counts)] = layer['config']['name']
    return names


def _counted(class_name: str, counts: dict[str, int]) -> str:
    """Returns `conv2d`, then `conv2d_1`, ..., as `tf_keras.src.saving.saving_lib._save_container_state` counts."""
    name = re.sub('([a-z])([A-Z])', r'\1_\2', re.sub('(.)([A-Z][a-z]+)', r'\1_\2', class_name)).lower()
    name = f'private{name}' if name.startswith('_') else name
    number = counts.get(name, 0)
    counts[name] = number + 1
    return f'{name}_{number}' if number else name


def _has_list(group: h5py.Group, name: str) -> bool:
    return name in group.attrs or f'{name}0' in group.attrs


def _text_list(group: h5py.Group, name: str) -> Sequence[str]:
    """Returns a list of texts; Keras splits one of more than 64 KiB into `<name>0`, `<name>1`, ..."""
    parts = [name] if name in group.attrs else [f'{name}{number}' for number in range(len(group.attrs))]
    return [_text(value) for part in parts if part in group.attrs for value in group.attrs[part]]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
