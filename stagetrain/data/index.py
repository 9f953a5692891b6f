"""Loads a data set through the reader of its format, once: later loads take the cache when no file has changed.

The cache is one `.npz` of plain arrays (no pickle). It is named by what was asked for, and holds size, time and inode of every
file and folder that was looked at; one that is broken or stale is made again. There may be one in a run directory, one in the
user's own cache folder (`user_cache`), or both; what the latter holds depends on the code that read it, too.

    dataset = load_dataset(pipeline.data.train, pipeline.data, 'train', run_dir / 'cache', user_cache_dir=user_cache.folder())
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import importlib
import io
import itertools
import json
import os
import pathlib
import time
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import PIL

from stagetrain import files
from stagetrain.config import schema, specs
from stagetrain.data import faults, objects, user_cache
from stagetrain.data.annotation import BadItem, Dataset, Example, Kind
from stagetrain.errors import DamagedFile, DataError

CACHE_VERSION = 5
"""Counted up whenever a reader or the cache's layout changes, so that older caches are made again."""
RACY_NS = 2_000_000_000
"""A file changed so shortly before it was read can change again within the same tick of a coarse clock: nothing is cached."""
ITEM_DIGITS = 12
"""Hexadecimal digits of an image's digest in `Dataset.items`; as many of its annotation's follow."""

_NAMING = (Kind.MISSING, Kind.LINK, Kind.NOTE)
"""Kinds whose evidence is the path of a file that is not there: it may appear."""

