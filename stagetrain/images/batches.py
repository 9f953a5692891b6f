"""Images in batches, by index: whole ones, so that a row's bits do not depend on how many rows there are.

    for batch in evaluation_batches(images, batch_size=8, extra={}): ...

B images of a batch.
"""

from __future__ import annotations

import concurrent.futures
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.errors import Interrupted
from stagetrain.images.geometry import View, plain_view
from stagetrain.images.loading import Images
from stagetrain.images.network_input import Batch
from stagetrain.pipeline.answers import ShouldStop

ReadView = Callable[[tf.Tensor, View], Any]
"""(image index int64 scalar, view) -> tensors of that view; called inside a tf.data function."""
ReadImage = Callable[[int], np.ndarray]
"""Image index -> array of the image in its plain view."""


def evaluation_batches(images: Images, batch_size: int, extra: Mapping[str, ReadImage]) -> Iterator[Batch]:
    """Yields every image once, in order, in its plain view; the last batch is filled up by repeating its last image.

    Args:
      images: the set to evaluate.
      batch_size: B.
      extra: batch key -> function of an image index that reads a store.

    Raises:
      DataError: an image cannot be decoded or has another size than its annotation says.
    """

    def sample(index: tf.Tensor) -> Batch:
        shape = images.geometry.shown_size(plain_view(), tf.gather(images.sizes, index))
        return {'image_index': tf.cast(index, tf.int32), 'image_shape': shape, 'image': images.resized(index)}

    try:
        for batch in whole_batches(0, len(images), batch_size, sample):
            read = {key: np.stack([function(int(i)) for i in batch['image_index']]) for key, function in extra.items()}
            yield batch | {key: tf.constant(values) for key, values in read.items()}
    except tf.errors.OpError as error:
        raise images.fault or error from error


def whole_batches(first: int, last: int, batch_size: int, sample: Callable[[tf.Tensor], Any]) -> tf.data.Dataset:
    """Returns `sample` of the rows from `first` to before `last`, int64 scalars, in order and in batches of one size.

    The last batch is filled up by repeating the last row: so one graph serves all, and a row's bits do not depend on how many
    rows there are.
    """

    @tf.autograph.experimental.do_not_convert
    def capped(row: tf.Tensor) -> Any:
        return sample(tf.minimum(row, last - 1))

    end = first + math.ceil((last - first) / batch_size) * batch_size
    return tf.data.Dataset.range(first, end).map(capped, num_parallel_calls=2).batch(batch_size).prefetch(2)


def resized_images(images: Images, num_threads: int, should_stop: ShouldStop) -> tf.Tensor:
    """Returns all images float32 `[N, H, W, 3]`, each resized in one of the threads and put in its place at once.

    Raises:
      Interrupted: `should_stop` said so meanwhile.
    """
    table = _aligned_empty([len(images), *images.geometry.padded, 3])

    def resize(index: int) -> None:
        if not should_stop():
            table[index] = images.resized(tf.constant(index, tf.int64))

    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(resize, range(len(table))))
    if should_stop():
        raise Interrupted('stopped while images were resized, before a further step')
    # `tf.constant` would hold three copies for a moment; these are the largest arrays of a stage.
    return tf.experimental.dlpack.from_dlpack(table.__dlpack__())


def _aligned_empty(shape: Sequence[int]) -> np.ndarray:
    """Returns an array float32 of `shape` that begins where TensorFlow can use it as it is: at a multiple of 64 bytes."""
    num_bytes = 4 * math.prod(shape)
    buffer = np.empty(num_bytes + 64, np.uint8)
    first = -buffer.ctypes.data % 64
    return buffer[first : first + num_bytes].view(np.float32).reshape(shape)
