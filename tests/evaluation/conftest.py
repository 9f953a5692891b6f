"""Data sets written in a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from stagetrain.data.annotation import Dataset, Example

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Returns a maker: one list of boxes_yxyx_px and one of classes for each image; `ignored` holds (image, object) pairs."""

    def make(
        boxes: Sequence[Sequence[Sequence[float]]],
        classes: Sequence[Sequence[int]],
        ignored: Sequence[tuple[int, int]] = (),
        names: tuple[str, ...] = ('cell', 'plate'),
    ) -> Dataset:
        examples = []
        for image, (image_boxes, image_classes) in enumerate(zip(boxes, classes, strict=True)):
            examples.append(
                Example(
                    image_id=f'img{image}',
                    path=f'img{image}.jpg',
                    offset=None,
                    length=None,
                    height=480,
                    width=640,
                    boxes_yxyx_px=np.array(image_boxes, np.float32).reshape(-1, 4),
                    classes=np.array(image_classes, np.int32),
                    difficult=np.array([(image, number) in ignored for number in range(len(image_classes))], bool),
                    is_crowd=np.zeros(len(image_classes), bool),
                )
            )
        return Dataset(name='made', classes=names, examples=tuple(examples), bad=(), digest='0' * 64)

    return make
