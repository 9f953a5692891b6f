"""What a stage gets of the artefacts that it reads, of whatever kind.

A kind's spec names a class like `ArtefactReader`; a stage makes one of each committed folder. B images, V views.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from stagetrain.config import artefacts, specs
from stagetrain.data.annotation import Dataset
from stagetrain.images.batches import ReadImage, ReadView
from stagetrain.images.loading import Images


class ArtefactReader:
    """Reads one committed folder; what a kind does not override, it does not give."""

    def __init__(self, folder: pathlib.Path, settings: Any):
        """Args: folder: what the kind's job committed; settings: what the stage says of the artefact."""
        self.folder, self.settings = folder, settings

    def training_set(self, dataset: Dataset) -> Dataset:
        """Returns what the stage trains on, given the pipeline's training set."""
        return dataset

    def training(self, images: Images) -> Mapping[str, ReadView]:
        """Returns key of `Known` -> what reads it in a training view."""
        del images
        return {}

    def validation(self, images: Images) -> Mapping[str, ReadImage]:
        """Returns key of `Batch` -> what fills it in evaluation, for the validation images."""
        del images
        return {}


def open_readers(folders: Mapping[str, str], stage: Any) -> dict[str, ArtefactReader]:
    """Returns kind -> reader of the artefacts that a job names.

    Args:
      folders: kind -> committed folder.
      stage: the stage that reads them.
    """
    settings = artefacts.read_by(stage)
    return {
        kind: specs.load_implementation(artefacts.artefact(kind).reader)(pathlib.Path(folder), settings[kind])
        for kind, folder in folders.items()
    }
