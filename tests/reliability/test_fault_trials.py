"""The trials of `scripts/campaign_faults.py` and `campaign_long.py` find what they are meant to find."""

from __future__ import annotations

import os
import pathlib
import shutil
import socket

import pytest

from scripts import process_tree
from scripts.faults import calls, save
from scripts.process_tree import Usage
from stagetrain.errors import DamagedFile

COMMIT = [
    ('access', f'"{save.BEGIN}", F_OK) = -1 ENOENT'),
    ('fsync', '3</run/.tmp-step-00000002-ab/weights.json>) = 0'),
    ('fsync', '3</run/.tmp-step-00000002-ab/MANIFEST.json>) = 0'),
    ('fsync', '3</run/.tmp-step-00000002-ab>) = 0'),
    ('rename', '"/run/.tmp-step-00000002-ab", "/run/step-00000002") = 0'),
    ('fsync', '3</run>) = 0'),
    ('rename', '"/run/step-00000001", "/run/.tmp-step-00000001-cd") = 0'),
]


@pytest.fixture
def saved(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = save.prepared(tmp_path / 'run')
    save.save(folder, 2)
    return folder


def test_what_is_there_is_not_lost(saved: pathlib.Path) -> None:
    assert save.lost(saved, acknowledged=2) == []


def test_an_older_checkpoint_than_acknowledged_is_a_loss(saved: pathlib.Path) -> None:
    shutil.rmtree(save.checkpoint(saved, 2))
    shutil.copytree(save.prepared(saved / 'other') / 'step-00000001', save.checkpoint(saved, 1))
    assert 'acknowledged step 2, lock of step 2, newest checkpoint of step 1' in save.lost(saved, acknowledged=2)


def test_a_lost_line_of_the_ledger_is_a_loss(saved: pathlib.Path) -> None:
    (saved / 'ledger.jsonl').write_text('')
    assert save.lost(saved, acknowledged=2) == ['the ledger lost its line of step 2']


def test_a_torn_checkpoint_is_found(saved: pathlib.Path) -> None:
    os.truncate(save.checkpoint(saved, 2) / 'weights.json', 3)
    with pytest.raises(DamagedFile, match='size is 3 bytes'):
        save.lost(saved, acknowledged=2)


def test_the_order_of_a_commit_is_right() -> None:
    assert calls.disorder(COMMIT) == []


@pytest.mark.parametrize(
    ('first', 'second', 'fault'),
    [(3, 4, '3 syncs of the new checkpoint, the last at 4, rename at 3'), (5, 6, 'the old checkpoint went before')],
)
def test_calls_in_another_order_are_found(first: int, second: int, fault: str) -> None:
    swapped = list(COMMIT)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    assert fault in calls.disorder(swapped)[0]


def watched(*, mib: list[int], handles: list[int]) -> dict[str, Usage]:
    pairs = enumerate(zip(mib, handles, strict=True))
    return {f'stage_{n}': Usage(bytes=size << 20, handles=count, threads=5, processes=3) for n, (size, count) in pairs}


def test_peaks_that_differ_by_chance_are_no_growth() -> None:
    peaks = watched(mib=[1, 1, 532, 588, 546, 561, 532, 566], handles=[20, 20, 21, 20, 20, 21, 22, 20])
    assert process_tree.growth(peaks) == []


def test_memory_and_handles_that_rise_with_every_stage_are_growth() -> None:
    peaks = watched(mib=[100 + 2 * n for n in range(12)], handles=[20 + n for n in range(12)])
    found = [
        'bytes: 113246208 in the earlier stages, 123731968 in the later ones',
        'handles: 24 in the earlier stages, 29 in the later ones',
    ]
    assert process_tree.growth(peaks) == found


def test_a_listening_socket_and_an_open_file_are_seen(tmp_path: pathlib.Path) -> None:
    own = [os.getpid()]
    before = process_tree.usage(own)
    with socket.create_server(('127.0.0.1', 0)) as server, open(tmp_path / 'file', 'w'):
        port = server.getsockname()[1]
        assert f'0100007F:{port:04X}' in process_tree.listening_sockets(own)
        assert process_tree.usage(own).handles == before.handles + 2
    assert process_tree.usage(own).bytes > 10 << 20


def test_a_childs_child_is_in_the_tree() -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        child = os.fork()
        if child == 0:
            os.read(reading, 1)
            os._exit(0)
        os.waitpid(child, 0)
        os._exit(0)
    try:
        while len(process_tree.tree(pid)) < 2:
            pass
        assert set(process_tree.tree(pid)) < set(process_tree.tree(os.getpid()))
    finally:
        os.write(writing, b'.')
        os.waitpid(pid, 0)
