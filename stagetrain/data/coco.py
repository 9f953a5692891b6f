"""Reads COCO's object detection JSON (https://cocodataset.org/#format-data).

    {"images": [{"id", "file_name", "height", "width"}], "categories": [{"id", "name"}],
     "annotations": [{"image_id", "category_id", "bbox": [x, y, width, height], "iscrowd"}]}

Categories are matched by name, so holes in their ids do not matter. `segmentation`, polygons and run lengths alike, is read where
the data source says `masks: true`; otherwise `bbox` alone counts. `iscrowd` marks a box around a group. `difficult`, which COCO
itself does not have, is read where given.
Images without annotations are kept. Elements are counted from 0, as in JSON paths: `annotations[3]`.

The image folder is `images` of the data source, or else the first of these that holds the images: the JSON's own folder;
`val2017` beside or above it for `instances_val2017.json`; `images` beside it or above it.

    examples, bad = read(DataSource(format='coco', path='annotations/instances_val2017.json'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from stagetrain.config import schema
from stagetrain.data import masks
from stagetrain.data.annotation import BadItem, Example, Kind, Unusable
from stagetrain.data.image_lists import ListedImage, ListedObject, image_folder, read_images
from stagetrain.data.places import is_clutter
from stagetrain.data.text_files import json_number
from stagetrain.errors import DataError, known_names, suggestion

_LISTS = ('images', 'annotations', 'categories')
_WITHOUT_SPLIT = ('annotations.json', '_annotations.coco.json')
MAX_DIGITS = 20
Id = int | str
"""Of an image: COCO's own are integers."""


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads all images and objects; every image is decoded once, so that a broken one shows now.

    Args:
      source: `path` is the JSON, or a folder that holds it; `images` the image folder.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.

    Returns:
      Usable images, and boxes and images that were left out.

    Raises:
      DataError: The file does not exist or is no COCO JSON.
    """
    file = annotation_file(source)
    content = _content(file)
    listed, bad = _listed(str(file), content, source.masks)
    folder = _image_folder(source, file, content)
    examples, more = read_images(str(file), folder, listed, classes, max_image_pixels, with_masks=source.masks)
    return examples, bad + more


def inputs(source: schema.DataSource) -> list[str]:
    """Returns the file that decides, besides the images read, what `read` gives.

    Raises:
      DataError: It does not exist.
    """
    return [str(annotation_file(source))]


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the categories' names in the order of their ids; one that only stands above others and has no object is none.

    Raises:
      DataError: As `read`.
    """
    file = annotation_file(source)
    content = _content(file)
    used = _used_categories(content)
    above = {category.get('supercategory') for category in content['categories'] if isinstance(category, dict)}
    names = _categories(file, content)
    return tuple(dict.fromkeys(name for number, name in names.items() if number in used or name not in above))


@dataclasses.dataclass(frozen=True)
class Identities:
    """What an annotation file calls its images and categories."""

    folder: str
    """The image folder, which names are relative to."""
    images: tuple[tuple[Id, str], ...]
    """(id, file_name) of each image."""
    categories: Mapping[str, int]
    """Name -> id."""


