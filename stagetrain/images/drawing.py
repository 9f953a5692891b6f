"""Pictures of detections: boxes with class and score, beside the true ones where they are known. TensorFlow-free.

    picture = draw_detections(image, boxes_yxyx_px, classes, scores, ('RBC', 'WBC'), min_score=0.5, truth_yxyx_px=truth)
    contact_sheet([picture, other], columns=2).save('detections.png')

Shapes: D detections and N true objects of an image.
"""

from __future__ import annotations

import colorsys
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

# Okabe and Ito's colours, which stay apart for colour-blind eyes, brightest first (https://jfly.uni-koeln.de/color/).
_PALETTE: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
    (204, 121, 167),
)
_GOLDEN_RATIO = 0.618034
_MASK_OPACITY = np.uint8(110)
_TRUTH_LIGHT: Colour = (255, 255, 255)
_TRUTH_DARK: Colour = (20, 20, 20)


def draw_detections(
    image: Image.Image,
    boxes_yxyx_px: NDArray[np.floating],
    classes: NDArray[np.integer],
    scores: NDArray[np.floating],
    class_names: Sequence[str],
    min_score: float = 0.5,
    *,
    truth_yxyx_px: NDArray[np.floating] | None = None,
    masks: NDArray[np.uint8] | None = None,
    scale: float = 1.0,
) -> Image.Image:
    """Draws boxes with `name score`, surer ones on top; true boxes are dashed in black and white.

    Args:
      image: any mode; it is not changed.
      boxes_yxyx_px: `[D, 4]` (ymin, xmin, ymax, xmax) in pixels of `image`.
      classes: `[D]`, from 1.
      scores: `[D]`.
      class_names: the name of class 1 first.
      min_score: detections below are left out.
      truth_yxyx_px: `[N, 4]`, drawn too when given.
      masks: uint8 `[D, height, width]`, 1 where the object is, which is tinted.
      scale: the picture is enlarged so much before anything is drawn, so that labels of small images are legible.

    Returns:
      An RGB picture of `scale` times the image's size.
    """
    size = (round(image.width * scale), round(image.height * scale))
    picture = image.convert('RGB').resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    width = _line_width(picture)
    for box in () if truth_yxyx_px is None else np.asarray(truth_yxyx_px) * scale:
        _dashed_rectangle(draw, box, max(1, width // 2))
    shown = np.flatnonzero(np.asarray(scores) >= min_score)
    order = shown[np.argsort(np.asarray(scores)[shown], kind='stable')]
    if masks is not None:
        for index in order:
            tint = Image.fromarray(masks[index] * _MASK_OPACITY).resize(size, Image.Resampling.BILINEAR)
            picture.paste(class_colour(int(classes[index])), mask=tint)
    for index in order:
        ymin, xmin, ymax, xmax = (float(value) for value in boxes_yxyx_px[index] * scale)
        draw.rectangle((xmin, ymin, max(xmin, xmax), max(ymin, ymax)), outline=class_colour(int(classes[index])), width=width)
    # After all boxes: a line through a label makes both illegible.
    for index in order:
        text = f'{class_names[int(classes[index]) - 1]} {scores[index]:.2f}'
        _label(draw, picture.size, boxes_yxyx_px[index] * scale, text, class_colour(int(classes[index])))
    return picture


def contact_sheet(images: Sequence[Image.Image], columns: int, *, gap: int = 8) -> Image.Image:
    """Lays images out in rows on white, each centred in a tile that holds the largest.

    Args:
      images: at least one.
      columns: images in a row.
      gap: pixels between tiles and around the sheet.

    Returns:
      An RGB picture.
    """
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    width, height = max(image.width for image in images), max(image.height for image in images)
    sheet = Image.new('RGB', (gap + columns * (width + gap), gap + rows * (height + gap)), 'white')
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        left = gap + column * (width + gap) + (width - image.width) // 2
        top = gap + row * (height + gap) + (height - image.height) // 2
        sheet.paste(image.convert('RGB'), (left, top))
    return sheet


def class_colour(class_id: int) -> Colour:
    """Returns the RGB colour of a class (from 1): the same in every picture."""
    if class_id <= len(_PALETTE):
        return _PALETTE[class_id - 1]
    red, green, blue = colorsys.hsv_to_rgb(class_id * _GOLDEN_RATIO % 1.0, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _line_width(picture: Image.Image) -> int:
    return max(1, round(min(picture.size) / 200))


def _label(draw: ImageDraw.ImageDraw, size: tuple[int, int], box: NDArray[np.floating], text: str, colour: Colour) -> None:
    """Above the box where there is room, else inside its top; always whole inside the picture where it fits at all."""
    font = ImageFont.load_default(size=max(11, round(min(size) / 36)))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    padding = max(1, round((bottom - top) / 6))
    width, height = right - left + 2 * padding, bottom - top + 2 * padding
    ymin, xmin = float(box[0]), float(box[1])
    x = max(0.0, min(xmin, size[0] - width))
    y = ymin - height if ymin >= height else max(0.0, min(ymin, size[1] - height))
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    draw.text((x + padding - left, y + padding - top), text, font=font, fill=_readable_on(colour))


def _readable_on(colour: Colour) -> Colour:
    """Black or white by the background's luma (ITU-R BT.601)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else (255, 255, 255)


def _dashed_rectangle(draw: ImageDraw.ImageDraw, box: NDArray[np.floating], width: int) -> None:
    """White dashes on black lines, to be seen on any background."""
    ymin, xmin, ymax, xmax = (float(value) for value in box)
    corners = [(xmin, ymin), (xmax, ymin), (xmax, ymax), (xmin, ymax), (xmin, ymin)]
    for start, end in itertools.pairwise(corners):
        draw.line((start, end), fill=_TRUTH_DARK, width=width)
        length, dash = math.dist(start, end), 4.0 * width
        for step in range(math.ceil(length / (2 * dash))):
            first, last = 2 * step * dash / length, min(1.0, (2 * step + 1) * dash / length)
            draw.line((_between(start, end, first), _between(start, end, last)), fill=_TRUTH_LIGHT, width=width)


def _between(start: tuple[float, float], end: tuple[float, float], share: float) -> tuple[float, float]:
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
