"""Pictures: what is drawn where, in which colour."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stagetrain.images import drawing

NAMES = ('cell', 'plate')


def drawn(boxes, classes, scores, size=(200, 200), mode='RGB', **options):
    image = Image.new(mode, size)
    return drawing.draw_detections(
        image, np.array(boxes, np.float32).reshape(-1, 4), np.array(classes), np.array(scores), NAMES, **options
    )


def test_box_has_the_colour_of_its_class_at_its_edges():
    picture = drawn([[50, 60, 120, 160]], [2], [0.9])
    assert [picture.getpixel(place) for place in ((60, 100), (160, 100), (110, 120))] == [drawing.class_colour(2)] * 3
    assert picture.getpixel((110, 90)) == (0, 0, 0)


def test_detections_below_min_score_are_left_out():
    assert drawn([[50, 60, 120, 160]], [1], [0.4], min_score=0.5).getextrema() == ((0, 0), (0, 0), (0, 0))
    assert drawn([[50, 60, 120, 160]], [1], [0.5], min_score=0.5).getpixel((60, 100)) == drawing.class_colour(1)


def test_image_is_not_changed_and_any_mode_is_taken():
    image = Image.new('L', (40, 30), 7)
    picture = drawing.draw_detections(image, np.array([[2, 2, 20, 20]]), np.array([1]), np.array([0.9]), NAMES)
    assert (image.getextrema(), picture.mode, picture.size) == ((7, 7), 'RGB', (40, 30))


def test_label_stays_inside_the_picture():
    picture = drawn([[0, 190, 30, 200]], [1], [0.9])
    label = np.all(np.array(picture) == drawing.class_colour(1), axis=2)
    assert label[0:8, 160].any()  # The text does not fit right of 190: it moves left, below the upper edge.


@pytest.mark.parametrize(('size', 'expected'), [((128, 128), 1), ((640, 480), 2), ((4000, 3000), 15)])
def test_lines_grow_with_the_picture(size, expected):
    box = [size[1] * 0.4, size[0] * 0.4, size[1] * 0.9, size[0] * 0.9]
    row = np.array(drawn([box], [1], [0.9], size))[int(size[1] * 0.7)]
    assert np.all(row[: size[0] // 2] == drawing.class_colour(1), axis=1).sum() == expected


def test_truth_is_dashed_in_black_and_white():
    image = Image.new('RGB', (400, 400), (0, 0, 255))
    none = np.zeros([0, 4])
    truth = np.array([[100, 100, 300, 300]])
    picture = drawing.draw_detections(image, none, none[:, 0], none[:, 0], NAMES, truth_yxyx_px=truth)
    edge = np.array(picture)[100, 100:300]
    colours, counts = np.unique(edge, axis=0, return_counts=True)
    assert colours.tolist() == [[20, 20, 20], [255, 255, 255]]
    assert counts.min() > 60


def test_scale_enlarges_image_and_boxes():
    picture = drawn([[10, 10, 40, 40]], [1], [0.9], size=(50, 50), scale=4)
    assert picture.size == (200, 200)
    assert picture.getpixel((40, 100)) == drawing.class_colour(1)


def test_inverted_box_is_drawn_as_a_line():
    assert drawn([[50, 60, 40, 40]], [1], [0.9]).getpixel((60, 50)) == drawing.class_colour(1)


def test_colours_of_many_classes_differ():
    assert len({drawing.class_colour(class_id) for class_id in range(1, 81)}) == 80


def test_contact_sheet_centres_images_in_equal_tiles():
    sheet = drawing.contact_sheet([Image.new('RGB', size, 'red') for size in ((20, 10), (10, 20), (20, 20))], columns=2, gap=4)
    assert sheet.size == (4 + 2 * 24, 4 + 2 * 24)
    assert sheet.getpixel((5, 10)) == (255, 0, 0)  # 20 x 10 in a 20 x 20 tile: from y = 9.
    assert sheet.getpixel((5, 5)) == (255, 255, 255)
    assert sheet.getpixel((29, 5)) == (255, 255, 255)
    assert sheet.getpixel((34, 5)) == (255, 0, 0)
