"""Converts a data set into another format: in parts, by several processes, resumable, and read back before it counts.

    conversion = plan(dataset, 'tfrecord', split='train')
    convert(conversion, pathlib.Path('records'), num_processes=2)

Everything is written into `OUT.making`, one part after the other, each with a marker when it is done. When the last one is, the
whole is read back; only if its digest is that of the data set is the folder renamed to `OUT`. The same command after a crash goes
on with the parts that are missing, and after the end finds that nothing is left to do.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import contextlib
import dataclasses
import math
import multiprocessing
import os
import pathlib
import re
import signal
from collections.abc import Callable, Iterator

import filelock

from stagetrain import files
from stagetrain.config import schema
from stagetrain.data import images
from stagetrain.data.annotation import Dataset, Example
from stagetrain.data.image_lists import image_id
from stagetrain.data.index import read_dataset
from stagetrain.data.writers import WRITERS, Part
from stagetrain.errors import BadInput, DataError, StagetrainError, known_names, suggestion

VERSION = 1
"""Counted up when what is written changes: an unfinished conversion of another version is not gone on with."""
PLAN_FILE = '.conversion.json'
IMAGES_A_PART = 128
"""For formats with one file an image; a part is what a crash costs."""
BYTES_A_SHARD = 128 * 2**20
MIN_SHARDS = 2
_SUFFIX_OF_FORMAT = {'JPEG': '.jpg', 'PNG': '.png', 'BMP': '.bmp'}

Progress = Callable[[int], None]


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What is to be written, decided before anything is."""

    dataset: Dataset
    to: str
    split: str
    suffixes: tuple[str, ...]
    num_parts: int
    max_image_pixels: int

    @property
    def fingerprint(self) -> str:
        """Names all that decides what is written."""
        return files.digest_of([VERSION, self.to, self.split, self.dataset.digest, list(self.suffixes), self.num_parts])

    def part(self, number: int) -> Part:
        """Returns a part, counted from 0."""
        count = len(self.dataset.examples)
        span = slice(count * number // self.num_parts, count * (number + 1) // self.num_parts)
        examples, suffixes = self.dataset.examples[span], self.suffixes[span]
        return Part(number, self.num_parts, self.split, self.dataset.classes, examples, suffixes)

    def whole(self) -> Part:
        """Returns all images as one part."""
        return Part(0, 1, self.split, self.dataset.classes, self.dataset.examples, self.suffixes)


def plan(
    dataset: Dataset, to: str, split: str, *, num_shards: int | None = None, max_image_pixels: int = 50_000_000
) -> Conversion:
    """Decides what is written where.

    Args:
      dataset: What is converted.
      to: A registered format that has a writer.
      split: Name of the TFRecord's shards, and of VOC's split.
      num_shards: Of TFRecords; by default as many as hold `BYTES_A_SHARD` each.
      max_image_pixels: Larger images are refused on reading back.

    Raises:
      BadInput: The format is not known, a name cannot be that of a file, or the format has no place for what is to be written.
    """
    require_format(to)
    if not re.fullmatch(r'\w[\w.-]*', split):
        raise BadInput(f"split '{split}': expected letters, digits, '_', '-' and '.' only: files are named after it")
    _require_text(dataset)
    if to != 'tfrecord':
        _require_file_names(dataset)
        if num_shards is not None:
            raise BadInput(f'--shards: TFRecords have shards, {to} has none; leave it out')
    if not WRITERS[to].keeps_flags:
        _require_no_flags(dataset, to)
    suffixes = tuple(_suffix(example) for example in dataset.examples)
    num_parts = _num_parts(dataset, to, num_shards)
    return Conversion(dataset, to, split, suffixes, num_parts, max_image_pixels)


def require_format(to: str) -> None:
    """Raises `BadInput` with the known ones where `to` is no format that can be written."""
    if to not in WRITERS:
        raise BadInput(f"--to: found '{to}', expected one of {known_names(WRITERS)}.{suggestion(to, WRITERS)}")


def convert(
    conversion: Conversion, out: pathlib.Path, *, num_processes: int = 2, progress: Progress = lambda count: None
) -> bool:
    """Writes what is missing.

    Args:
      conversion: What `plan` decided.
      out: The folder to make; its parent is made when missing.
      num_processes: That write parts.
      progress: Called with the number of images of every part that is done.

    Returns:
      Whether anything was left to do.

    Raises:
      BadInput: `out` holds something else, another process writes it, or an unfinished conversion of something else is beside.
      DataError: An image cannot be read, or what was written is not read back equal.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    require_free(out)
    with _alone(out):
        if os.path.lexists(out):
            _require_same(out / PLAN_FILE, conversion, _taken(out))
            return False
        making = out.with_name(f'{out.name}.making')
        _begin(making, conversion)
        _write_parts(making, conversion, num_processes, progress)
        WRITERS[conversion.to].finish(making, conversion.whole())
        _read_back(making, conversion)
        for marker in making.glob('.done-*'):
            marker.unlink()
        os.sync()  # One call for thousands of small files.
        os.rename(making, out)
        files.fsync_folder(out.parent)
    return True


def require_free(out: pathlib.Path) -> None:
    """Raises `BadInput` when a folder to convert into is there and was not made by a conversion."""
    if os.path.lexists(out) and not (out / PLAN_FILE).is_file():
        raise BadInput(_taken(out))


def _taken(out: pathlib.Path) -> str:
    return f'{out} is there already; expected a new folder, or this conversion finished'


def without_ignored(dataset: Dataset) -> tuple[tuple[Example, ...], int]:
    """Returns the examples without difficult objects and crowds, and how many objects were left out."""
    examples = []
    for example in dataset.examples:
        kept = ~(example.difficult | example.is_crowd)
        names = ('boxes_yxyx_px', 'classes', 'difficult', 'is_crowd')
        examples.append(dataclasses.replace(example, **{name: getattr(example, name)[kept] for name in names}))
    return tuple(examples), dataset.num_boxes - sum(len(example.classes) for example in examples)


def _require_text(dataset: Dataset) -> None:
    """A file name of another encoding is lone surrogates in Python, which no format has letters for."""
    names = [
        *((example.path, example.image_id) for example in dataset.examples),
        *(('a class', name) for name in dataset.classes),
    ]
    for place, name in names:
        if not name.isascii() and name.encode('utf-8', 'replace').decode() != name:
            raise BadInput(f"{place}: the name '{name}' is not UTF-8 text, so no format can hold it; rename it")


def _require_file_names(dataset: Dataset) -> None:
    for example in dataset.examples:
        name = example.image_id
        is_inside = not name.startswith('/') and '..' not in name.split('/')
        if not is_inside or set(name) & set('\\\0\n\r') or image_id(f'{name}.jpg') != name or name != name.strip():
            raise BadInput(
                f"{example.path}: the image's id '{name}' cannot be the name of a file; convert to tfrecord, or rename it"
            )


def _require_no_flags(dataset: Dataset, to: str) -> None:
    count = sum(int((example.difficult | example.is_crowd).sum()) for example in dataset.examples)
    if count:
        raise BadInput(
            f'{to} has no place for the flags of {count} difficult or crowd objects; convert to another format, or leave these '
            'objects out with --drop_ignored'
        )


def _suffix(example: Example) -> str:
    suffix = pathlib.PurePath(example.path).suffix
    if example.offset is None and suffix.lower() in images.SUFFIXES:
        return suffix
    return _SUFFIX_OF_FORMAT[images.inspect(example.read_bytes()).format]


def _num_parts(dataset: Dataset, to: str, num_shards: int | None) -> int:
    count = len(dataset.examples)
    if to != 'tfrecord':
        return math.ceil(count / IMAGES_A_PART)
    if num_shards is not None:
        if not 1 <= num_shards <= count:
            raise BadInput(f'--shards: found {num_shards}, expected 1 to {count}: the number of images')
        return num_shards
    size = sum(os.path.getsize(example.path) if example.length is None else example.length for example in dataset.examples)
    return min(count, max(MIN_SHARDS, math.ceil(size / BYTES_A_SHARD)))


@contextlib.contextmanager
def _alone(out: pathlib.Path) -> Iterator[None]:
    lock = filelock.FileLock(out.with_name(f'.{out.name}.lock'), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BadInput(f'{out}: another process is writing it; wait for it, or name another folder') from error
    try:
        yield
    finally:
        pathlib.Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _begin(making: pathlib.Path, conversion: Conversion) -> None:
    if making.exists():
        _require_same(making / PLAN_FILE, conversion, f'{making} holds an unfinished conversion of something else; remove it')
        return
    making.mkdir()
    content = {'fingerprint': conversion.fingerprint, 'data': conversion.dataset.digest, 'to': conversion.to}
    files.write_json(making / PLAN_FILE, content)


def _require_same(file: pathlib.Path, conversion: Conversion, otherwise: str) -> None:
    try:
        found = files.read_json(file)
    except (OSError, StagetrainError) as error:
        raise BadInput(otherwise) from error
    if not isinstance(found, dict) or found.get('fingerprint') != conversion.fingerprint:
        raise BadInput(otherwise)


def _write_parts(making: pathlib.Path, conversion: Conversion, num_processes: int, progress: Progress) -> None:
    missing = []
    for number in range(conversion.num_parts):
        if _marker(making, number).exists():
            progress(len(conversion.part(number).examples))
        else:
            missing.append(number)
    workers = min(num_processes, len(missing))
    if workers <= 1:  # A process of its own costs a second.
        for number in missing:
            _write_part(conversion.to, making, conversion.part(number))
            progress(len(conversion.part(number).examples))
        return
    context = multiprocessing.get_context('spawn')
    with concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_ignore_interrupts) as pool:
        try:
            waiting = {pool.submit(_write_part, conversion.to, making, conversion.part(n)): n for n in missing}
            for done in concurrent.futures.as_completed(waiting):
                done.result()
                progress(len(conversion.part(waiting[done]).examples))
        except concurrent.futures.process.BrokenProcessPool as error:
            raise StagetrainError(f'{making}: a process that wrote a part died; the same command goes on from there') from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal: the parent decides, and parts under way are finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write_part(to: str, making: pathlib.Path, part: Part) -> None:
    WRITERS[to].write_part(making, part)
    files.atomic_write(_marker(making, part.number), '')


def _marker(making: pathlib.Path, number: int) -> pathlib.Path:
    return making / f'.done-{number:05d}'


def _read_back(making: pathlib.Path, conversion: Conversion) -> None:
    """Compares what was written with what was meant, from the files; this finds what a power loss tore, too."""
    source = WRITERS[conversion.to].source(making, conversion.split)
    data = schema.Data(
        classes=list(conversion.dataset.classes),
        train=source,
        validation=source,
        on_bad='skip',
        max_image_pixels=conversion.max_image_pixels,
    )
    remedy = 'remove the folder and convert again'
    try:
        found = read_dataset(source, data, 'train', None)
    except DataError as error:
        raise DataError(f'{making}: what was written cannot be read back: {error}\n{remedy}') from error
    if found.digest != conversion.dataset.digest:
        first = f' (first fault: {found.bad[0]})' if found.bad else ''
        raise DataError(f'{making}: what was written is read back differently{first}; {remedy}')
