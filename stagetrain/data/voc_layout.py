"""Where a data set in Pascal VOC's form keeps its annotations, images and splits, as tools leave them.

ROOT/Annotations/ + ROOT/JPEGImages/            VOC itself, with ImageSets/Main/SPLIT.txt
ROOT/annotations/ or annots/ + ROOT/images/     also either of them in ROOT itself
ROOT/*.xml beside ROOT/*.jpg                    LabelImg
ROOT/train/, ROOT/valid/, ...                   Roboflow: each of these forms once for each split

layout = find(DataSource(format='voc', path='VOC2007', split='trainval'))
layout.entries()                                # ids in the order of the split, with the places of bad lines
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
import pathlib
import re

from stagetrain.config import schema
from stagetrain.data.annotation import BadItem, Kind, Unusable
from stagetrain.data.images import SUFFIXES
from stagetrain.data.places import SPLIT_FOLDERS, Places, is_clutter, walk
from stagetrain.data.text_files import decoded
from stagetrain.errors import DataError, known_names, suggestion

ANNOTATION_FOLDERS = ('annotations', 'annots', 'annotation', 'xml', 'xmls')
IMAGE_FOLDERS = ('jpegimages', 'images', 'imgs', 'img', 'image')
_FLAGGED = re.compile(r'(.*\S)\s+(-1|0|1)')
"""A line of the development kit's files for each class: an id, and whether the class is in the image."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The folders of one data set below `root` (absolute; `shown_root` is how it was given), '' for `root` itself.

    `split_file` lists ids; None: every annotation counts.
    """

    root: str
    annotations: str
    images: str
    shown_root: str
    split_file: pathlib.Path | None = None

    @property
    def in_words(self) -> str:
        """Returns by what a folder was recognised."""
        root = self.shown_root
        if self.annotations and self.images:
            return f'{root} holds {self.annotations} and {self.images}'
        if self.annotations:
            return f'{root} holds images, and {self.annotations} their annotations'
        return f'{root} holds annotations (.xml)' + (f' and {self.images}' if self.images else ' beside images')

    @property
    def folder(self) -> str:
        """Returns the path of the folder with the annotations."""
        return os.path.join(self.root, self.annotations)

    @functools.cached_property
    def places(self) -> Places:
        """Returns where the data set's files lie."""
        return Places(self.root)

    def entries(self) -> tuple[list[str], list[BadItem]]:
        """Returns the ids of the images in order, and lines of the split that name one again.

        Raises:
          DataError: There is no annotation, or the split cannot be read or is empty.
        """
        return self._all_ids() if self.split_file is None else self._listed_ids(self.split_file)

    def _all_ids(self) -> tuple[list[str], list[BadItem]]:
        try:
            ids = [name[: -len('.xml')] for name in walk(self.folder, '.xml')]
        except Unusable as error:
            raise DataError(f'{self.folder}: {error}') from error
        if not ids:
            raise DataError(f'{self.folder}: expected .xml files, found none')
        return sorted(ids), []

    def _listed_ids(self, file: pathlib.Path) -> tuple[list[str], list[BadItem]]:
        try:
            lines = decoded(file.read_bytes()).splitlines()
        except Unusable as error:
            raise DataError(f'{file}: {error}; one image id a line is expected') from error
        numbers = collections.defaultdict(list)
        for number, line in enumerate(lines, 1):
            if line.strip() and not is_clutter(line.strip().replace('\\', '/').rpartition('/')[2]):
                numbers[self._id(line.strip())].append(number)
        if not numbers:
            raise DataError(f'{file}: the split is empty; expected one image id a line')
        bad = [
            BadItem(str(file), f'line {number}', f"'{image_id}' stands in line {found[0]} already", Kind.REPEATED)
            for image_id, found in numbers.items()
            for number in found[1:]
        ]
        return list(numbers), bad

    def _id(self, line: str) -> str:
        """Returns the id that a line means: all of it, or what stands before a flag or a suffix, whichever is annotated."""
        flagged = _FLAGGED.fullmatch(line)
        name = flagged[1] if flagged else line
        stem, suffix = os.path.splitext(name.replace('\\', '/'))
        bare = [stem, os.path.basename(stem)] if suffix.lower() in (*SUFFIXES, '.xml') else []
        tried = dict.fromkeys((line, name, *bare))
        if len(tried) == 1:
            return line
        return next((image_id for image_id in tried if self._is_annotated(image_id)), name)

    def _is_annotated(self, image_id: str) -> bool:
        try:
            self.places.file(self.annotations, f'{image_id}.xml')
        except Unusable:
            return False
        return True


