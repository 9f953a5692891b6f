"""What growth costs: annotation indexing and stores on disk for 300, 3,000 and 30,000 images; the cost of each must stay flat.

    python scripts/bench_scale.py --json=scale.json                 # a few minutes; about 2 GB in the temporary folder
    python scripts/bench_scale.py --sizes 300 3000

The images are a few hundred small JPEG files, hard-linked; each has annotations of its own. Every part runs in a process of its
own, so that its memory is told apart. Nothing here needs TensorFlow: stores are filled with random numbers.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import rich.console
import rich.table

from stagetrain import files
from stagetrain.config import schema
from stagetrain.data import synthetic
from stagetrain.data.index import RACY_NS, load_dataset
from stagetrain.errors import StagetrainError
from stagetrain.stores import arrays

ROOT = pathlib.Path(__file__).resolve().parents[1]
SIZES = (300, 3_000, 30_000)
NUM_FILES = 200
IMAGE_SIZE = 64
NUM_PROPOSALS = 300
NUM_FEATURES = 4096
"""Values of a view: levels of 8x8 and smaller at 48 channels, as a 64x64 input gives them."""
LABELS = {
    'index_cold': 'annotations, first time',
    'index_warm': 'annotations, from the cache',
    'proposals_make': 'proposal store: make',
    'proposals_read': 'proposal store: check and read',
    'features_make': 'feature store: make',
    'features_read': 'feature store: check and read',
}
"""Parts in their order; a `_read` part needs the `_make` part before it, `index_warm` needs `index_cold`."""


def make_images(folder: pathlib.Path, size: int) -> None:
    """Writes a data set in VOC layout: `size` images, hard links to `NUM_FILES` files, with an annotation file each."""
    for part in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (folder / part).mkdir(parents=True)
    shapes = [_write_file(folder, number) for number in range(min(NUM_FILES, size))]
    for number in range(size):
        image_id = f'{number:06d}'
        os.link(folder / f'{number % len(shapes)}.jpg', folder / 'JPEGImages' / f'{image_id}.jpg')
        (folder / 'Annotations' / f'{image_id}.xml').write_text(_annotation(image_id, shapes[number % len(shapes)]))
    ids = ''.join(f'{number:06d}\n' for number in range(size))
    (folder / 'ImageSets' / 'Main' / 'trainval.txt').write_text(ids)


def _write_file(folder: pathlib.Path, number: int) -> list[synthetic.Shape]:
    picture, shapes = synthetic.draw_scene(IMAGE_SIZE, np.random.default_rng(number))
    encoded = io.BytesIO()
    picture.save(encoded, 'JPEG', quality=90)
    (folder / f'{number}.jpg').write_bytes(encoded.getvalue())
    return shapes


def _annotation(image_id: str, shapes: Sequence[synthetic.Shape]) -> str:
    objects = ''.join(
        f'<object><name>{shape.name}</name><bndbox><xmin>{box[0]:.2f}</xmin><ymin>{box[1]:.2f}</ymin><xmax>{box[2]:.2f}</xmax>'
        f'<ymax>{box[3]:.2f}</ymax></bndbox></object>'
        for shape in shapes
        for box in [np.clip(shape.box_xyxy_px, 0, IMAGE_SIZE)]
    )
    return (
        f'<annotation><filename>{image_id}.jpg</filename><size><width>{IMAGE_SIZE}</width><height>{IMAGE_SIZE}</height>'
        f'<depth>3</depth></size>{objects}</annotation>\n'
    )


# ---- one part in one process ------------------------------------------------------------------------------------------------


def read_index(folder: pathlib.Path, size: int) -> object:
    """Loads the data set, from the cache where it is there, and returns it."""
    source = schema.DataSource(format='voc', path=str(folder / 'images'), split='trainval')
    data = schema.Data(classes=list(synthetic.CLASSES), train=source, validation=source)
    dataset = load_dataset(source, data, 'train', folder / 'cache')
    assert len(dataset.examples) == size, (len(dataset.examples), size)
    return dataset


def make_store(folder: pathlib.Path, size: int, row_shape: tuple[int, ...]) -> None:
    """Makes a store of random rows, computed part by part as a stage's are."""
    random = np.random.default_rng(0)

    def compute(first: int, last: int) -> np.ndarray:
        return random.random((last - first, *row_shape), np.float32)

    arrays.make(folder, {'rows': arrays.Rows(size, compute)}, lambda done, total: None, lambda: False)


def read_store(folder: pathlib.Path, size: int) -> object:
    """Checks a store, reads each row once, in random order, as an epoch does, and returns what holds the files open."""
    arrays.verify(folder)
    store = arrays.ArrayStore(folder, 'rows')
    for index in np.random.default_rng(0).permutation(size):
        store.row(int(index))
    return store


PARTS: Mapping[str, Callable[[pathlib.Path, int], object]] = {
    'index_cold': read_index,
    'index_warm': read_index,
    'proposals_make': lambda folder, size: make_store(folder / 'proposals', size, (NUM_PROPOSALS, 4)),
    'proposals_read': lambda folder, size: read_store(folder / 'proposals', size),
    'features_make': lambda folder, size: make_store(folder / 'features', size, (NUM_FEATURES,)),
    'features_read': lambda folder, size: read_store(folder / 'features', size),
}


