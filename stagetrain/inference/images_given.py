"""The images that `stagetrain detect` is given: files, folders and patterns. TensorFlow-free.

    given = collect(['a.jpg', 'cams/', 'night/*.png'], max_image_pixels=50_000_000)
    [image.path for image in given.images], given.skipped

A file that is named must be an image. What is none in a folder, or matches a pattern, is skipped and counted; so are hidden files
and pictures that an earlier call drew there.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import mimetypes
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from stagetrain.data import images as image_files
from stagetrain.data.annotation import Unusable
from stagetrain.data.patterns import matching
from stagetrain.errors import DataError
from stagetrain.inference import written


@dataclasses.dataclass(frozen=True)
class GivenImage:
    """An image; height and width are those of the upright picture, in pixels."""

    path: pathlib.Path
    """As it was named, or found."""
    height: int
    width: int
    is_named: bool
    """Whether the user named this very file."""


@dataclasses.dataclass(frozen=True)
class Given:
    """The images, in the order in which they were named and, in folders, of their names; and what was left out."""

    images: tuple[GivenImage, ...]
    num_no_images: int = 0
    num_drawn: int = 0
    """Pictures that an earlier call drew."""
    unusable: tuple[str, ...] = ()
    """Files in folders that are named like images and cannot be read as such: path and reason."""

    def remarks(self) -> Iterator[str]:
        """Yields what was skipped, in words."""
        if self.num_no_images:
            yield f'{self.num_no_images} files skipped: no images'
        if self.num_drawn:
            yield f'{self.num_drawn} files skipped: pictures of earlier detections'
        for fault in self.unusable:
            yield f'skipped: {fault}'


def collect(arguments: Sequence[str | os.PathLike[str]], max_image_pixels: int) -> Given:
    """Returns the images that arguments mean, each once; every one is decoded, so that a broken one shows now.

    Args:
      arguments: files, folders, which are read with all folders in them, or patterns.
      max_image_pixels: larger images are not used.

    Raises:
      DataError: there is no such file, a named one is no image that can be used, or none is left.
    """
    found = _files([os.fspath(argument) for argument in arguments])
    paths = list(found)
    look = functools.partial(_look, max_image_pixels=max_image_pixels, read=functools.cache(written.OutFolder.read))
    # Decoding releases the interpreter lock; `map` keeps the order.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        looked_at = list(pool.map(look, found.items()))
    drawn = [item for item in looked_at if item is None]
    faults = [(path, item) for path, item in zip(paths, looked_at, strict=True) if isinstance(item, Unusable)]
    for path, fault in faults:
        if found[path]:
            raise DataError(f'{path}: {fault}')
    named_like_images = [(path, fault) for path, fault in faults if _is_named_like_an_image(path)]
    given = Given(
        tuple(item for item in looked_at if isinstance(item, GivenImage)),
        len(faults) - len(named_like_images),
        len(drawn),
        tuple(f'{path}: {fault}' for path, fault in named_like_images),
    )
    if not given.images:
        shown = '; '.join(given.remarks()) or 'there are no files at all'
        raise DataError(f'{", ".join(map(str, arguments))}: no image that can be used: {shown}')
    return given


def _files(arguments: Iterable[str]) -> dict[str, bool]:
    """Returns path -> whether the user named it; a file that is found in two ways counts once."""
    first: dict[str, str] = {}
    named: dict[str, bool] = {}
    for path, is_named in (found for argument in arguments for found in _of_argument(argument)):
        path = first.setdefault(os.path.abspath(path), path)
        named[path] = named.get(path, False) or is_named
    return named


def _of_argument(argument: str) -> Iterator[tuple[str, bool]]:
    if os.path.isdir(argument):
        yield from ((path, False) for path in _in_folder(argument, set()))
    elif os.path.lexists(argument):
        yield argument, True
    else:
        found = matching(argument)
        if not found:
            raise DataError(f'{argument}: no such file or folder, and nothing matches; expected images, folders or patterns')
        for path in found:
            yield from ((inside, False) for inside in (_in_folder(path, set()) if os.path.isdir(path) else [path]))


def _in_folder(folder: str, above: set[str]) -> Iterator[str]:
    """Yields all files below a folder, sorted; links are followed, but not in a circle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            if not entry.name.startswith('.'):
                yield from _in_folder(entry.path, above | {real})
        else:
            yield entry.path


def _look(
    found: tuple[str, bool], max_image_pixels: int, read: Callable[[pathlib.Path], written.OutFolder]
) -> GivenImage | Unusable | None:
    """Returns the image, or what is wrong with it, or None for a picture that was drawn."""
    path, is_named = found
    try:
        if not is_named and os.path.basename(path).startswith('.'):
            raise Unusable('', 'hidden')
        if not os.path.isfile(path):  # A pipe would be waited for.
            raise Unusable('', 'no regular file')
        info = image_files.usable(path, max_image_pixels)
        image_files.verify(path)
    except Unusable as error:
        return error
    place = pathlib.Path(os.path.abspath(path))
    if not is_named and any(read(above).is_ours(str(place.relative_to(above))) for above in place.parents):
        return None
    return GivenImage(pathlib.Path(path), info.height, info.width, is_named)


def _is_named_like_an_image(path: str) -> bool:
    kind, _ = mimetypes.guess_type(path)
    return kind is not None and kind.startswith('image/') and not os.path.basename(path).startswith('.')
