"""Data sets that list images and objects in one text file, as COCO and CSV do: from the list to examples.

An image's id is its name in the image folder without the suffix (`train/0001` for `train/0001.jpg`): equal wherever the folder
lies, and equal to the id of the same image in VOC layout.

    examples, bad = read_images('boxes.csv', 'images', [ListedImage('line 1', '0001.jpg', None, [...])], ('cat',), 50_000_000)
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
import posixpath
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from stagetrain.data import images, places
from stagetrain.data.annotation import BadItem, Example, Unusable, class_id, usable_box
from stagetrain.errors import DataError


@dataclasses.dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as it is listed; `box_yxyx_px` is (ymin, xmin, ymax, xmax) in pixels, edges, not yet looked at.

    `mask` makes its mask from the image's height and width, or raises `Unusable`; None: masks are not read.
    """

    element: str
    box_yxyx_px: tuple[float, float, float, float]
    class_name: str
    difficult: bool = False
    is_crowd: bool = False
    mask: Callable[[int, int], str] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ListedImage:
    """An image as it is listed; `stated_size` is (height, width), or None where the list does not tell."""

    element: str
    name: str
    stated_size: tuple[float, float] | None
    objects: Sequence[ListedObject]


@dataclasses.dataclass(frozen=True)
class _Context:
    file: str
    folder: str
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
      DataError: The folder does not exist, or no image can be used.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder; expected the images of {file}: set 'images' to where they lie")
    context = _Context(file, os.path.realpath(folder), classes, max_image_pixels, with_masks)
    kept, bad = _without_repeated_ids(file, listed)
    # Decoding releases the interpreter lock; `map` keeps the order.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(functools.partial(_read_image, context), kept))
    examples = [example for example, _ in results if example is not None]
    bad += [item for _, items in results for item in items]
    if not examples:
        shown = ''.join(f'\n  {item}' for item in bad[:10])
        raise DataError(f'{file}: none of its {len(listed)} images can be used (image folder: {folder}):{shown}')
    return examples, bad


def image_id(name: str) -> str:
    """Returns the id of an image by its name in the image folder."""
    return posixpath.splitext(posixpath.normpath(name))[0]


def _without_repeated_ids(file: str, listed: Iterable[ListedImage]) -> tuple[list[ListedImage], list[BadItem]]:
    first: dict[str, ListedImage] = {}
    bad = []
    for image in listed:
        taken = first.setdefault(image_id(image.name), image)
        if taken is not image:
            bad.append(BadItem(file, image.element, f"'{image.name}' has the id of '{taken.name}' in {taken.element}"))
    return list(first.values()), bad


def _read_image(context: _Context, image: ListedImage) -> tuple[Example | None, list[BadItem]]:
    try:
        path = places.inside(context.folder, '', image.name, image.element)
    except Unusable as error:
        return None, [BadItem(context.file, error.element, error.reason)]
    try:
        info = images.usable(path, context.max_image_pixels)
        images.verify(path)
    except Unusable as error:
        return None, [BadItem(path, error.element, error.reason)]
    if image.stated_size not in (None, (info.height, info.width)):
        height, width = image.stated_size or (0, 0)
        reason = f'says {width:g}x{height:g}, the image {image.name} has {info.size_in_words}'
        return None, [BadItem(context.file, image.element, reason)]
    return _example(context, image, path, info)


def _example(context: _Context, image: ListedImage, path: str, info: images.ImageInfo) -> tuple[Example, list[BadItem]]:
    boxes, classes, flags, masks, bad = [], [], [], [], []
    for found in image.objects:
        try:
            number = class_id(found.class_name, context.classes, found.element)
            box = usable_box(found.box_yxyx_px, info.height, info.width, found.element)
            masks += [found.mask(info.height, info.width)] if found.mask else []
        except Unusable as error:
            bad.append(BadItem(context.file, error.element, error.reason))
            continue
        boxes.append(box)
        classes.append(number)
        flags.append((found.difficult, found.is_crowd))
    flag_columns = np.asarray(flags, np.bool_).reshape(-1, 2)
    example = Example(
        image_id=image_id(image.name),
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
