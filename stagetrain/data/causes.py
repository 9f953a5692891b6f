"""The likely cause of many faults of one kind, worked out from the data, in one sentence.

likely(Kind.INVERTED, items, dataset, box_causes.CORNERS)
# '50 of 50 boxes do not fit as x1, y1, x2, y2, and all fit as x, y, width, height: the numbers look like that'
"""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Callable, Sequence

import numpy as np

from stagetrain.data import box_causes
from stagetrain.data.annotation import BOX_KINDS, BadItem, Dataset, Kind
from stagetrain.data.csv_lines import EVIDENCE_FIELDS
from stagetrain.data.images import SUFFIXES
from stagetrain.data.places import is_clutter

MAX_FILES_SEARCHED = 100_000
_ANNOTATION_FOLDERS = ('annotations', 'annots', 'labels')
_NUM_SHOWN = 6
_SEPARATORS = {';': 'semicolons', '\t': 'tabs', '|': 'bars'}


def likely(
    kind: str, items: Sequence[BadItem], dataset: Dataset, form: str, root: str = '', *, has_image_folder: bool = True
) -> str:
    """Returns the likely cause of the faults of one kind, '' where the data tell none.

    Args:
      kind: One of `Kind`.
      items: All faults of that kind.
      dataset: What they were found in, with its other faults.
      form: As what the four numbers of a box are read: `box_causes.CORNERS` or `SIZES`.
      root: Where images that are missing may lie.
      has_image_folder: Whether the data source can name the folder of the images.
    """
    if kind in BOX_KINDS:
        return _of_boxes(dataset, form)
    if kind == Kind.MISSING:
        return _of_missing(items, root, has_image_folder)
    if kind == Kind.PLACE:
        return _of_places(items, root, has_image_folder)
    find = _CAUSES.get(kind)
    return find(items, dataset) if find else ''


def _of_boxes(dataset: Dataset, form: str) -> str:
    rows = [item.evidence for item in dataset.bad if item.kind in BOX_KINDS and len(item.evidence) == 6]
    faulty = np.asarray(rows, np.float64).reshape(-1, 6)
    kept = [
        np.concatenate([example.boxes_yxyx_px, np.tile([example.height, example.width], (len(example.classes), 1))], 1)
        for example in dataset.examples
    ]
    both = np.concatenate([faulty, *kept])
    return box_causes.likely(both[:, :4], both[:, 4:], np.arange(len(both)) < len(faulty), form)


def _of_pixels(items: Sequence[BadItem], dataset: Dataset) -> str:
    del dataset
    rows = np.asarray([item.evidence for item in items if len(item.evidence) == 6], np.float64).reshape(-1, 6)
    sizes = rows[:, [4, 5, 4, 5]]
    if len(rows) and (rows[:, :4] <= sizes + 1).all():
        return 'all of them lie inside their images when they are taken for pixels: divide by height and width'
    return 'the numbers look like pixels of other image sizes: divide by the height and width that they were drawn on'


def _of_classes(items: Sequence[BadItem], dataset: Dataset) -> str:
    found = collections.Counter(str(item.evidence[0]) for item in items if item.evidence)
    known = dataset.classes
    if not found:
        return ''
    if not known:
        return f'no class names are given, and the data set has {_counted(found)}: name them with --classes'
    same = {name: other for name in found for other in known if _plain(name) == _plain(other)}
    if same:
        shown = ', '.join(f"'{name}' for '{other}'" for name, other in list(same.items())[:_NUM_SHOWN])
        return f'names differ in upper and lower case, blanks or signs only: {shown}'
    if all(name.isdecimal() for name in found) and not any(name.isdecimal() for name in known):
        return f'the data set has numbers ({_counted(found)}) where class names are expected: write the names'
    if not any(len(example.classes) for example in dataset.examples):
        return f'not one class name fits: the data set has {_counted(found)}; these are the classes or label map of other data'
    return f'only these are not known: {_counted(found)}; add them to classes, or to ignore_classes to leave them out'


