"""Detections on images of the user's own, with a run's checkpoint: pictures with boxes drawn, and COCO JSON.

For example:

    detect_images(run_dir, stage=None, images=[Path('a.jpg')], out=Path('out'))
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from stagetrain import files
from stagetrain.config import load
from stagetrain.config.schema import PipelineBase, Stage
from stagetrain.config.stages import all_stages, as_seen_by, spec_of, stage_modules
from stagetrain.data import images as image_files
from stagetrain.data.annotation import Dataset, Example
from stagetrain.devices import setup
from stagetrain.errors import BadInput, ConfigError, DataError, known_names, suggestion
from stagetrain.evaluation.evaluate import Evaluator
from stagetrain.evaluation.metrics import Detections
from stagetrain.images.drawing import draw_detections
from stagetrain.images.geometry import geometry_of
from stagetrain.images.loading import Images
from stagetrain.pipeline.lock import read_lock
from stagetrain.training import job_files
from stagetrain.weights import assign

DETECTIONS_FILE = 'detections.json'


def detect_images(
    run_dir: pathlib.Path, stage: str | None, images: Sequence[pathlib.Path], out: pathlib.Path
) -> list[pathlib.Path]:
    """Draws detections on images and writes them as COCO JSON.

    Args:
      run_dir: a run directory with a finished stage.
      stage: whose checkpoint is used; None: the pipeline's last.
      images: JPEG, PNG or BMP files.
      out: folder for one picture per image and `detections.json`; made when missing.

    Returns:
      The pictures' paths.

    Raises:
      BadInput: an image cannot be used, or the run has no such finished stage.
    """
    pipeline = load.load_resolved(run_dir / 'run.yaml').pipeline
    detector = load_detector(pipeline, run_dir, stage)
    dataset = _dataset(images, tuple(pipeline.data.classes), pipeline.data.max_image_pixels)
    shown = Images(dataset, geometry_of(detector.model, training=False), include_difficult=True)
    batch_size = min(pipeline.evaluation.batch_size, len(images))
    found = Evaluator(detector, shown, batch_size=batch_size, can_detect=True).detect()
    return _write(out, dataset, found)


def load_detector(pipeline: PipelineBase, run_dir: pathlib.Path, stage: str | None) -> Any:
    """Builds a run's detector with the weights of a finished stage.

    Args:
      pipeline: the run's resolved config.
      run_dir: its run directory.
      stage: whose checkpoint is used; None: the pipeline's last.

    Raises:
      BadInput: the run has no such finished stage, or it cannot detect by itself.
    """
    chosen = stage or pipeline.stages[-1].name
    config = _stage(pipeline, chosen)
    checkpoints = _checkpoints(pipeline, config, chosen, run_dir)
    setup.configure(pipeline.runtime)
    detector = job_files.build_detector(as_seen_by(pipeline, config), tuple(checkpoints), pipeline.seed)
    assign.initialise(detector.modules, checkpoints)
    return detector


def _stage(pipeline: PipelineBase, chosen: str) -> Stage:
    stages = {stage_id: config for stage_id, config, _ in all_stages(pipeline)}
    if chosen not in stages:
        raise ConfigError(f"--stage: no stage '{chosen}'. Known here: {known_names(stages)}.{suggestion(chosen, stages)}")
    return stages[chosen]


def _checkpoints(pipeline: PipelineBase, config: Stage, chosen: str, run_dir: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Returns module -> where its weights are."""
    spec = spec_of(pipeline, config)
    if not spec.detection_modules:
        raise BadInput(f"stage '{chosen}' trains '{config.model or 'model'}', of type {spec.name}, which gives no detections")
    held = set(stage_modules(pipeline, config))
    needed = {*spec.detection_modules, *spec.proposal_modules}
    missing = [module for module in spec.modules if module in needed - held]
    if missing:
        raise BadInput(
            f"stage '{chosen}' holds {', '.join(sorted(held))} but not {', '.join(missing)}, so it cannot detect by itself. "
            f'Name a stage that carries all modules, such as the last one of a 4-step pipeline.'
        )
    entry = read_lock(run_dir / 'pipeline.lock').stages.get(chosen)
    if entry is None:
        raise BadInput(
            f"{run_dir}: stage '{chosen}' is not finished; see `stagetrain status {run_dir}` and finish it with `stagetrain run`"
        )
    folder = run_dir / entry.result['checkpoint']
    files.verify_folder(folder)
    return {module: {'kind': 'stage', 'stage': chosen, 'path': str(folder)} for module in spec.modules if module in held}


def _dataset(images: Sequence[pathlib.Path], classes: tuple[str, ...], max_image_pixels: int) -> Dataset:
    examples = []
    for path in images:
        try:
            info = image_files.usable(path, max_image_pixels)
        except DataError as error:
            raise DataError(f'{path}: {error}') from error
        nothing = np.zeros([0], bool)
        examples.append(
            Example(
                str(path),
                str(path),
                None,
                None,
                info.height,
                info.width,
                np.zeros([0, 4], np.float32),
                np.zeros([0], np.int32),
                nothing,
                nothing,
            )
        )
    return Dataset('images', classes, tuple(examples), (), '')


def _write(out: pathlib.Path, dataset: Dataset, found: Detections) -> list[pathlib.Path]:
    out.mkdir(parents=True, exist_ok=True)
    pictures = []
    for index, example in enumerate(dataset.examples):
        mine = found.image_index == index
        drawn = draw_detections(
            image_files.picture(example.read_bytes()),
            found.boxes_yxyx_px[mine],
            found.classes[mine],
            found.scores[mine],
            dataset.classes,
            masks=found.mask_pixels(dataset, index),
        )
        path = out / f'{pathlib.Path(example.path).stem}.png'
        drawn.save(path)
        pictures.append(path)
    files.write_json(out / DETECTIONS_FILE, found.to_coco(dataset))
    return pictures
