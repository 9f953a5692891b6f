"""What a data set holds and what is wrong with it: counts, sizes, faults, and pictures that two sets share.

found = [examine('train', dataset, reason) for ...]
leaks(found)            # [Leak('train', 'a.jpg', 'validation', 'b.jpg')]
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import io
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from stagetrain.data import images
from stagetrain.data.annotation import BadItem, Dataset, Example
from stagetrain.data.faults import FaultGroup

MANY_OBJECTS = 100
"""The Model Garden's default of `parser.max_num_instances`; an image with more needs it set."""
SMALL_PX, LARGE_PX = 32, 96
"""Sides of the squares that part COCO's small, medium and large objects."""


@dataclasses.dataclass(frozen=True)
class SetReport:
    """A data set in numbers. Remarks are worth knowing and no faults; `faults` are what cannot be used."""

    name: str
    read_as: str
    digest: str
    num_images: int
    num_without_objects: int
    num_objects: int
    num_difficult: int
    num_crowds: int
    objects_per_image: tuple[int, float, int]
    """Smallest, median, largest."""
    objects_by_class: Mapping[str, int]
    images_by_class: Mapping[str, int]
    objects_by_size: Mapping[str, int]
    image_kinds: Mapping[str, int]
    """Format and Pillow's mode -> images: `JPEG RGB`, `JPEG L` (grayscale), `JPEG CMYK`, `PNG I;16`."""
    image_sizes: Mapping[str, int]
    """The most frequent sizes, width x height -> images."""
    num_image_sizes: int
    faults: tuple[BadItem, ...]
    kinds: tuple[FaultGroup, ...]
    """The same faults by kind, with their likely causes."""
    remarks: tuple[str, ...]
    pictures: Mapping[str, str] = dataclasses.field(repr=False)
    """Digest of a picture's pixels -> the first image that shows it."""

    def to_json(self) -> dict[str, Any]:
        """Returns what `--json` writes: everything but the pictures' digests."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != 'pictures'}
        faults = [{'file': item.file, 'element': item.element, 'kind': item.kind, 'reason': item.reason} for item in self.faults]
        return found | {'faults': faults, 'kinds': [group.to_json() for group in self.kinds]}


@dataclasses.dataclass(frozen=True)
class Leak:
    """A picture that stands in two sets; images are shown as where they lie."""

    first_set: str
    first_image: str
    second_set: str
    second_image: str

    def __str__(self) -> str:
        return f'{self.first_image} ({self.first_set}) and {self.second_image} ({self.second_set}) show the same picture'


def examine(name: str, dataset: Dataset, read_as: str, kinds: Sequence[FaultGroup] = ()) -> SetReport:
    """Counts what a data set holds; decodes every image once more, for its pixels.

    Args:
      name: What the set is called in messages.
      dataset: Read whatever is wrong with it.
      read_as: The format, and why.
      kinds: Its faults by kind.
    """
    examples = dataset.examples
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = list(pool.map(_look, examples))
    pictures: dict[str, str] = {}
    twice = []
    for example, (_, digest, _) in zip(examples, looks, strict=True):
        first = pictures.setdefault(digest, place(example))
        if first != place(example):
            twice.append(f'{first} and {place(example)} show the same picture')
    counts = np.asarray([len(example.classes) for example in examples])
    sizes = collections.Counter(f'{example.width}x{example.height}' for example in examples)
    return SetReport(
        name=name,
        read_as=read_as,
        digest=dataset.digest,
        num_images=len(examples),
        num_without_objects=int((counts == 0).sum()),
        num_objects=int(counts.sum()),
        num_difficult=sum(int(example.difficult.sum()) for example in examples),
        num_crowds=sum(int(example.is_crowd.sum()) for example in examples),
        objects_per_image=(int(counts.min()), float(np.median(counts)), int(counts.max())) if len(counts) else (0, 0.0, 0),
        objects_by_class=_by_class(dataset, lambda classes: classes),
        images_by_class=_by_class(dataset, np.unique),
        objects_by_size=_by_size(examples),
        image_kinds=dict(collections.Counter(kind for kind, _, _ in looks).most_common()),
        image_sizes=dict(sizes.most_common(5)),
        num_image_sizes=len(sizes),
        faults=dataset.bad,
        kinds=tuple(kinds),
        remarks=(*_remarks(dataset), *_turned(examples, [turned for _, _, turned in looks]), *twice),
        pictures=pictures,
    )


def leaks(sets: Sequence[SetReport]) -> list[Leak]:
    """Returns the pictures that stand in two sets, by their pixels: file names, metadata and lossless formats do not matter."""
    return [
        Leak(one.name, one.pictures[digest], other.name, other.pictures[digest])
        for one, other in itertools.combinations(sets, 2)
        for digest in one.pictures
        if digest in other.pictures
    ]


def place(example: Example) -> str:
    """Returns where an image lies: its file, and its id where the file holds several."""
    return example.path if example.offset is None else f"{example.path} '{example.image_id}'"


def _look(example: Example) -> tuple[str, str, int]:
    """Returns format and mode, the digest of the pixels as they are stored, and the EXIF orientation."""
    data = example.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        digest = hashlib.sha256(f'{image.mode} {image.size}'.encode() + image.tobytes()).hexdigest()
        return f'{"JPEG" if image.format == "MPO" else image.format} {image.mode}', digest, images.orientation(data)


def _turned(examples: Sequence[Example], orientations: Sequence[int]) -> list[str]:
    return [
        f'{place(example)}: stored rotated or mirrored (EXIF orientation {orientation}); it is turned upright, and its boxes are '
        'taken to lie on the upright picture'
        for example, orientation in zip(examples, orientations, strict=True)
        if orientation != 1
    ]


def _by_class(dataset: Dataset, of_image: Any) -> dict[str, int]:
    ids = np.concatenate([np.zeros(0, np.int64), *(of_image(example.classes) for example in dataset.examples)])
    counts = np.bincount(ids.astype(np.int64), minlength=len(dataset.classes) + 1)
    return {name: int(counts[number]) for number, name in enumerate(dataset.classes, 1)}


def _by_size(examples: Sequence[Example]) -> dict[str, int]:
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(example.boxes_yxyx_px for example in examples)])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    small, large = areas < SMALL_PX**2, areas >= LARGE_PX**2
    return {'small': int(small.sum()), 'medium': int((~small & ~large).sum()), 'large': int(large.sum())}


def _remarks(dataset: Dataset) -> list[str]:
    counts = _by_class(dataset, np.unique)
    remarks = [f"class '{name}' has no object" for name, count in counts.items() if count == 0 and any(counts.values())]
    remarks += _crowded(dataset.examples)
    for example in dataset.examples:
        rows = np.column_stack([example.boxes_yxyx_px, example.classes])
        if len(np.unique(rows, axis=0)) < len(rows):
            remarks.append(
                f'{place(example)}: {len(rows) - len(np.unique(rows, axis=0))} objects stand in it twice, box and class'
            )
    return remarks + [str(note) for note in dataset.notes]


def _crowded(examples: Sequence[Example]) -> list[str]:
    """Returns which images have more objects than training and evaluation take by default, the fullest first."""
    crowded = sorted((example for example in examples if len(example.classes) > MANY_OBJECTS), key=lambda one: -len(one.classes))
    if not crowded:
        return []
    largest = len(crowded[0].classes)
    images_have = 'image has' if len(crowded) == 1 else 'images have'
    return [
        f'{len(crowded)} {images_have} more than {MANY_OBJECTS} objects, the largest {largest}: training needs '
        f'model.parser.max_num_instances of at least {largest}, and detections and AP stop at {MANY_OBJECTS} an image by default',
        *(f'{place(example)}: {len(example.classes)} objects' for example in crowded),
    ]