_Stat = tuple[int, int, int] | None


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What is cached: a data set before `on_bad` was applied."""

    examples: tuple[Example, ...]
    bad: tuple[BadItem, ...]
    digest: str
    items: dict[str, str]
    ignored: dict[str, int]
    notes: tuple[BadItem, ...]


def load_dataset(
    source: schema.DataSource,
    data: schema.Data,
    split_name: str,
    cache_dir: pathlib.Path | None,
    *,
    user_cache_dir: pathlib.Path | None = None,
) -> Dataset:
    """Returns the data set that `source` names, if it can be used for what `split_name` says.

    Args:
      source: What to read, `data.train` or `data.validation`.
      data: Gives the class names, `max_image_pixels` and `on_bad`.
      split_name: What the data set is for, and called in messages: `train` or `validation`.
      cache_dir: Folder of a run directory's cache, made when missing; None: no such cache.
      user_cache_dir: The user's own cache folder, looked at after that; None: not looked at.

    Raises:
      ConfigError: The format is not registered.
      DataError: The data set as a whole cannot be used; it has no object, or none to learn where it is trained on; or it has
        bad items and `on_bad` is `error`.
    """
    dataset = read_dataset(source, data, split_name, cache_dir, user_cache_dir=user_cache_dir)
    _refuse_bad(dataset, source, data)
    return dataset


def read_dataset(
    source: schema.DataSource,
    data: schema.Data,
    split_name: str,
    cache_dir: pathlib.Path | None,
    *,
    user_cache_dir: pathlib.Path | None = None,
) -> Dataset:
    """Returns the data set that `source` names, whatever is wrong with it; `data.on_bad` does not count.

    Args:
      source: What to read.
      data: Gives the class names and `max_image_pixels`.
      split_name: What the data set is called in messages.
      cache_dir: Folder of a run directory's cache, made when missing; None: no such cache.
      user_cache_dir: The user's own cache folder, looked at after that; None: not looked at.

    Raises:
      ConfigError: The format is not registered.
      DataError: The data set as a whole cannot be used.
    """
    spec = specs.data_format(source.format)
    caches = _caches(spec, source, data, cache_dir, user_cache_dir=user_cache_dir)
    started_ns = time.time_ns()
    found, lacking = _look_up(caches)
    if found is None:
        found = _read(spec, source, data)
    for cache in lacking:
        cache.store(found, started_ns)
    return Dataset(
        split_name, tuple(data.classes), found.examples, found.bad, found.digest, found.items, found.notes, found.ignored
    )


def _caches(
    spec: specs.FormatSpec,
    source: schema.DataSource,
    data: schema.Data,
    cache_dir: pathlib.Path | None,
    *,
    user_cache_dir: pathlib.Path | None,
) -> list[_Cache]:
    """Returns where a data set may be cached; nowhere, where its format does not tell what decides it."""
    if not spec.inputs or (cache_dir is None and user_cache_dir is None):
        return []
    inputs = list(specs.load_implementation(spec.inputs)(source))
    key = _key(source, data)
    caches = [] if cache_dir is None else [_Cache(cache_dir / f'dataset-{key}.npz', inputs)]
    if user_cache_dir is not None:
        caches.append(_UserCache(user_cache_dir / f'dataset-{key}-{_code(spec.implementation)}.npz', inputs))
    return caches


def _look_up(caches: Sequence[_Cache]) -> tuple[_Contents | None, Sequence[_Cache]]:
    """Returns what the first cache that has the data set holds, and the caches before it, which lack it."""
    for number, cache in enumerate(caches):
        found = cache.load()
        if found is not None:
            return found, caches[:number]
    return None, caches


def dataset_digest(classes: Sequence[str], examples: Sequence[Example]) -> str:
    """Returns the SHA-256 over all that training sees; paths do not count.

    Args:
      classes: Class names in their order.
      examples: In the order of training's index.
    """
    return _digests(classes, examples)[0]


def _digests(classes: Sequence[str], examples: Sequence[Example]) -> tuple[str, dict[str, str]]:
    """Returns the digest of a data set, and `Dataset.items`."""
    digest = hashlib.sha256()
    digest.update(_length_framed(json.dumps(list(classes)).encode()))
    items = {}
    # Hashing and reading release the interpreter lock.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for example, content in zip(examples, pool.map(_content_digest, examples), strict=True):
            boxes = example.boxes_yxyx_px.astype('<f4').tobytes() + example.classes.astype('<i4').tobytes()
            flags = example.difficult.astype('u1').tobytes() + example.is_crowd.astype('u1').tobytes()
            masks = b'' if example.masks is None else _length_framed(json.dumps(example.masks).encode())
            digest.update(_length_framed(example.image_id.encode('utf-8', 'surrogatepass')))
            digest.update(np.asarray([example.height, example.width, len(example.classes)], '<i8').tobytes())
            digest.update(boxes + flags + content + masks)
            annotation = hashlib.sha256(boxes + flags + masks).hexdigest()
            items[example.image_id] = content.hex()[:ITEM_DIGITS] + annotation[:ITEM_DIGITS]
    return digest.hexdigest(), items


def _length_framed(data: bytes) -> bytes:
    return len(data).to_bytes(8, 'little') + data


def _content_digest(example: Example) -> bytes:
    return hashlib.sha256(example.read_bytes()).digest()


def _read(spec: specs.FormatSpec, source: schema.DataSource, data: schema.Data) -> _Contents:
    reader = specs.load_implementation(spec.implementation)
    examples, bad = reader(source, (*data.classes, *data.ignore_classes), data.max_image_pixels)
    ignored = _count_ignored(examples, data)
    examples = sorted((_of_classes(example, len(data.classes)) for example in examples), key=lambda example: example.image_id)
    for one, other in itertools.pairwise(examples):
        if one.image_id == other.image_id:
            raise DataError(f"{source.path}: two images have the id '{one.image_id}' ({one.path}, {other.path}); ids must differ")
    bad = sorted(bad, key=lambda item: item.order)
    left_out, notes = ([item for item in bad if (item.kind == Kind.NOTE) == is_note] for is_note in (False, True))
    return _Contents(tuple(examples), tuple(left_out), *_digests(data.classes, examples), ignored, tuple(notes))


def _count_ignored(examples: Iterable[Example], data: schema.Data) -> dict[str, int]:
    """Returns the number of objects of each ignored class; their ids come behind those of the others."""
    num_classes = len(data.classes)
    counts = np.zeros(num_classes + len(data.ignore_classes) + 1, np.int64)
    for example in examples:
        counts += np.bincount(example.classes, minlength=len(counts))
    return dict(zip(data.ignore_classes, counts[num_classes + 1 :].tolist(), strict=True))


def _of_classes(example: Example, num_classes: int) -> Example:
    """Leaves out the objects of ignored classes."""
    kept = example.classes <= num_classes
    return example if kept.all() else example.select(kept)


def _refuse_bad(dataset: Dataset, source: schema.DataSource, data: schema.Data) -> None:
    place = f'data.{dataset.name}: {source.path}'
    if dataset.bad and data.on_bad == 'error':
        raise DataError(
            f'{place}: {len(dataset.bad)} boxes or images cannot be used:{_shown_faults(dataset, source, data)}'
            '\nCorrect them, or set data.on_bad: skip to leave them out; they are counted in the plan then.'
        )
    if not dataset.num_boxes:
        raise DataError(
            f'{place}: {len(dataset.examples)} images, but not one usable object in them; '
            f'expected objects of {", ".join(data.classes)}{_only(objects.to_measure(dataset))}'
            f'{_shown_faults(dataset, source, data)}'
        )
    found = objects.to_learn(dataset, include_difficult=source.include_difficult)
    if dataset.name == 'train' and not found.num_usable:
        remedies = ''.join(f'\n{remedy}' for remedy in found.remedies)
        raise DataError(
            f'{place}: {len(dataset.examples)} images, but nothing to learn in them: {found}{remedies}'
            f'{_shown_faults(dataset, source, data)}'
        )


def _only(found: objects.ObjectCounts) -> str:
    return f'; found {found}' if found.num_objects else ''


def _shown_faults(dataset: Dataset, source: schema.DataSource, data: schema.Data) -> str:
    return ''.join(f'\n{line}' for line in faults.summary(dataset, source, data))


def _key(source: schema.DataSource, data: schema.Data) -> str:
    """Names all that decides what a reader gives, besides the files' contents."""
    options = source.model_dump() | {'path': os.path.abspath(source.path)}
    asked: list[Any] = [CACHE_VERSION, options, list(data.classes), list(data.ignore_classes), data.max_image_pixels]
    if not all(map(os.path.isabs, _paths(source))):
        asked += [os.getcwd(), source.path]  # Messages show paths as they were given.
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def _paths(source: schema.DataSource) -> list[str]:
    return [path for path in (source.path, source.images, source.class_file) if path]


