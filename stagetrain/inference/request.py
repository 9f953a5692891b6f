"""What `stagetrain detect` is asked for, all of it looked at before TensorFlow is imported.

request = make(run_dir, stage=None, images=['cams/', 'a.jpg'], out=pathlib.Path('out'))
request.pictures        # ['cams/1.png', 'a.png']: the images' folders, below the one that they share
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from stagetrain import outputs
from stagetrain.config import schema
from stagetrain.data import coco, numbering
from stagetrain.data.annotation import Dataset, Example
from stagetrain.data.numbering import DETECTIONS_FILE, IMAGES_FILE, Numbering
from stagetrain.errors import BadInput, DataError, known_names
from stagetrain.inference import choice, images_given
from stagetrain.inference.images_given import GivenImage
from stagetrain.inference.written import OutFolder, text

_NUM_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class DetectionRequest:
    """What to detect with, on which images, and what becomes of it."""

    chosen: choice.Chosen
    dataset: Dataset
    """The images, without objects."""
    numbering: Numbering
    out: OutFolder
    pictures: tuple[str, ...]
    """For each image its picture, relative to `out`."""
    remarks: tuple[str, ...]
    """What was skipped, and whose ids count."""


def make(
    run_dir: pathlib.Path,
    stage: str | None,
    images: Sequence[str | os.PathLike[str]],
    out: pathlib.Path,
    annotations: pathlib.Path | None = None,
) -> DetectionRequest:
    """Looks at everything that is asked for; nothing is written.

    Args:
      run_dir: a run directory with a finished stage.
      stage: whose checkpoint is used; None: the pipeline's last.
      images: JPEG, PNG or BMP files, folders, or patterns.
      out: folder for one picture per image and the COCO JSON; made when missing.
      annotations: COCO JSON that lists the images and says their ids; None: that of the run's validation set, if it lists any.

    Raises:
      BadInput: an image or the annotations cannot be used, the run has no such stage, or `out` cannot be written.
    """
    chosen = choice.choose(run_dir, stage)
    outputs.folder('--out', out)
    data = chosen.pipeline.data
    given = images_given.collect(images, data.max_image_pixels)
    known = _by_validation_set(given.images, data) if annotations is None else _by_file(given.images, annotations, data.classes)
    folder = OutFolder.read(out)
    _refuse_what_is_in_the_way(folder, known.names)
    pictures = folder.picture_names(known.names, {os.path.realpath(image.path) for image in known.images})
    dataset = _dataset(known.images, tuple(data.classes))
    return DetectionRequest(chosen, dataset, known.numbering, folder, tuple(pictures), (*given.remarks(), *known.remarks))


@dataclasses.dataclass(frozen=True)
class _Identified:
    """Images with their ids; `names` are relative to the folder that they share."""

    images: Sequence[GivenImage]
    names: Sequence[str]
    numbering: Numbering
    remarks: Sequence[str]


def _by_file(images: Sequence[GivenImage], file: pathlib.Path, classes: Sequence[str]) -> _Identified:
    """Takes the ids of an annotation file; an image that was found in a folder and is not listed there is skipped."""
    listed = coco.identities(schema.DataSource(format='coco', path=str(file)))
    missing = [name for name in classes if name not in listed.categories]
    if missing:
        raise DataError(
            f'--annotations {file}: no category is named {", ".join(missing)}; expected all classes of the run. '
            f'Categories there: {known_names(listed.categories)}'
        )
    matches = numbering.matches_by_name(listed, [str(image.path) for image in images])
    unlisted = [str(image.path) for image, match in zip(images, matches, strict=True) if match is None and image.is_named]
    if unlisted:
        raise DataError(
            f'--annotations {file}: {len(unlisted)} images are not in it: {_few(unlisted)}; expected the end of their paths as '
            f'`file_name`. Leave them out, or leave --annotations out'
        )
    kept = [(image, match) for image, match in zip(images, matches, strict=True) if match is not None]
    if not kept:
        raise DataError(f'--annotations {file}: none of the {len(images)} images is in it, by the ends of their paths')
    _refuse_ids_given_twice(kept, file)
    found = [image for image, _ in kept]
    names = _below_common_folder(found)
    remarks = [f'image ids: those of {file}']
    if len(kept) < len(images):
        remarks.insert(0, f'{len(images) - len(kept)} images skipped: not in {file}')
    return _Identified(found, names, numbering.numbered(listed, [match for _, match in kept], names, classes), remarks)


def _by_validation_set(images: Sequence[GivenImage], data: schema.Data) -> _Identified:
    """Takes the ids of the run's own validation set where that is COCO JSON and lists an image, and new ones elsewhere."""
    names = _below_common_folder(images)
    paths = [str(image.path) for image in images]
    own = numbering.of_places(data.validation, paths, [text(name) for name in names], data.classes)
    if own is not None:
        return _Identified(images, names, own, [f'image ids: those of {data.validation.path}'])
    ids = numbering.new([text(name) for name in names], len(data.classes))
    return _Identified(images, names, ids, [f'image ids: 1 to {len(images)}, as {IMAGES_FILE} lists them'])


def _below_common_folder(images: Sequence[GivenImage]) -> list[str]:
    """Returns the images' paths relative to the lowest folder that holds them all."""
    paths = [os.path.abspath(image.path) for image in images]
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.relpath(path, common) for path in paths]


def _refuse_ids_given_twice(kept: Sequence[tuple[GivenImage, tuple[coco.Id, str]]], file: pathlib.Path) -> None:
    first: dict[coco.Id, GivenImage] = {}
    for image, (number, name) in kept:
        taken = first.setdefault(number, image)
        if taken is not image:
            raise DataError(
                f"--annotations {file}: {taken.path} and {image.path} both end in '{name}', the image of id {number}; expected "
                'one of them'
            )


def _refuse_what_is_in_the_way(out: OutFolder, names: Sequence[str]) -> None:
    foreign = [name for name in (DETECTIONS_FILE, IMAGES_FILE) if not out.is_free(name)]
    if foreign:
        raise BadInput(
            f'--out {out.path}: found {" and ".join(foreign)}, which `detect` did not write or which changed since; name another '
            'folder, or move what is there'
        )
    folders = {str(folder) for name in names for folder in pathlib.PurePath(name).parents}
    in_the_way = sorted(folder for folder in folders if (out.path / folder).exists() and not (out.path / folder).is_dir())
    if in_the_way:
        raise BadInput(f'--out {out.path}: found a file {in_the_way[0]}; expected a folder for the pictures of images in one')


def _dataset(images: Sequence[GivenImage], classes: tuple[str, ...]) -> Dataset:
    boxes, numbers, flags = np.zeros([0, 4], np.float32), np.zeros([0], np.int32), np.zeros([0], bool)
    examples = [
        Example(text(str(one.path)), str(one.path), None, None, one.height, one.width, boxes, numbers, flags, flags)
        for one in images
    ]
    return Dataset('images', classes, tuple(examples), (), '')


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _NUM_SHOWN
    return ', '.join(names[:_NUM_SHOWN]) + (f' and {rest} more' if rest > 0 else '')