def _of_labels(items: Sequence[BadItem], dataset: Dataset) -> str:
    labels = [item.evidence[0] for item in items if item.evidence]
    numbers = sorted({int(label) for label in labels if not isinstance(label, str)})
    count = len(dataset.classes)
    if any(isinstance(label, str) for label in labels):
        return 'ids are written as text, expected numbers'
    if numbers == [0]:
        return 'ids count from 0 here, expected from 1: add 1 to each, so that class names do not shift by one'
    if numbers == [count] and count:
        return 'ids count from 1 here, expected from 0: take 1 from each, so that class names do not shift by one'
    if not count:
        shown = f'the data set has ids only, up to {max(numbers, default=0)}'
        return f'{shown}: give the label map with --class_file or names with --classes'
    return f'ids {_shown(numbers)} have no name: the label map, or the list of classes, is that of other data or too short'


def _of_fields(items: Sequence[BadItem], dataset: Dataset) -> str:
    del dataset
    rows = [[str(field) for field in item.evidence] for item in items if item.evidence]
    for sign, name in _SEPARATORS.items():
        if rows and all(','.join(row).count(sign) >= 3 for row in rows):
            return f'the fields are separated by {name}, expected commas'
    if rows and all(len(row) == 8 and not _is_number(row[3]) for row in rows):
        return 'the lines look like filename,width,height,class,xmin,ymin,xmax,ymax: write that line above them as the header'
    if rows and all(len(row) == 5 for row in rows):
        return 'every line lacks one field, likely the class'
    if not rows:
        return ''
    count = collections.Counter(len(row) for row in rows).most_common(1)[0][0]
    or_more = ' or more' if count == EVIDENCE_FIELDS else ''
    return f'most of them have {count}{or_more} fields: columns are missing, too many, or a name holds a comma'


def _of_numbers(items: Sequence[BadItem], dataset: Dataset) -> str:
    del dataset
    texts = [str(field).strip() for item in items for field in item.evidence]
    if any(re.fullmatch(r'-?\d+,\d+', text) for text in texts):
        return 'numbers have decimal commas: write points'
    rows = [[str(field).strip() for field in item.evidence] for item in items if len(item.evidence) == 6]
    if len(rows) == 1 and items[0].element == 'line 1':
        return 'the first line is a header: set the format to csv_header, or remove the line'
    are_numbers = [[_is_number(row[column]) for row in rows] for column in range(1, 6)] if rows else []
    text = [column for column, found in enumerate(are_numbers, 2) if not any(found)]
    if len(rows) > 1 and len(text) == 1 and text != [6]:
        return f'field {text[0]} of every line is text, likely the class: the columns are not path,x1,y1,x2,y2,class'
    return ''


def _of_form(items: Sequence[BadItem], dataset: Dataset) -> str:
    del dataset
    of_boxes = [item.evidence for item in items if item.element.endswith('/bndbox') and item.evidence]
    several = sum(int(evidence[0]) > 1 for evidence in of_boxes)
    if several:
        return (
            f'{several} objects hold several <bndbox>: all boxes of a class stand in one <object>; each box needs an <object> of '
            'its own'
        )
    tags = collections.Counter(tag for evidence in of_boxes for tag in evidence[1:] if tag in ('polygon', 'robndbox', 'rbox'))
    if tags:
        return f'{sum(tags.values())} objects hold {", ".join(f"<{tag}>" for tag in tags)} in place of <bndbox>: export boxes'
    return ''


def _of_sizes(items: Sequence[BadItem], dataset: Dataset) -> str:
    del dataset
    rows = [item.evidence for item in items if len(item.evidence) == 4]
    if not rows:
        return ''
    if all(row[:2] == (0, 0) for row in rows):
        return 'every stated size is 0x0: the tool left it empty; write the size of the image'
    if all((row[1], row[0]) == tuple(row[2:]) for row in rows):
        return 'width and height have changed places in all of them'
    return f'{len(rows)} images were scaled, cropped or turned after they were annotated'


