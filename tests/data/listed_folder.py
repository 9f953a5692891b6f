"""Folders of small real images for tests of data sets that are one file."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image


def add_image(folder: pathlib.Path, name: str, size: tuple[int, int] = (60, 40)) -> pathlib.Path:
    """Writes an image of random pixels (width, height) in the format of its suffix."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(file)
    return file


def coco_image(number: int, name: str, **changes: Any) -> dict[str, Any]:
    """Returns an entry of `images`; a change to None removes the key."""
    return _changed({'id': number, 'file_name': name, 'height': 40, 'width': 60}, changes)


def coco_object(number: int, image: int, bbox: Any = (30, 10, 15, 10), category: Any = 3, **changes: Any) -> dict[str, Any]:
    """Returns an entry of `annotations`; a change to None removes the key."""
    found = {'id': number, 'image_id': image, 'category_id': category, 'bbox': bbox, 'iscrowd': 0}
    return _changed(found, changes)


def write_coco(
    file: pathlib.Path, images: Sequence[Any], annotations: Sequence[Any], categories: Mapping[int, str] | None = None
) -> pathlib.Path:
    """Writes a COCO JSON; categories are 3 (cat) and 7 (dog)."""
    names = {7: 'dog', 3: 'cat'} if categories is None else categories
    content = {
        'images': list(images),
        'annotations': list(annotations),
        'categories': [{'id': number, 'name': name} for number, name in names.items()],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def _changed(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (values | changes).items() if value is not None}