def identities(source: schema.DataSource) -> Identities:
    """Returns the ids in an annotation file, which need not have annotations; entries that `read` refuses are left out.

    Raises:
      DataError: As `read`.
    """
    file = annotation_file(source)
    content = _content(file, ('images', 'categories'))
    images: dict[Id, str] = {}
    for index, image in enumerate(content['images']):
        with contextlib.suppress(Unusable):
            key, listed = _image(f'images[{index}]', image, {})
            images.setdefault(key, listed.name)
    categories = {name: number for number, name in _categories(file, content).items()}
    return Identities(_image_folder(source, file, content), tuple(images.items()), categories)


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path` as COCO, and by what it was recognised; None when it is something else."""
    try:
        file = annotation_file(source)
        content = file.read_bytes() if file.suffix == '.json' else b''
    except (DataError, OSError):
        return None
    is_object = content[:64].lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'{')
    if not is_object or not any(f'"{key}"'.encode() in content for key in _LISTS):
        return None
    return source.model_copy(update={'format': 'coco'}), f'{file} is a JSON file'


def splits(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the splits of a folder that holds a COCO JSON for each of several, and none for all."""
    path = pathlib.Path(source.path)
    if any((path / name).is_file() for name in _WITHOUT_SPLIT):
        return ()
    folders = tuple(
        sorted(file.parent.name for file in path.glob('*/_annotations.coco.json') if not is_clutter(file.parent.name))
    )
    files = sorted(path.glob('annotations/instances_*.json'))
    return folders or (tuple(file.stem.removeprefix('instances_') for file in files) if len(files) > 1 else ())


def annotation_file(source: schema.DataSource) -> pathlib.Path:
    """Returns the JSON that `source` names.

    In a folder it is `annotations/instances_SPLIT.json`, `annotations/SPLIT.json`, `SPLIT.json` or
    `SPLIT/_annotations.coco.json`; without a split `annotations.json`, `_annotations.coco.json`, or the only one there.

    Raises:
      DataError: There is none, or more than one.
    """
    path = pathlib.Path(source.path)
    if path.is_file():
        return path
    if not path.is_dir():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f'{path}: no such file; expected a COCO JSON.{suggestion(path.name, beside)}')
    split = source.split
    names = list(_WITHOUT_SPLIT)
    if split is not None:
        names = [
            f'annotations/instances_{split}.json',
            f'annotations/{split}.json',
            f'{split}.json',
            f'{split}/_annotations.coco.json',
        ]
    found = [path / name for name in names if (path / name).is_file()]
    there = sorted(file for pattern in ('*.json', 'annotations/*.json') for file in path.glob(pattern) if file.name[0] != '.')
    if not found and split is None:
        found = there
    if len(found) != 1:
        wanted = f'one of {", ".join(names)}' if split is not None else 'one JSON file, or the name of a split'
        shown = known_names(str(file.relative_to(path)) for file in there)
        known = splits(source)
        remedy = f'set split to one of {", ".join(known)}' if known else 'set path to the file that is meant'
        raise DataError(f'{path}: expected {wanted}; JSON files here: {shown}; {remedy}')
    return found[0]


def _content(file: pathlib.Path, keys: Sequence[str] = _LISTS) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f'{file}: cannot be read: {error.strerror}') from error
    except (ValueError, RecursionError) as error:
        raise DataError(f'{file}: expected COCO JSON, but it is not JSON: {error}') from error
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in keys):
        found = known_names(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(f'{file}: expected COCO JSON, an object with lists {", ".join(keys)}; found: {found}')
    return content


def _categories(file: pathlib.Path | str, content: Mapping[str, Any]) -> dict[int, str]:
    """Returns id -> name, sorted by id.

    Roboflow lists the project as a category above the others, at times under the name of one of them; of two categories of one
    name only one may be used.
    """
    names: dict[int, str] = {}
    used = _used_categories(content)
    for index, category in enumerate(content['categories']):
        place = f'{file}: categories[{index}]'
        number = _as_int(category.get('id')) if isinstance(category, dict) else None
        if number is None or not isinstance(category.get('name'), str):
            raise DataError(f'{place}: found {json.dumps(category)[:80]}; expected an id (integer) and a name (text)')
        name = category['name']
        same = [other for other, known in names.items() if known == name]
        if number in names or len(used.intersection([number, *same])) > 1 or (same and not used):
            raise DataError(f"{place}: id {number} or name '{name}' is given twice; both must differ")
        names |= {number: name}
    return dict(sorted(names.items()))


def _used_categories(content: Mapping[str, Any]) -> set[int | None]:
    annotations = content.get('annotations', ())
    return {_as_int(annotation.get('category_id')) for annotation in annotations if isinstance(annotation, dict)}


def _as_int(value: Any) -> int | None:
    """Returns an id as an integer: some tools write it as text or as a float."""
    if isinstance(value, str) and len(value) < MAX_DIGITS and value.isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def _image_folder(source: schema.DataSource, file: pathlib.Path, content: Mapping[str, Any]) -> str:
    if source.images is not None:
        return source.images
    names = (image.get('file_name') for image in content['images'] if isinstance(image, dict))
    return image_folder(file, file.stem.removeprefix('instances_'), names)


def _listed(file: str, content: Mapping[str, Any], with_masks: bool) -> tuple[list[ListedImage], list[BadItem]]:
    images: dict[Id, ListedImage] = {}
    objects: dict[Id, list[ListedObject]] = {}
    bad = []
    for index, image in enumerate(content['images']):
        try:
            key, listed = _image(f'images[{index}]', image, objects)
            if key in images:
                raise Unusable(f'images[{index}]', f'id {key!r} is that of {images[key].element} already', Kind.REPEATED)
            images[key] = listed
        except Unusable as error:
            bad.append(error.at(file))
    stated = {image.get('id') for image in content['images'] if isinstance(image, dict) and _is_id(image.get('id'))}
    names = _categories(file, content)
    for index, annotation in enumerate(content['annotations']):
        try:
            key, found = _object(f'annotations[{index}]', annotation, names, stated, with_masks)
        except Unusable as error:
            bad.append(error.at(file))
            continue
        if key in images:  # Otherwise the image itself is a bad item.
            objects[key].append(found)
    return list(images.values()), bad


def _image(place: str, image: Any, objects: dict[Id, list[ListedObject]]) -> tuple[Id, ListedImage]:
    """Returns the image's key and its entry, whose list of objects is also put into `objects`."""
    if not isinstance(image, dict):
        raise Unusable(place, f'expected an object, found {type(image).__name__}', Kind.FORM)
    key = image.get('id')
    name = image.get('file_name')
    if not _is_id(key):
        raise Unusable(f'{place}.id', f'expected an integer or text, found {key!r}', Kind.FORM)
    if not isinstance(name, str) or not name:
        raise Unusable(f'{place}.file_name', f'expected a name, found {name!r}', Kind.FORM)
    size = None
    if image.get('height') is not None or image.get('width') is not None:
        size = (json_number(image.get('height'), f'{place}.height'), json_number(image.get('width'), f'{place}.width'))
    return key, ListedImage(place, name, size, objects.setdefault(key, []))


def _object(place: str, annotation: Any, names: Mapping[int, str], images: set[Any], with_masks: bool) -> tuple[Id, ListedObject]:
    """Returns the key of the image, and the object."""
    if not isinstance(annotation, dict):
        raise Unusable(place, f'expected an object, found {type(annotation).__name__}', Kind.FORM)
    if type(annotation.get('id')) is int:
        place = f'{place} (id {annotation["id"]})'
    key = next((known for known in _written(annotation.get('image_id')) if known in images), None)
    if key is None:
        raise Unusable(f'{place}.image_id', f'found {annotation.get("image_id")!r}, expected the id of an image', Kind.FORM)
    category = _as_int(annotation.get('category_id'))
    if category is None or category not in names:
        found = annotation.get('category_id')
        raise Unusable(f'{place}.category_id', f'found {found!r}, expected one of {_shown(names)}', Kind.LABEL, _label(found))
    x, y, width, height = _bbox(place, annotation)
    difficult, is_crowd = (_flag(annotation, name, place) for name in ('difficult', 'iscrowd'))
    mask = None
    if with_masks:
        segmentation = annotation.get('segmentation')
        mask = functools.partial(masks.from_segmentation, segmentation, element=f'{place}.segmentation')
    return key, ListedObject(f'{place}.bbox', (y, x, y + height, x + width), names[category], difficult, is_crowd, mask)


def _written(key: Any) -> list[Id]:
    """Returns an image's id as it stands, and as a number for text or the other way round: VIA writes one for the other."""
    number = _as_int(key)
    found: list[Id] = [key] if isinstance(key, str) else []
    return found + ([number, str(number)] if number is not None else [])


def _bbox(place: str, annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Returns x, y, width, height; of the polygons where there is no box but these."""
    bbox = annotation.get('bbox')
    if not bbox and isinstance(annotation.get('segmentation'), list):
        corners = [value for polygon in annotation['segmentation'] if isinstance(polygon, list) for value in polygon]
        numbers = [json_number(value, f'{place}.segmentation') for value in corners]
        if len(numbers) >= 6 and len(numbers) % 2 == 0:
            x, y = min(numbers[::2]), min(numbers[1::2])
            return x, y, max(numbers[::2]) - x, max(numbers[1::2]) - y
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise Unusable(f'{place}.bbox', f'expected 4 numbers (x, y, width, height), found {json.dumps(bbox)[:80]}', Kind.FORM)
    x, y, width, height = (json_number(value, f'{place}.bbox') for value in bbox)
    return x, y, width, height


def _label(category: Any) -> tuple[str | float, ...]:
    return (category,) if type(category) in (int, str) and len(str(category)) < 20 else ()


def _shown(names: Mapping[int, str]) -> str:
    shown = ', '.join(f'{number} ({name})' for number, name in list(names.items())[:10]) + (', ...' if len(names) > 10 else '')
    return shown or 'the ids of categories, of which there are none'


def _is_id(value: Any) -> TypeGuard[Id]:
    return type(value) is int or (isinstance(value, str) and value != '')


def _flag(annotation: Mapping[str, Any], name: str, place: str) -> bool:
    value = annotation.get(name, 0)
    if value not in (0, 1):
        raise Unusable(f'{place}.{name}', f'expected 0 or 1, found {json.dumps(value)[:80]}', Kind.FORM)
    return bool(value)
