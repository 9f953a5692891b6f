"""A small COCO data set with masks: synthetic shapes and their outlines."""

from __future__ import annotations

import json
import pathlib

import numpy as np

from stagetrain.data import synthetic


def make(file: pathlib.Path, num_images: int, seed: int, image_size: int = 64) -> pathlib.Path:
    """Writes `num_images` pictures beside a COCO JSON whose objects have polygons. Returns the JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(num_images):
        picture, shapes = synthetic.draw_scene(image_size, np.random.default_rng([seed, number]))
        picture.save(file.parent / f'{file.stem}_{number}.png')
        images.append({'id': number, 'file_name': f'{file.stem}_{number}.png', 'height': image_size, 'width': image_size})
        for shape in shapes:
            xmin, ymin, xmax, ymax = shape.box_xyxy_px
            outline = [coordinate for point in shape.outline_xy_px for coordinate in point]
            annotations.append(
                {
                    'id': len(annotations) + 1,
                    'image_id': number,
                    'category_id': synthetic.CLASSES.index(shape.name) + 1,
                    'bbox': [xmin, ymin, xmax - xmin, ymax - ymin],
                    'segmentation': [outline],
                }
            )
    categories = [{'id': number, 'name': name} for number, name in enumerate(synthetic.CLASSES, 1)]
    file.write_text(json.dumps({'images': images, 'annotations': annotations, 'categories': categories}))
    return file