def find(source: schema.DataSource) -> Layout:
    """Returns the layout of what `source` names.

    Raises:
      DataError: The folder or the split does not exist, or it is of none of these forms.
    """
    root = pathlib.Path(source.path)
    if not root.is_dir():
        beside = [entry.name for entry in root.parent.iterdir() if entry.is_dir()] if root.parent.is_dir() else []
        raise DataError(f'{root}: no such folder; expected the root of a VOC data set.{suggestion(root.name, beside)}')
    split = source.split
    if split is not None and not _split_file(root, split).is_file() and _is_split(root / split):
        root, split = root / split, None
    layout = _layout(root)
    if layout is None:
        raise DataError(_why_not(root))
    return layout if split is None else dataclasses.replace(layout, split_file=_known_split_file(root, split))


def splits(path: str) -> tuple[str, ...]:
    """Returns the names of the folders of which each is a split; empty where `path` is itself one data set."""
    root = pathlib.Path(path)
    if not root.is_dir() or _layout(root) is not None:
        return ()
    names = (name for name in sorted(os.listdir(root)) if name.lower() in SPLIT_FOLDERS)
    return tuple(name for name in names if _is_split(root / name))


def _is_split(folder: pathlib.Path) -> bool:
    return folder.is_dir() and _layout(folder) is not None


def _layout(root: pathlib.Path) -> Layout | None:
    """Returns how a folder is laid out, or None when it is of none of the forms."""
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not is_clutter(entry.name))
    annotations = _first(folders, ANNOTATION_FOLDERS)
    images = _first(folders, IMAGE_FOLDERS)
    if (annotations, images) != ('Annotations', 'JPEGImages') and not _has_annotations(root / (annotations or '')):
        return None
    return Layout(os.path.abspath(root), annotations or '', images or '', str(root))


def _first(names: list[str], known: tuple[str, ...]) -> str | None:
    return next((name for wanted in known for name in names if name.lower() == wanted), None)


def _has_annotations(folder: pathlib.Path) -> bool:
    """Returns whether the first .xml file in a folder, or in those just below it that are no splits, is an annotation."""
    below = [entry for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.name.lower() not in SPLIT_FOLDERS]
    files = (file for place in (folder, *below) if not is_clutter(place.name) for file in sorted(place.iterdir()))
    first = next((file for file in files if file.suffix.lower() == '.xml' and not is_clutter(file.name)), None)
    if first is None:
        return False
    try:
        with open(first, 'rb') as stream:
            return b'<annotation' in stream.read(4096)
    except OSError:
        return True  # A broken link, or a file that cannot be read, is reported when it is read.


def _split_file(root: pathlib.Path, split: str) -> pathlib.Path:
    return root / 'ImageSets' / 'Main' / f'{split}.txt'


def _known_split_file(root: pathlib.Path, split: str) -> pathlib.Path:
    file = _split_file(root, split)
    known = {file.stem for file in file.parent.glob('*.txt') if not is_clutter(file.name)}
    if split not in known:
        raise DataError(f"{file.parent}: no split '{split}'. Known here: {known_names(known)}.{suggestion(split, known)}")
    return file


def _why_not(root: pathlib.Path) -> str:
    inner = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and _layout(entry) is not None)
    remedy = f' Did you mean {root / inner[0]}?' if inner else ''
    if inner and inner[0].lower() in SPLIT_FOLDERS:
        remedy = f' Its folders are splits: set split to one of {", ".join(inner)}.'
    found = known_names(entry.name for entry in root.iterdir())
    return f"{root}: expected the folders 'Annotations' and 'JPEGImages', or .xml files beside images, found: {found}.{remedy}"
