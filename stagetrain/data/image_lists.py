"""Data sets that list images and objects in one text file, as COCO and CSV do: from the list to examples.

An image's id is its name in the image folder without the suffix (`train/0001` for `train/0001.jpg`): equal wherever the folder
lies, and equal to the id of the same image in VOC layout. Images that differ in their suffix alone keep it in their ids.

    examples, bad = read_images('boxes.csv', 'images', [ListedImage('line 1', '0001.jpg', None, [...])], ('cat',), 50_000_000)
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import os
import pathlib
import posixpath
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from stagetrain.data import images
from stagetrain.data.annotation import BadItem, Example, Kind, Unusable, class_id, scaled, usable_box
from stagetrain.data.places import Places
from stagetrain.errors import DataError

NUM_NAMES_TRIED = 20
"""So many images are looked for to find their folder; one alone might be missing."""


@dataclasses.dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as it is listed; `box_yxyx_px` is (ymin, xmin, ymax, xmax) in pixels, edges, not yet looked at.

    `is_normalised`: it is in shares of the image, 0 to 1. `mask` makes its mask from the image's height and width, or raises
    `Unusable`; None: masks are not read.
    """

    element: str
    box_yxyx_px: tuple[float, float, float, float]
    class_name: str
    difficult: bool = False
    is_crowd: bool = False
    mask: Callable[[int, int], str] | None = None
    is_normalised: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ListedImage:
    """An image as it is listed; `stated_size` is (height, width), or None where the list does not tell.

    `file` holds its objects where that is not the list itself; `key` is its id where its name does not give it.
    """

    element: str
    name: str
    stated_size: tuple[float, float] | None
    objects: Sequence[ListedObject]
    file: str | None = None
    key: str | None = None


@dataclasses.dataclass(frozen=True)
class _Context:
    file: str
    places: Places
    classes: tuple[str, ...]
    max_image_pixels: int
    with_masks: bool


def read_images(
    file: str,
    folder: str,
    listed: Sequence[ListedImage],
    classes: tuple[str, ...],
    max_image_pixels: int,
    *,
    with_masks: bool = False,
) -> tuple[list[Example], list[BadItem]]:
    """Looks at every image and object; each image is decoded once, so that a broken one shows now.

    Args:
      file: The list, for messages.
      folder: What the images' names are relative to.
      listed: What the file lists.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.
      with_masks: Every listed object has a mask.

    Returns:
      Usable images, and boxes and images that were left out.

    Raises:
      DataError: The folder does not exist.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder; expected the images of {file}: set 'images' to where they lie")
    context = _Context(file, Places(folder), classes, max_image_pixels, with_masks)
    kept, bad = _with_ids(file, listed)
    # Decoding releases the interpreter lock; `map` keeps the order.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda found: _read_image(context, *found), kept.items()))
    examples = [example for example, _ in results if example is not None]
    bad += [item for _, items in results for item in items]
    return examples, bad


def image_folder(file: pathlib.Path, split: str, names: Iterable[object]) -> str:
    """Returns the first of the usual folders around a list that holds most of the first images that it names.

    Args:
      file: The list.
      split: What the list is of, as a folder may be called.
      names: What the list calls its images, as they stand there.
    """
    above = file.parent.parent
    folders = [
        file.parent,
        file.parent / split,
        above / split,
        file.parent / 'images',
        above / 'images',
        above / 'images' / split,
        file.parent / 'images' / split,
    ]
    tried = [
        name.replace('\\', '/') for name in itertools.islice(names, NUM_NAMES_TRIED) if isinstance(name, str) and '\0' not in name
    ]
    return str(max(folders, key=lambda folder: sum((folder / name).is_file() for name in tried)))


def image_id(name: str) -> str:
    """Returns the id of an image by its name in the image folder, where no other image has it."""
    return posixpath.splitext(_normal(name))[0]


def _normal(name: str) -> str:
    return posixpath.normpath(name.replace('\\', '/'))


def _with_ids(file: str, listed: Iterable[ListedImage]) -> tuple[dict[str, ListedImage], list[BadItem]]:
    """Returns the images by their ids, and those that are listed a second time."""
    first: dict[str, ListedImage] = {}
    bad = []
    for image in listed:
        taken = first.setdefault(_normal(image.name), image)
        if taken is not image:
            reason = f"'{image.name}' is listed in {taken.element or taken.file} already; expected each image once"
            bad.append(BadItem(image.file or file, image.element, reason, Kind.REPEATED))
    keys = {name: image.key or image_id(name) for name, image in first.items()}
    num_names = collections.Counter(keys.values())
    return {keys[name] if num_names[keys[name]] == 1 else name: image for name, image in first.items()}, bad


def _read_image(context: _Context, key: str, image: ListedImage) -> tuple[Example | None, list[BadItem]]:
    file = image.file or context.file
    try:
        path = context.places.file('', image.name, image.element)
    except Unusable as error:
        return None, [error.at(file)]
    try:
        info = images.usable(path, context.max_image_pixels)
        images.verify(path)
    except Unusable as error:
        return None, [error.at(path)]
    if image.stated_size not in (None, (info.height, info.width)):
        height, width = image.stated_size or (0, 0)
        reason = f'says {width:g}x{height:g}, the image {image.name} has {info.size_in_words}'
        return None, [BadItem(file, image.element, reason, Kind.SIZE, (width, height, info.width, info.height))]
    example, bad = _example(context, key, image, path, info)
    return example, bad + _notes(context, image, path)


def _notes(context: _Context, image: ListedImage, path: str) -> list[BadItem]:
    """Returns that an image is called in another way than it is listed, in upper and lower case."""
    named = os.path.join(context.places.root, _normal(image.name))
    if path == named or os.path.basename(path) == image.name.rpartition('/')[2]:
        return []
    reason = f"'{image.name}' is called '{os.path.basename(path)}'"
    return [BadItem(image.file or context.file, image.element, reason, Kind.NOTE, (named,))]


def _example(context: _Context, key: str, image: ListedImage, path: str, info: images.ImageInfo) -> tuple[Example, list[BadItem]]:
    boxes, classes, flags, masks, bad = [], [], [], [], []
    for found in image.objects:
        try:
            class_number = class_id(found.class_name, context.classes, found.element)
            box = found.box_yxyx_px
            if found.is_normalised:
                box = scaled(box, info.height, info.width, found.element)
            box = usable_box(box, info.height, info.width, found.element)
            masks += [found.mask(info.height, info.width)] if found.mask else []
        except Unusable as error:
            bad.append(error.at(image.file or context.file))
            continue
        boxes.append(box)
        classes.append(class_number)
        flags.append((found.difficult, found.is_crowd))
    flag_columns = np.asarray(flags, np.bool_).reshape(-1, 2)
    example = Example(
        image_id=key,
        path=path,
        offset=None,
        length=None,
        height=info.height,
        width=info.width,
        boxes_yxyx_px=np.asarray(boxes, np.float32).reshape(-1, 4),
        classes=np.asarray(classes, np.int32),
        difficult=flag_columns[:, 0],
        is_crowd=flag_columns[:, 1],
        masks=tuple(masks) if context.with_masks else None,
    )
    return example, bad