def measure_here(part: str, folder: pathlib.Path, size: int) -> dict[str, float]:
    """Carries out one part in this process.

    Returns:
      `seconds` (wall), `processor_seconds` (of all threads), `peak_bytes` of the process, and `mapped_bytes`: how much of it are
      pages of mapped files, which the system takes back when it needs them.
    """
    mapped, started, used = _memory('RssFile'), time.perf_counter(), time.process_time()
    held = PARTS[part](folder, size)
    found = {
        'seconds': time.perf_counter() - started,
        'processor_seconds': time.process_time() - used,
        'peak_bytes': _memory('VmHWM'),
        'mapped_bytes': _memory('RssFile') - mapped,
    }
    del held  # Only now: with it go the mapped pages.
    return found


def _memory(name: str) -> int:
    """Returns bytes as Linux tells them; the peak of `getrusage` would be that of the process that started this one."""
    status = pathlib.Path('/proc/self/status').read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f'{name}:'))


# ---- all parts --------------------------------------------------------------------------------------------------------------


def measure(size: int) -> dict[str, dict[str, float]]:
    """Measures all parts on a set of `size` images in a temporary folder; returns part -> numbers."""
    with tempfile.TemporaryDirectory(prefix='bench_scale_') as name:
        folder = pathlib.Path(name)
        make_images(folder / 'images', size)
        time.sleep(RACY_NS / 1e9)  # Younger files are not trusted, and nothing is cached.
        return {part: _row(_in_a_process(part, folder, size), size) for part in PARTS}


def _in_a_process(part: str, folder: pathlib.Path, size: int) -> dict[str, float]:
    environment = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{os.environ.get("PYTHONPATH", "")}'}
    command = [sys.executable, __file__, '--part', part, '--folder', str(folder), '--sizes', str(size)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def _row(found: Mapping[str, float], size: int) -> dict[str, float]:
    return {
        'seconds': found['seconds'],
        'us_per_image': found['seconds'] / size * 1e6,
        'processor_us_per_image': found['processor_seconds'] / size * 1e6,
        'peak_mb': (found['peak_bytes'] - found['mapped_bytes']) / 1e6,
        'mapped_mb': found['mapped_bytes'] / 1e6,
    }


def growth(rows: Mapping[str, Mapping[str, float]]) -> float:
    """Returns an image's processor time in the largest set over that in the smallest; `rows` is size -> numbers of one part."""
    smallest, largest = min(rows, key=int), max(rows, key=int)
    return rows[largest]['processor_us_per_image'] / rows[smallest]['processor_us_per_image']


def table_lines(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Returns the table's lines, headings first: for each part and size the wall and processor microseconds and peak memory."""
    sizes = sorted({size for rows in report['rows'].values() for size in rows}, key=int)
    lines = [('part', *(f'{int(size):,} images' for size in sizes), 'processor time of an image, largest / smallest')]
    for part, rows in report['rows'].items():
        cells = (_cell(rows[size]) for size in sizes)
        lines.append((LABELS[part], *cells, f'{growth(rows):.2f}'))
    return lines


def _cell(row: Mapping[str, float]) -> str:
    return f'{row["us_per_image"]:.0f} us ({row["processor_us_per_image"]:.0f}), {row["peak_mb"]:.0f} MB'


def markdown(report: Mapping[str, Any]) -> str:
    """Returns the table for `docs/performance.md`."""
    headings, *lines = table_lines(report)
    return ''.join(f'| {" | ".join(line)} |\n' for line in (headings, tuple('---' for _ in headings), *lines))


def show(report: Mapping[str, Any]) -> None:
    """Prints the table."""
    headings, *lines = table_lines(report)
    table = rich.table.Table(*headings)
    for line in lines:
        table.add_row(*line)
    rich.console.Console(width=120).print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description='Measures how costs grow with the data set.', allow_abbrev=False)
    parser.add_argument('--sizes', type=int, nargs='+', default=SIZES, help='numbers of images')
    parser.add_argument('--json', type=pathlib.Path, help='write the report there')
    parser.add_argument('--markdown', type=pathlib.Path, metavar='JSON', help='print the table of a finished run')
    parser.add_argument('--part', choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=pathlib.Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.part:
        print(json.dumps(measure_here(given.part, given.folder, given.sizes[0])))
        return 0
    try:
        if given.markdown:
            print(markdown(files.read_json(given.markdown)), end='')
            return 0
        measured = {size: measure(size) for size in given.sizes}
    except StagetrainError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    rows = {part: {str(size): measured[size][part] for size in given.sizes} for part in PARTS}
    report = {'settings': {'image_size': IMAGE_SIZE, 'num_proposals': NUM_PROPOSALS, 'num_features': NUM_FEATURES}, 'rows': rows}
    show(report)
    if given.json:
        files.write_json(given.json, report)
    return 0


if __name__ == '__main__':
    sys.exit(main())
