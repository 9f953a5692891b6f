"""Sheets of validation images with a stage's detections."""

from __future__ import annotations

import json

import pytest

from stagetrain.errors import DataError
from stagetrain.evaluation import pictures
from stagetrain.evaluation.summary import load_summaries
from stagetrain.images.drawing import class_colour


def test_detections_are_drawn_on_enlarged_images(finished_run, with_images):
    with_images(finished_run, 'rpn_2')
    sheet = pictures.detections_sheet(*load_summaries(finished_run), 'rpn_2')
    assert sheet.size == (8 + 2 * (450 + 8), 8 + 2 * (360 + 8))  # 100 x 80, 4.5 times; three images in two columns.
    left_edge, middle = 20 * 4.5, 55 * 4.5
    assert sheet.getpixel((8 + left_edge, 8 + middle)) == class_colour(1)
    second = sheet.getpixel((8 + 458 + left_edge, 8 + middle))
    assert max(abs(value - 128) for value in second) < 5  # Nothing was detected in the second image.
    assert sheet.getpixel((8 + left_edge, 8 + 368 + middle)) == class_colour(1)


def test_stage_without_detections_has_no_sheet(finished_run):
    assert pictures.detections_sheet(*load_summaries(finished_run), 'rpn_1') is None


def test_detections_of_another_data_set_are_refused(finished_run, with_images):
    with_images(finished_run, 'rpn_2')
    records = [{'image_id': 'z', 'category_id': 1, 'bbox': [0, 0, 1, 1], 'score': 1.0}]
    (finished_run / 'stages/rpn_2/detections.json').write_text(json.dumps(records))
    with pytest.raises(DataError, match="image_id: found 'z'"):
        pictures.detections_sheet(*load_summaries(finished_run), 'rpn_2')


@pytest.mark.parametrize(('height', 'width', 'scale'), [(80, 100, 4.5), (3, 4000, 1.0), (10, 500, 4.0), (800, 600, 1.0)])
def test_a_picture_of_a_thin_image_stays_small(height, width, scale):
    assert pictures._scale(height, width) == scale
