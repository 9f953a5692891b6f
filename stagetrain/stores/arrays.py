"""Arrays on disk, one row for each image and view: made in parts that survive a crash, committed as a whole, read by memory map.

    make(folder, {'train': Rows(584, compute)}, note, should_stop)
    ArrayStore(folder, 'train').row(17)

While a store is made its finished parts lie in `<folder>.making`; a second run goes on behind them. The committed folder has a
manifest, which `open_store` checks in full.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
import shutil
import time
from collections.abc import Callable, Mapping

import numpy as np

from stagetrain import files
from stagetrain.errors import Interrupted, RunDirectoryError
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import ShouldStop

ROWS_OF_A_PART = 256
RowsDone = Callable[[int, int], None]
"""Takes (rows done, rows in all)."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """A table to make: its number of rows, and what computes some of them."""

    count: int
    compute: Callable[[int, int], np.ndarray]
    """(first row, last row + 1) -> array `[rows, ...]`."""

    def seconds_of_making(self, num_rows: int = 16) -> float:
        """Returns about what all rows take but the first few, which are computed twice to know: the first time traces."""
        few = min(self.count, num_rows)
        self.compute(0, few)
        started = time.monotonic()
        self.compute(0, few)
        return (time.monotonic() - started) * max(0, self.count / few - 2)


def make(folder: pathlib.Path, tables: Mapping[str, Rows], progress: RowsDone, should_stop: ShouldStop) -> None:
    """Makes a store, going on where an interrupted run stopped.

    Args:
      folder: where the store is committed.
      tables: name -> rows.
      progress: called after each part.
      should_stop: asked before each part.

    Raises:
      Interrupted: `should_stop` said so; what was made is kept.
    """
    making = folder.with_name(folder.name + run_files.MAKING)
    making.mkdir(parents=True, exist_ok=True)
    files.sweep_temporary(making)
    total, done = sum(rows.count for rows in tables.values()), 0
    for name, rows in tables.items():
        for number, first in enumerate(range(0, rows.count, ROWS_OF_A_PART)):
            last = min(first + ROWS_OF_A_PART, rows.count)
            path = making / f'{name}-{number:06d}.npy'
            if not path.exists():
                if should_stop():
                    raise Interrupted(f'{folder}: stopped after {done} of {total} rows; the same command goes on from there')
                _write_array(path, rows.compute(first, last))
            done += last - first
            progress(done, total)
    files.commit_folder(folder, lambda temporary: _move_parts(making, temporary))
    shutil.rmtree(making)


def _write_array(path: pathlib.Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    files.atomic_write(path, buffer.getvalue())


def _move_parts(making: pathlib.Path, temporary: pathlib.Path) -> None:
    for path in sorted(making.glob('*.npy')):
        shutil.copyfile(path, temporary / path.name)


class ArrayStore:
    """One table of a committed store."""

    def __init__(self, folder: pathlib.Path, name: str):
        """Args: folder: a store that `verify` accepted; name: the table's."""
        self._parts = [np.load(path, mmap_mode='r', allow_pickle=False) for path in sorted(folder.glob(f'{name}-*.npy'))]
        if not self._parts:
            raise RunDirectoryError(f'{folder}: no table {name} in this store; delete the folder, and it is made again')

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self._parts[0].shape[1:])

    def row(self, index: int) -> np.ndarray:
        """Returns one row, copied out of the memory map."""
        return np.array(self._parts[index // ROWS_OF_A_PART][index % ROWS_OF_A_PART])


def verify(folder: pathlib.Path) -> str:
    """Checks a store against its manifest in full and returns the manifest's digest.

    Raises:
      DamagedFile: a file is missing, or has other bytes than were committed.
    """
    return files.verify_folder(folder)
