"""Small VOC data sets of real JPEG files, written by the tests."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from stagetrain.config import schema
from stagetrain.data import voc
from stagetrain.data.annotation import BadItem, Example

OBJECT = '<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{edges}</bndbox></object>'


class VocFolder:
    """Writes a VOC data set; images have 60x40 pixels."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
            (root / folder).mkdir(parents=True)

    @staticmethod
    def box(xmin: object, ymin: object, xmax: object, ymax: object, name: str = 'cat', difficult: object = 0) -> str:
        """Returns an `object` element."""
        values = zip(('xmin', 'ymin', 'xmax', 'ymax'), (xmin, ymin, xmax, ymax), strict=True)
        return OBJECT.format(name=name, difficult=difficult, edges=''.join(f'<{edge}>{value}</{edge}>' for edge, value in values))

    def split(self, ids: Sequence[str], name: str = 'trainval') -> VocFolder:
        """Writes the file of a split."""
        (self.root / 'ImageSets' / 'Main' / f'{name}.txt').write_text('\n'.join(ids))
        return self

    def image(self, image_id: str, size: tuple[int, int] = (60, 40)) -> VocFolder:
        """Writes a JPEG of random pixels."""
        pixels = np.random.default_rng(len(image_id)).integers(0, 255, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(self.root / 'JPEGImages' / f'{image_id}.jpg')
        return self

    def xml(self, image_id: str, text: str) -> VocFolder:
        """Writes an annotation as it is."""
        (self.root / 'Annotations' / f'{image_id}.xml').write_text(text, encoding='utf-8')
        return self

    def annotation(
        self, image_id: str, objects: str = '', size: tuple[object, object] = (60, 40), filename: str | None = None
    ) -> VocFolder:
        """Writes an annotation."""
        stated = f'<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>'
        name = f'{image_id}.jpg' if filename is None else filename
        return self.xml(image_id, f'<annotation><filename>{name}</filename>{stated}{objects}</annotation>')

    def add(self, image_id: str, objects: str = '') -> VocFolder:
        """Writes an image and its annotation."""
        return self.image(image_id).annotation(image_id, objects)

    def rename(self, old: str, new: str) -> VocFolder:
        """Renames an image."""
        (self.root / 'JPEGImages' / f'{old}.jpg').rename(self.root / 'JPEGImages' / f'{new}.jpg')
        return self

    def source(self, split: str | None = None) -> schema.DataSource:
        """Returns the source that reads this folder."""
        return schema.DataSource(format='voc', path=str(self.root), split=split)


@pytest.fixture
def voc_folder(tmp_path: pathlib.Path) -> VocFolder:
    """An empty VOC data set."""
    return VocFolder(tmp_path / 'voc')


def age(root: pathlib.Path, seconds: int = 60) -> None:
    """Makes all files older, for a file that has just been written is not cached."""
    then = time.time() - seconds
    for path in (root, *root.rglob('*')):
        os.utime(path, (then, then))


def aged(folder: VocFolder) -> VocFolder:
    """Fills the folder and makes it old enough to be cached."""
    folder.add('b', folder.box(1, 2, 3, 4)).add('a', folder.box(5, 6, 7, 8, 'dog', difficult=1) + folder.box(9, 9, 9, 9))
    age(folder.root)
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts how often the reader works."""
    paths: list[str] = []
    read = voc.read

    def counted(
        source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int
    ) -> tuple[list[Example], list[BadItem]]:
        paths.append(source.path)
        return read(source, classes, max_image_pixels)

    monkeypatch.setattr(voc, 'read', counted)
    return paths