def _of_missing(items: Sequence[BadItem], root: str, has_image_folder: bool) -> str:
    """Looks for images of the same name elsewhere: in another folder, or with another suffix."""
    missing = [str(item.evidence[-1]) for item in items if item.evidence]
    if not missing or not os.path.isdir(root):
        return ''
    if os.path.basename(os.path.abspath(root)).lower() in _ANNOTATION_FOLDERS and not has_image_folder:
        return f'{root} holds annotations alone: name the folder that it lies in'
    there = _files_below(root)
    names = [os.path.basename(path.replace('\\', '/')) for path in missing]
    folders = collections.Counter(there[name] for name in names if name in there)
    if folders:
        folder, count = folders.most_common(1)[0]
        named = next(path for path, name in zip(missing, names, strict=True) if there.get(name) == folder)
        return f'{count} of {len(missing)} lie in {folder}: {_remedy_for(folder, named, has_image_folder)}'
    stems: dict[str, str] = {os.path.splitext(name)[0]: name for name in there if name.lower().endswith(SUFFIXES)}
    others = [stems[stem] for stem in (os.path.splitext(name)[0] for name in names) if stem in stems]
    if others:
        return (
            f'{len(others)} of {len(missing)} are there under another suffix, as {others[0]}: write the names that the files have'
        )
    return f'none of {len(missing)} is anywhere in {root}: the images were not copied, or lie elsewhere'


def _remedy_for(folder: str, named: str, has_image_folder: bool) -> str:
    """Returns what to do about images that lie in a folder and are named with another."""
    inner = os.path.dirname(named.replace('\\', '/'))
    if not has_image_folder:
        return f'move or link them to where they are named, such as {named}'
    if not inner:
        return 'name that folder as the one of the images'
    if folder.endswith(f'/{inner}'):
        return f'name {folder.removesuffix(f"/{inner}")} as the folder of the images'
    return f'they are named as {named}; write names that begin in the folder of the images'


def _of_places(items: Sequence[BadItem], root: str, has_image_folder: bool) -> str:
    """Tells how images beside the folder of their annotations, `../images/1.jpg`, are reached."""
    names = [str(item.evidence[0]).replace('\\', '/') for item in items if item.evidence]
    folders = {os.path.dirname(name) for name in names}
    if len(folders) != 1 or not all(name.startswith('../') and os.path.isfile(os.path.join(root, name)) for name in names):
        return ''
    (folder,) = folders
    if has_image_folder:
        place = os.path.normpath(os.path.join(root, folder))
        return f'all begin with {folder}/: take that off the names, and name {place} as the folder of the images'
    above = os.path.normpath(os.path.join(root, '..'))
    return f'the images lie beside the annotations: name the folder above both, {above}'


def _files_below(root: str) -> dict[str, str]:
    """Returns the names of files below a folder with where they lie; a folder without end is given up at some point."""
    found: dict[str, str] = {}
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not is_clutter(name)]
        found |= dict.fromkeys((name for name in names if not is_clutter(name)), folder)
        if len(found) > MAX_FILES_SEARCHED:
            break
    return found


def _counted(found: collections.Counter[str]) -> str:
    rest = len(found) - _NUM_SHOWN
    shown = ', '.join(f'{name} ({count})' for name, count in found.most_common(_NUM_SHOWN))
    return shown + (f' and {rest} more' if rest > 0 else '')


def _shown(numbers: Sequence[int]) -> str:
    return ', '.join(map(str, numbers[:_NUM_SHOWN])) + (
        f' and {len(numbers) - _NUM_SHOWN} more' if len(numbers) > _NUM_SHOWN else ''
    )


def _plain(name: str) -> str:
    return re.sub(r'[\s_-]', '', name).casefold()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_CAUSES: dict[str, Callable[[Sequence[BadItem], Dataset], str]] = {
    Kind.IN_PIXELS: _of_pixels,
    Kind.CLASS: _of_classes,
    Kind.LABEL: _of_labels,
    Kind.FIELDS: _of_fields,
    Kind.NOT_A_NUMBER: _of_numbers,
    Kind.FORM: _of_form,
    Kind.SIZE: _of_sizes,
}
