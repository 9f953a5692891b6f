"""An artefact from outside the package: detections of a finished stage on unlabelled images, as further training data.

pseudo_labels: {from: teacher, images: unlabelled, min_score: 0.5}
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import Any

import numpy as np

from stagetrain import files
from stagetrain.config import artefacts

LABELS_FILE = 'labels.json'


class PseudoLabels(artefacts.ArtefactSettings):
    """What a stage says of them."""

    images: str
    """Folder of JPEG files without annotations."""
    min_score: float = 0.5
    """Detections with at least this score become objects."""


def _patterns(settings: PseudoLabels) -> tuple[str, ...]:
    return (f'{settings.images}/*.jpg',)


def _dataset(settings: PseudoLabels, classes: tuple[str, ...], labels: dict[str, Any] | None, max_image_pixels: int) -> Any:
    """Returns the images with what `labels` says of each, or without objects."""
    from stagetrain.data.annotation import Dataset, Example
    from stagetrain.data.images import usable

    examples = []
    for path in sorted(pathlib.Path(settings.images).glob('*.jpg')):
        info, objects = usable(path, max_image_pixels), (labels or {}).get(path.name, {'boxes': [], 'classes': []})
        boxes = np.array(objects['boxes'], np.float32).reshape(-1, 4)
        flags = np.zeros([len(boxes)], bool)
        place = (f'pseudo/{path.name}', str(path), None, None, info.height, info.width)
        examples.append(Example(*place, boxes, np.array(objects['classes'], np.int32), flags, flags))
    return Dataset('pseudo', classes, tuple(examples), (), '')


def make(job: Any, emit: Any, should_stop: Any) -> dict[str, Any]:
    """Carries out the job; see `ArtefactSpec`."""
    from stagetrain.evaluation.evaluate import Evaluator
    from stagetrain.images.loading import Images
    from stagetrain.pipeline.answers import note
    from stagetrain.stages.network import loaded_network
    from stagetrain.stores.making import maker_context

    started, context = time.monotonic(), maker_context(job)
    settings = PseudoLabels.model_validate(job.stage['pseudo_labels'])
    data = context.pipeline.data
    detector = loaded_network(context.pipeline, context.stage, job.origins)
    dataset = _dataset(settings, tuple(data.classes), None, data.max_image_pixels)
    images = Images(dataset, context.geometry(training=False), include_difficult=True)
    found = Evaluator(detector, images, batch_size=context.pipeline.evaluation.batch_size, can_detect=True).detect(should_stop)
    labels = {}
    for index, example in enumerate(dataset.examples):
        kept = (found.image_index == index) & (found.scores >= settings.min_score)
        labels[pathlib.Path(example.path).name] = {
            'boxes': found.boxes_yxyx_px[kept].tolist(),
            'classes': found.classes[kept].tolist(),
        }
    folder = pathlib.Path(job.folder)
    digest = files.commit_folder(folder, lambda temporary: files.write_json(temporary / LABELS_FILE, labels))
    emit(note(f'{sum(len(value["classes"]) for value in labels.values())} pseudo-labels'))
    return {'folder': str(folder), 'digest': digest, 'num_images': len(dataset.examples), 'seconds': time.monotonic() - started}


def reader(folder: pathlib.Path, settings: PseudoLabels) -> Any:
    """Reads a committed folder; see `stagetrain.stores.reader`."""
    from stagetrain.stores.reader import ArtefactReader

    class Reader(ArtefactReader):
        def training_set(self, dataset: Any) -> Any:
            labels = files.read_json(self.folder / LABELS_FILE)
            more = _dataset(self.settings, dataset.classes, labels, 2**31)
            digest = files.digest_of([dataset.digest, files.verify_folder(self.folder)])
            return dataclasses.replace(dataset, examples=(*dataset.examples, *more.examples), digest=digest)

    return Reader(folder, settings)


artefacts.register_artefact(
    artefacts.ArtefactSpec(
        name='pseudo_labels',
        settings=PseudoLabels,
        implementation=f'{__name__}:make',
        reader=f'{__name__}:reader',
        modules=lambda spec: tuple(dict.fromkeys((*spec.proposal_modules, *spec.detection_modules))),
        any_network=True,
        reads_data=(),
        inputs=_patterns,
        paths=('images',),
    )
)
