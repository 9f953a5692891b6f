"""Every kind of image that is accepted reaches the network with three channels of eight bits, upright, its boxes on it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stagetrain.config import schema
from stagetrain.data.index import load_dataset
from stagetrain.images.loading import Images
from tests.data.conftest import VocFolder
from tests.data.test_images import sixteen_bit_png
from tests.training.test_input import geometry

# A dark picture of 60x40 pixels with a bright square where the box is.
PIXELS = np.full((40, 60, 3), 40, np.uint8)
PIXELS[10:30, 5:20] = 200
BOX = (5, 10, 20, 30)


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def rotated(value: int) -> bytes:
    """Returns the picture as a camera that was held askew stores it."""
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}[value]
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(Image.fromarray(PIXELS).transpose(back), 'JPEG', quality=100, subsampling=0, exif=exif)


KINDS = {
    'grayscale': encoded(Image.fromarray(PIXELS).convert('L'), 'JPEG', quality=100),
    'cmyk': encoded(Image.fromarray(PIXELS).convert('CMYK'), 'JPEG', quality=100, subsampling=0),
    'png': encoded(Image.fromarray(PIXELS), 'PNG'),
    'alpha': encoded(Image.fromarray(PIXELS).convert('RGBA'), 'PNG'),
    'palette': encoded(Image.fromarray(PIXELS).convert('P', palette=Image.Palette.ADAPTIVE), 'PNG'),
    'sixteen_bits': sixteen_bit_png(PIXELS.astype(np.uint16) * 256),
    'bmp': encoded(Image.fromarray(PIXELS), 'BMP'),
    **{f'exif_{value}': rotated(value) for value in (3, 6, 8)},
}


@pytest.mark.parametrize('kind', KINDS)
def test_a_kind_of_image_is_shown_as_a_viewer_shows_it(voc_folder: VocFolder, kind: str) -> None:
    voc_folder.annotation('a', voc_folder.box(*BOX))
    (voc_folder.root / 'JPEGImages' / 'a.jpg').write_bytes(KINDS[kind])
    source = voc_folder.source()
    data = schema.Data(classes=['cat'], train=source, validation=source)
    images = Images(load_dataset(source, data, 'train', None), geometry(), include_difficult=False)
    np.testing.assert_allclose(images.decode(0).astype(int), PIXELS, atol=20)  # JPEG rings at edges.
    ymin, xmin, ymax, xmax = images.boxes[0, 0].astype(int)
    assert images.decode(0)[ymin:ymax, xmin:xmax].min() > 150
