"""Makes a small detection data set of real JPEG files in VOC layout: shapes on textured, noisy backgrounds.

    make(pathlib.Path('demo/data'), num_train=200, num_validation=50, image_size=128, seed=0)

gives `ImageSets/Main/trainval.txt` and `test.txt`, `Annotations/*.xml`, `JPEGImages/*.jpg` with objects of the classes `CLASSES`;
`make_masks(pathlib.Path('demo/data'))` adds COCO files of the same objects with their outlines.
Image i depends on (seed, i) alone. Shapes are drawn at four times the size and scaled down, so their edges are smooth;
a box is the extent of its shape's outline, computed and not measured.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import pathlib
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from stagetrain import files
from stagetrain.errors import DataError

CLASSES = ('circle', 'square', 'triangle')
MARKER = 'synthetic.json'
"""Written last: a folder with it is finished, and says what it was made from."""
VERSION = 1
"""Counted up whenever the images come out otherwise."""
MIN_IMAGE_SIZE = 64

_MAX_OBJECTS = 5
_MAX_OVERLAP = 0.25  # of the smaller box
_NUM_CORNERS = {'square': 4, 'triangle': 3}
_SUPERSAMPLING = 4
_ATTEMPTS_PER_OBJECT = 30


@dataclasses.dataclass(frozen=True)
class Shape:
    """An object: `outline_xy_px` is a polygon in pixels; a circle has many corners. `color` is RGB, 0 to 255."""

    name: str
    outline_xy_px: tuple[tuple[float, float], ...]
    color: tuple[int, int, int]

    @property
    def box_xyxy_px(self) -> tuple[float, float, float, float]:
        """Returns the outline's extent: xmin, ymin, xmax, ymax in pixels, edges."""
        xs, ys = zip(*self.outline_xy_px, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def make(folder: pathlib.Path, num_train: int, num_validation: int, image_size: int = 128, seed: int = 0) -> bool:
    """Makes the data set, or finds it made already.

    Interrupted, the same call makes what is missing: every file is written whole or not at all, the marker last.

    Args:
      folder: Root of the data set; made when missing.
      num_train: Images of the split `trainval`.
      num_validation: Images of the split `test`.
      image_size: Height and width in pixels, at least `MIN_IMAGE_SIZE`.
      seed: Of all random choices.

    Returns:
      Whether anything was made.

    Raises:
      DataError: A number is out of range, or the folder holds a data set made with other arguments, or foreign files.
    """
    _check_arguments(num_train, num_validation, image_size)
    made_from = {
        'image_size': image_size,
        'num_train': num_train,
        'num_validation': num_validation,
        'seed': seed,
        'version': VERSION,
    }
    if _is_finished(folder, made_from):
        return False
    for part in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (folder / part).mkdir(parents=True, exist_ok=True)
    ids = [f'{number:06d}' for number in range(num_train + num_validation)]
    for number, image_id in enumerate(ids):
        _write_image(folder, image_id, image_size, np.random.default_rng([seed, number]))
    for split, members in (('trainval', ids[:num_train]), ('test', ids[num_train:])):
        files.atomic_write(folder / 'ImageSets' / 'Main' / f'{split}.txt', ''.join(f'{image_id}\n' for image_id in members))
    files.write_json(folder / MARKER, made_from)
    return True


def make_masks(folder: pathlib.Path) -> None:
    """Writes `instances_trainval.json` and `instances_test.json` into a finished data set: COCO's form, with polygons.

    Args:
      folder: what `make` has made.

    Raises:
      DataError: `make` has not finished there.
    """
    marker = folder / MARKER
    if not marker.exists():
        raise DataError(f'{folder}: no {MARKER}, so no finished data set; make it first')
    made_from = json.loads(marker.read_text(encoding='utf-8'))
    num_train, num_images = made_from['num_train'], made_from['num_train'] + made_from['num_validation']
    for split, numbers in (('trainval', range(num_train)), ('test', range(num_train, num_images))):
        files.write_json(folder / f'instances_{split}.json', _instances(numbers, made_from['image_size'], made_from['seed']))


def draw_scene(image_size: int, random: np.random.Generator) -> tuple[Image.Image, list[Shape]]:
    """Returns one picture and its shapes, in the order they were drawn: a later one may cover a part of an earlier one."""
    background = _background(image_size, random)
    shapes = _place_shapes(image_size, background.mean(axis=(0, 1)), random)
    pixels = draw_shapes(background, shapes)
    noisy = pixels + random.normal(0, random.uniform(4, 12), pixels.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), shapes


def draw_shapes(background: np.ndarray, shapes: list[Shape]) -> np.ndarray:
    """Returns float32 `[H, W, 3]`, 0 to 255: the shapes on a background, which is uint8 `[H, W, 3]`."""
    height, width, _ = background.shape
    large_size = (width * _SUPERSAMPLING, height * _SUPERSAMPLING)
    large = Image.fromarray(background).resize(large_size, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(large)
    for shape in shapes:
        draw.polygon([(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in shape.outline_xy_px], fill=shape.color)
    return np.asarray(large.resize((width, height), Image.Resampling.BOX), np.float32)


def _check_arguments(num_train: int, num_validation: int, image_size: int) -> None:
    for name, value, least in (
        ('num_train', num_train, 1),
        ('num_validation', num_validation, 1),
        ('image_size', image_size, MIN_IMAGE_SIZE),
    ):
        if value < least:
            raise DataError(f'{name}: found {value}, expected at least {least}')


def _is_finished(folder: pathlib.Path, made_from: dict[str, int]) -> bool:
    """Says whether the folder is what would be made; it may be missing, empty or half made by the same call."""
    marker = folder / MARKER
    if not marker.exists():
        found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        foreign = sorted(found - {'Annotations', 'JPEGImages', 'ImageSets'})
        if foreign:
            raise DataError(f'{folder}: expected a new or empty folder, found {foreign[0]}; give another folder')
        return False
    try:
        was_made_from = json.loads(marker.read_text(encoding='utf-8'))
    except ValueError as error:
        raise DataError(f'{marker}: not JSON ({error}); remove the folder to make it anew') from error
    if was_made_from != made_from:
        raise DataError(f'{folder}: was made with {was_made_from}, asked for {made_from}; remove it, or give another folder')
    return True


def _write_image(folder: pathlib.Path, image_id: str, image_size: int, random: np.random.Generator) -> None:
    annotation = folder / 'Annotations' / f'{image_id}.xml'
    if annotation.exists():  # Written after its image, so both are there.
        return
    picture, shapes = draw_scene(image_size, random)
    encoded = io.BytesIO()
    picture.save(encoded, 'JPEG', quality=90)
    files.atomic_write(folder / 'JPEGImages' / f'{image_id}.jpg', encoded.getvalue())
    files.atomic_write(annotation, _annotation(image_id, image_size, shapes))


def _annotation(image_id: str, image_size: int, shapes: list[Shape]) -> bytes:
    root = ET.Element('annotation')
    ET.SubElement(root, 'filename').text = f'{image_id}.jpg'
    size = ET.SubElement(root, 'size')
    for name, value in (('width', image_size), ('height', image_size), ('depth', 3)):
        ET.SubElement(size, name).text = str(value)
    for shape in shapes:
        element = ET.SubElement(root, 'object')
        ET.SubElement(element, 'name').text = shape.name
        ET.SubElement(element, 'difficult').text = '0'
        box = ET.SubElement(element, 'bndbox')
        for edge, position in zip(('xmin', 'ymin', 'xmax', 'ymax'), shape.box_xyxy_px, strict=True):
            ET.SubElement(box, edge).text = f'{position:.2f}'
    ET.indent(root)
    return ET.tostring(root, encoding='utf-8')


def _instances(numbers: range, image_size: int, seed: int) -> dict[str, Any]:
    """Returns COCO's content of the images with these numbers, drawn once more."""
    shapes = {number: draw_scene(image_size, np.random.default_rng([seed, number]))[1] for number in numbers}
    found = [(number, shape) for number in numbers for shape in shapes[number]]
    return {
        'images': [
            {'id': number, 'file_name': f'{number:06d}.jpg', 'height': image_size, 'width': image_size} for number in numbers
        ],
        'categories': [{'id': number, 'name': name} for number, name in enumerate(CLASSES, 1)],
        'annotations': [
            {
                'id': annotation_id,
                'image_id': number,
                'category_id': CLASSES.index(shape.name) + 1,
                'bbox': [xmin, ymin, xmax - xmin, ymax - ymin],
                'segmentation': [[coordinate for point in shape.outline_xy_px for coordinate in point]],
            }
            for annotation_id, (number, shape) in enumerate(found, 1)
            for xmin, ymin, xmax, ymax in [shape.box_xyxy_px]
        ],
    }


def _background(image_size: int, random: np.random.Generator) -> np.ndarray:
    """Returns uint8 `[H, W, 3]`: a colour, smooth clouds of two sizes, and stripes."""
    total = np.full((image_size, image_size, 3), random.uniform(60, 190, 3), np.float64)
    for cells, strength in ((4, 25), (16, 15)):
        coarse = random.uniform(-strength, strength, (cells, cells, 3))
        total += np.stack([_enlarged(coarse[..., channel], image_size) for channel in range(3)], axis=-1)
    angle, period = random.uniform(0, math.pi), random.uniform(6, 24)
    ys, xs = np.mgrid[:image_size, :image_size]
    stripes = np.sin((xs * math.cos(angle) + ys * math.sin(angle)) * 2 * math.pi / period)
    total += random.uniform(0, 18) * stripes[..., np.newaxis]
    return np.clip(total, 0, 255).astype(np.uint8)


def _enlarged(values: np.ndarray, image_size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((image_size, image_size), Image.Resampling.BICUBIC))


def _place_shapes(image_size: int, background_color: np.ndarray, random: np.random.Generator) -> list[Shape]:
    """Draws shapes at random until there are as many as wanted; one that covers another too much is drawn again."""
    wanted = int(random.integers(2, _MAX_OBJECTS + 1))
    shapes: list[Shape] = []
    for _ in range(wanted * _ATTEMPTS_PER_OBJECT):
        shape = _random_shape(image_size, background_color, random)
        if all(_overlap(shape.box_xyxy_px, other.box_xyxy_px) <= _MAX_OVERLAP for other in shapes):
            shapes.append(shape)
        if len(shapes) == wanted:
            break
    return shapes


def _random_shape(image_size: int, background_color: np.ndarray, random: np.random.Generator) -> Shape:
    name = CLASSES[random.integers(len(CLASSES))]
    radius = image_size * random.uniform(0.08, 0.22)
    center_x, center_y = random.uniform(radius + 1, image_size - radius - 1, 2)
    num_corners = _NUM_CORNERS.get(name, 48)
    angles = random.uniform(0, 2 * math.pi) + np.arange(num_corners) * 2 * math.pi / num_corners
    corners = zip((center_x + radius * np.cos(angles)).tolist(), (center_y + radius * np.sin(angles)).tolist(), strict=True)
    return Shape(name, tuple(corners), _contrasting_color(background_color, random))


def _contrasting_color(background_color: np.ndarray, random: np.random.Generator) -> tuple[int, int, int]:
    """Returns a colour that differs from the background by at least 60 in one channel."""
    while True:
        red, green, blue = random.integers(0, 256, 3).tolist()
        if np.abs(np.asarray([red, green, blue]) - background_color).max() >= 60:
            return red, green, blue


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Returns the common area of two boxes, as a part of the smaller one."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return max(width, 0.0) * max(height, 0.0) / min(areas)
