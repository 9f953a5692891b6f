"""The lock notices every change that it did not make itself."""

from __future__ import annotations

import pathlib

import pytest

from stagetrain.errors import DamagedFile
from stagetrain.pipeline.lock import Entry, Lock, read_lock, write_lock

LOCK = Lock({'rpn_1': Entry('ab', {'seed': 0}, {'step': 8, 'metrics': {'AP': 0.5}}, '2026-01-31T12:00:00Z', {'n': [1]})}, {})


def test_what_was_written_is_read_back(tmp_path: pathlib.Path) -> None:
    write_lock(tmp_path / 'pipeline.lock', LOCK)
    assert read_lock(tmp_path / 'pipeline.lock') == LOCK
    assert read_lock(tmp_path / 'none') == Lock()


def test_entries_are_replaced_and_removed() -> None:
    entry = Entry('cd', {}, {}, 'now')
    lock = LOCK.with_stage('rpn_2', entry).with_artefact('proposals', 'ef', entry).with_stage('rpn_1', None)
    assert lock == Lock({'rpn_2': entry}, {'proposals': {'ef': entry}})
    assert lock.with_artefact('proposals', 'ef', None).artefacts == {'proposals': {}}


def test_every_flipped_bit_is_found_and_the_file_left_alone(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'pipeline.lock'
    write_lock(path, LOCK)
    content, missed = path.read_bytes(), []
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            missed.append((bit, read_lock(path)))
        except DamagedFile:
            assert path.read_bytes() == flipped
    assert missed == []


@pytest.mark.parametrize('content', [b'', b'{}', b'[]', b'null', b'\xff\xfe', b'{"stages": 3, "proposals": {}}', b'[' * 100_000])
def test_garbage_says_what_to_do(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / 'pipeline.lock').write_bytes(content)
    with pytest.raises(
        DamagedFile, match=r'pipeline\.lock: the lock is damaged .* it was left as it is\. Keep it under another name \(mv '
    ):
        read_lock(tmp_path / 'pipeline.lock')
