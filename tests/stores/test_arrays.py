"""Arrays on disk: made in parts, resumed, committed as a whole, checked."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from stagetrain.errors import DamagedFile, Interrupted, RunDirectoryError
from stagetrain.stores import arrays

COUNT = arrays.ROWS_OF_A_PART * 2 + 10


def table(calls: list[tuple[int, int]]) -> dict[str, arrays.Rows]:
    """Returns a table whose row i is (i, 2 i); `calls` is told what was computed."""

    def compute(first: int, last: int) -> np.ndarray:
        calls.append((first, last))
        return np.stack([np.arange(first, last), 2 * np.arange(first, last)], axis=1).astype(np.float32)

    return {'t': arrays.Rows(COUNT, compute)}


def test_rows_come_back_as_they_were_made(tmp_path: pathlib.Path) -> None:
    told: list[tuple[int, int]] = []
    arrays.make(tmp_path / 's', table([]), lambda *pair: told.append(pair), lambda: False)
    store = arrays.ArrayStore(tmp_path / 's', 't')
    assert store.row_shape == (2,)
    assert [store.row(i).tolist() for i in (0, 255, 256, COUNT - 1)] == [[0, 0], [255, 510], [256, 512], [521, 1042]]
    assert told == [(256, COUNT), (512, COUNT), (COUNT, COUNT)]
    assert not (tmp_path / 's.making').exists()


def test_an_interrupted_store_goes_on_behind_its_finished_parts(tmp_path: pathlib.Path) -> None:
    calls: list[tuple[int, int]] = []
    with pytest.raises(Interrupted, match=rf's: stopped after 256 of {COUNT} rows'):
        arrays.make(tmp_path / 's', table(calls), lambda *_: None, lambda: len(calls) == 1)
    assert not (tmp_path / 's').exists()
    arrays.make(tmp_path / 's', table(calls), lambda *_: None, lambda: False)
    assert calls == [(0, 256), (256, 512), (512, COUNT)]
    assert arrays.ArrayStore(tmp_path / 's', 't').row(300).tolist() == [300, 600]


def test_equal_content_has_an_equal_digest(tmp_path: pathlib.Path) -> None:
    for name in ('a', 'b'):
        arrays.make(tmp_path / name, table([]), lambda *_: None, lambda: False)
    assert arrays.verify(tmp_path / 'a') == arrays.verify(tmp_path / 'b')


def test_damage_is_found(tmp_path: pathlib.Path) -> None:
    arrays.make(tmp_path / 's', table([]), lambda *_: None, lambda: False)
    path = tmp_path / 's' / 't-000001.npy'
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=r't-000001\.npy'):
        arrays.verify(tmp_path / 's')
    path.unlink()
    with pytest.raises(DamagedFile, match=r't-000001\.npy'):
        arrays.verify(tmp_path / 's')


def test_a_table_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    arrays.make(tmp_path / 's', table([]), lambda *_: None, lambda: False)
    with pytest.raises(RunDirectoryError, match='no table other in this store'):
        arrays.ArrayStore(tmp_path / 's', 'other')