@functools.cache
def _code(reader: str) -> str:
    """Names the code that decides what is read: all of this room, the reader's own file, and the library that decodes.

    Commands of several versions share the user's cache, and a plugin may change between two of them.
    """
    module = importlib.import_module(reader.partition(':')[0])
    own = {*pathlib.Path(__file__).parent.glob('*.py'), pathlib.Path(module.__file__ or __file__)}
    return files.digest_of([PIL.__version__, *(files.sha256_file(path) for path in sorted(own))])[:8]


def _stat(path: str) -> _Stat:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a name with a zero byte, which no file has.
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


class _Cache:
    """One data set in one file. `inputs` are the files that decide which images are read, and how."""

    def __init__(self, file: pathlib.Path, inputs: Iterable[str]) -> None:
        self._file = file
        self._inputs = inputs

    def load(self) -> _Contents | None:
        """Returns what was stored, or None when that is missing, broken or stale."""
        try:
            with np.load(io.BytesIO(files.read_sealed_bytes(self._file)), allow_pickle=False) as arrays:
                contents, paths, stats = _unpack({name: arrays[name] for name in arrays.files})
        except (OSError, DamagedFile, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        if paths != self._paths(contents) or stats != [_stat(path) for path in paths]:
            return None
        return contents

    def store(self, contents: _Contents, started_ns: int) -> None:
        """Stores `contents`, unless a file is so new that a change could stay unseen."""
        paths = self._paths(contents)
        stats = [_stat(path) for path in paths]
        if any(stat is not None and stat[1] > started_ns - RACY_NS for stat in stats):
            return
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **_pack(contents, paths, stats))
        with contextlib.suppress(OSError):  # Without a cache files are read again; a disk that is full shows where it matters.
            self._file.parent.mkdir(parents=True, exist_ok=True)
            files.write_sealed_bytes(self._file, buffer.getvalue())

    def _paths(self, contents: _Contents) -> list[str]:
        items = (*contents.bad, *contents.notes)
        named = (item.evidence[0] for item in items if item.kind in _NAMING and item.evidence)
        read = itertools.chain((example.path for example in contents.examples), (item.file for item in items), map(str, named))
        return list(dict.fromkeys(os.path.abspath(path) for path in itertools.chain(self._inputs, read)))


