"""The ids by which COCO JSON names the images and classes of a data set: those of its annotation file, or new ones.

    numbering = of_dataset(pipeline.data.validation, dataset)
    files.write_json(folder / DETECTIONS_FILE, detections.to_coco(dataset, numbering))
    files.write_json(folder / IMAGES_FILE, numbering.skeleton(dataset))       # The truth, but for its annotations.

pycocotools loads such detections against the user's own annotation file, and against the skeleton, by integer ids only.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from stagetrain.config import schema
from stagetrain.data import coco, recognise
from stagetrain.data.annotation import Dataset
from stagetrain.errors import DataError

DETECTIONS_FILE = 'detections.json'
IMAGES_FILE = 'images.json'


@dataclasses.dataclass(frozen=True)
class Numbering:
    """Ids and names of a data set's images, in its order, and ids of its classes, the first class first."""

    image_ids: tuple[coco.Id, ...]
    file_names: tuple[str, ...]
    category_ids: tuple[int, ...]

    def skeleton(self, dataset: Dataset) -> dict[str, Any]:
        """Returns COCO JSON of the images and categories without annotations; `source` is the image's id in our data set."""
        columns = zip(self.image_ids, self.file_names, dataset.examples, strict=True)
        return {
            'info': {'description': 'images and categories of detections.json'},
            'licenses': [],
            'images': [
                {'id': id_, 'file_name': name, 'height': one.height, 'width': one.width, 'source': one.image_id}
                for id_, name, one in columns
            ],
            'categories': [{'id': id_, 'name': name} for id_, name in zip(self.category_ids, dataset.classes, strict=True)],
            'annotations': [],
        }


def of_dataset(source: schema.DataSource, dataset: Dataset) -> Numbering:
    """Returns the ids of a data set's own annotation file where it is COCO JSON, and new ones elsewhere.

    A file that is gone since the data set was read is no reason to lose detections: they get new ids.
    """
    names = [f'{one.image_id}{os.path.splitext(one.path)[1] if one.offset is None else ""}' for one in dataset.examples]
    return of_places(source, [one.path for one in dataset.examples], names, dataset.classes) or new(names, len(dataset.classes))


def of_places(source: schema.DataSource, paths: Sequence[str], names: Sequence[str], classes: Sequence[str]) -> Numbering | None:
    """Returns the ids that COCO JSON gives to images by where they lie; new ones to those that it does not list.

    Args:
      source: a data set.
      paths: of the images.
      names: what those that are not listed are called.
      classes: names of the classes.

    Returns:
      None when the data set is not COCO JSON, cannot be read, lists none of the images, or lacks a class.
    """
    try:
        found, _ = recognise.recognised(source)
        listed = coco.identities(found) if found.format == 'coco' else None
    except DataError:
        return None
    if listed is None or not set(classes) <= set(listed.categories):
        return None
    places = {os.path.realpath(os.path.join(listed.folder, name)): (id_, name) for id_, name in listed.images}
    matches = [places.get(os.path.realpath(path)) for path in paths]
    return numbered(listed, matches, names, classes) if any(matches) else None


def matches_by_name(listed: coco.Identities, paths: Sequence[str]) -> list[tuple[coco.Id, str] | None]:
    """Returns, for each image, the id and name of the entry whose `file_name` ends its path, the longest of several."""
    entries = {posixpath.normpath(name): (id_, name) for id_, name in listed.images}
    found = []
    for path in paths:
        parts = os.path.abspath(path).split(os.sep)
        endings = ('/'.join(parts[start:]) for start in range(1, len(parts)))
        found.append(next((entries[ending] for ending in endings if ending in entries), None))
    return found


def numbered(
    listed: coco.Identities, matches: Sequence[tuple[coco.Id, str] | None], names: Sequence[str], classes: Sequence[str]
) -> Numbering:
    """Returns the ids of an annotation file, and ids beyond its largest for images that it does not list."""
    more = itertools.count(1 + max((id_ for id_, _ in listed.images if isinstance(id_, int)), default=0))
    found = [match or (next(more), name) for match, name in zip(matches, names, strict=True)]
    return Numbering(
        tuple(id_ for id_, _ in found), tuple(name for _, name in found), tuple(listed.categories[name] for name in classes)
    )


def new(names: Sequence[str], num_classes: int) -> Numbering:
    """Returns the ids 1, 2, 3 ... for images and for classes."""
    return Numbering(tuple(range(1, len(names) + 1)), tuple(names), tuple(range(1, num_classes + 1)))


def places_in(skeleton: Mapping[str, Any], dataset: Dataset) -> tuple[dict[coco.Id, str], dict[int, int]]:
    """Reads a skeleton back: id of an image -> its id in our data set, and id of a category -> class, from 1.

    Raises:
      DataError: it is none, or has a class that the data set has not.
    """
    try:
        sources = {image['id']: str(image['source']) for image in skeleton['images']}
        classes = {category['id']: dataset.classes.index(category['name']) + 1 for category in skeleton['categories']}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{IMAGES_FILE}: {error!r}; expected images and categories as stagetrain wrote them') from error
    return sources, classes