class _UserCache(_Cache):
    """The one in the user's cache folder, which is kept small."""

    def load(self) -> _Contents | None:
        """As `_Cache.load`; what is used is young again."""
        found = super().load()
        if found is not None:
            user_cache.mark_used(self._file)
        return found

    def store(self, contents: _Contents, started_ns: int) -> None:
        """As `_Cache.store`."""
        if user_cache.fault(self._file.parent) is None:
            super().store(contents, started_ns)
            user_cache.trim(self._file.parent)


def _pack(contents: _Contents, paths: list[str], stats: list[_Stat]) -> dict[str, np.ndarray]:
    examples = contents.examples
    text = {
        'digest': contents.digest,
        'items': list(contents.items.values()),
        'ignored': contents.ignored,
        'ids': [example.image_id for example in examples],
        'paths': [example.path for example in examples],
        'masks': [example.masks for example in examples],
        'bad': [dataclasses.astuple(item) for item in contents.bad],
        'notes': [dataclasses.astuple(item) for item in contents.notes],
        'stat_paths': paths,
    }
    spans = [(-1, -1) if e.offset is None or e.length is None else (e.offset, e.length) for e in examples]
    arrays: dict[str, np.ndarray] = {
        'text': np.frombuffer(json.dumps(text).encode(), np.uint8),
        'spans': np.asarray(spans, np.int64).reshape(-1, 2),
        'sizes': np.asarray([(e.height, e.width) for e in examples], np.int64).reshape(-1, 2),
        'counts': np.asarray([len(e.classes) for e in examples], np.int64),
        'boxes': np.concatenate([np.zeros((0, 4), np.float32), *(e.boxes_yxyx_px for e in examples)]),
        'classes': np.concatenate([np.zeros(0, np.int32), *(e.classes for e in examples)]),
        'difficult': np.concatenate([np.zeros(0, np.bool_), *(e.difficult for e in examples)]),
        'is_crowd': np.concatenate([np.zeros(0, np.bool_), *(e.is_crowd for e in examples)]),
        'stats': np.asarray([stat or (-1, -1, -1) for stat in stats], np.int64).reshape(-1, 3),
    }
    return arrays


def _unpack(arrays: dict[str, np.ndarray]) -> tuple[_Contents, list[str], list[_Stat]]:
    text: dict[str, Any] = json.loads(arrays['text'].tobytes())
    ends = np.cumsum(arrays['counts']).tolist()
    boxes, classes, difficult, is_crowd = (arrays[name] for name in ('boxes', 'classes', 'difficult', 'is_crowd'))
    masks = [None if found is None else tuple(found) for found in text['masks']]
    spans, sizes = arrays['spans'].tolist(), arrays['sizes'].tolist()
    rows = zip(text['ids'], text['paths'], spans, sizes, [0, *ends], ends, masks, strict=False)
    examples = tuple(
        Example(
            image_id=image_id,
            path=path,
            offset=None if offset < 0 else offset,
            length=None if offset < 0 else length,
            height=height,
            width=width,
            boxes_yxyx_px=boxes[start:end],
            classes=classes[start:end],
            difficult=difficult[start:end],
            is_crowd=is_crowd[start:end],
            masks=found,
        )
        for image_id, path, (offset, length), (height, width), start, end, found in rows
    )
    stats: list[_Stat] = [None if size < 0 else (size, time_ns, inode) for size, time_ns, inode in arrays['stats'].tolist()]
    bad, notes = (
        tuple(BadItem(file, element, reason, kind, tuple(evidence)) for file, element, reason, kind, evidence in text[name])
        for name in ('bad', 'notes')
    )
    items = dict(zip(text['ids'], text['items'], strict=True))
    return _Contents(examples, bad, text['digest'], items, text['ignored'], notes), text['stat_paths'], stats
