"""What survives a crash, and what is noticed."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from stagetrain import files
from stagetrain.errors import DamagedFile


def _two_files(folder: pathlib.Path) -> None:
    (folder / 'a.bin').write_bytes(b'abc')
    (folder / 'sub').mkdir()
    (folder / 'sub' / 'b.bin').write_bytes(b'defg')


@pytest.fixture
def committed(tmp_path: pathlib.Path) -> pathlib.Path:
    """A committed folder of two files."""
    files.commit_folder(tmp_path / 'step-1', _two_files)
    return tmp_path / 'step-1'


def test_names_that_are_not_utf8_are_written_and_read_equal(tmp_path: pathlib.Path) -> None:
    value = {'path': os.fsdecode(b'/data/K\xe4fer'), 'other': 'Käfer'}
    files.write_json(tmp_path / 'a.json', value)
    files.write_sealed_json(tmp_path / 'b.json', value)
    files.append_json_line(tmp_path / 'c.jsonl', value)
    assert files.read_json(tmp_path / 'a.json') == files.read_sealed_json(tmp_path / 'b.json') == value
    assert files.read_json_lines(tmp_path / 'c.jsonl') == [value]
    assert b'K\xc3\xa4fer' in (tmp_path / 'a.json').read_bytes() and b'K\\udce4fer' in (tmp_path / 'a.json').read_bytes()


def test_atomic_write_replaces_and_leaves_no_temporary(tmp_path: pathlib.Path) -> None:
    files.atomic_write(tmp_path / 'x', 'old')
    files.atomic_write(tmp_path / 'x', b'new')
    assert os.listdir(tmp_path) == ['x']
    assert (tmp_path / 'x').read_text() == 'new'


@pytest.mark.parametrize('name', ['x' * 255, '細' * 85, 'two\nlines', os.fsdecode(b'\xe9' * 255)])
def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: pathlib.Path, name: str) -> None:
    files.atomic_write(tmp_path / name, 'content')
    assert (os.listdir(tmp_path), (tmp_path / name).read_text()) == ([name], 'content')
    files.commit_folder(tmp_path / 'folder' / name, lambda folder: files.atomic_write(folder / 'a', ''))
    files.verify_folder(tmp_path / 'folder' / name)
    files.remove_folder(tmp_path / 'folder' / name)
    assert os.listdir(tmp_path / 'folder') == []


def test_a_failed_write_keeps_the_old_content(tmp_path: pathlib.Path) -> None:
    files.atomic_write(tmp_path / 'x', 'old')
    script = (
        'import resource, signal, pathlib, sys\n'
        'from stagetrain import files\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n'
        'files.atomic_write(pathlib.Path(sys.argv[1]), "n" * 5000)\n'
    )
    done = subprocess.run([sys.executable, '-c', script, str(tmp_path / 'x')], capture_output=True, text=True, check=False)
    assert 'File too large' in done.stderr
    assert os.listdir(tmp_path) == ['x']
    assert (tmp_path / 'x').read_text() == 'old'


def test_json_round_trip_with_sorted_keys(tmp_path: pathlib.Path) -> None:
    files.write_json(tmp_path / 'x.json', {'b': [1, 2.5], 'a': None, 'ä': 'ü'})
    assert (tmp_path / 'x.json').read_text() == '{\n "a": null,\n "b": [\n  1,\n  2.5\n ],\n "ä": "ü"\n}\n'
    assert files.read_json(tmp_path / 'x.json') == {'a': None, 'b': [1, 2.5], 'ä': 'ü'}


def test_broken_json_names_the_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'x.json').write_text('{"a": ')
    with pytest.raises(DamagedFile, match=r'x\.json: found 6 bytes that are not JSON'):
        files.read_json(tmp_path / 'x.json')


def test_nan_is_not_written(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match='not JSON compliant'):
        files.write_json(tmp_path / 'x.json', float('nan'))
    assert os.listdir(tmp_path) == []


def test_digests_are_those_of_sha256(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'x').write_bytes(b'abc')
    assert files.sha256_file(tmp_path / 'x') == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert files.digest_of({'b': 1, 'a': 2}) == files.digest_of({'a': 2, 'b': 1})
    assert files.canonical_json({'b': 1, 'a': [1.5]}) == '{"a":[1.5],"b":1}'


def test_json_lines_forget_a_torn_last_line_and_go_on(tmp_path: pathlib.Path) -> None:
    log = tmp_path / 'log.jsonl'
    assert files.read_json_lines(log) == []
    files.append_json_line(log, {'n': 1})
    with open(log, 'ab') as file:
        file.write(b'{"n": 2')
    assert files.read_json_lines(log) == [{'n': 1}]
    files.append_json_line(log, {'n': 3})
    assert files.read_json_lines(log) == [{'n': 1}, {'n': 3}]


def test_a_torn_line_in_an_otherwise_empty_file(tmp_path: pathlib.Path) -> None:
    log = tmp_path / 'log.jsonl'
    log.write_bytes(b'\0\0\0')
    files.append_json_line(log, 1)
    assert log.read_bytes() == b'1\n'


def test_a_damaged_line_in_the_middle_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'log.jsonl').write_text('{"n":1}\n{"n:2}\n{"n":3}\n')
    with pytest.raises(DamagedFile, match=r'log\.jsonl:2: found a line that is not JSON'):
        files.read_json_lines(tmp_path / 'log.jsonl')


def test_a_committed_folder_verifies_and_its_digest_names_its_content(tmp_path: pathlib.Path) -> None:
    first = files.commit_folder(tmp_path / 'new' / 'one', _two_files)
    second = files.commit_folder(tmp_path / 'new' / 'two', _two_files)
    assert first == second == files.verify_folder(tmp_path / 'new' / 'one')
    assert sorted(os.listdir(tmp_path / 'new')) == ['one', 'two']


def test_a_committed_folder_is_never_overwritten(committed: pathlib.Path) -> None:
    with pytest.raises(FileExistsError, match='never overwritten'):
        files.commit_folder(committed, _two_files)


def test_a_writer_that_fails_leaves_nothing(tmp_path: pathlib.Path) -> None:
    def fail(folder: pathlib.Path) -> None:
        (folder / 'half').write_text('x')
        raise OSError(errno.ENOSPC, 'full')

    with pytest.raises(OSError, match='full'):
        files.commit_folder(tmp_path / 'final', fail)
    assert os.listdir(tmp_path) == []


def test_every_file_and_folder_is_synced_before_the_rename(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, rename = os.fsync, os.rename

    def traced_sync(descriptor: int) -> None:
        calls.append(pathlib.Path(os.readlink(f'/proc/self/fd/{descriptor}')).name.split('-')[0])
        sync(descriptor)

    def traced_rename(old: str, new: str) -> None:
        calls.append('rename')
        rename(old, new)

    monkeypatch.setattr(os, 'fsync', traced_sync)
    monkeypatch.setattr(os, 'rename', traced_rename)
    files.commit_folder(tmp_path / 'final', _two_files)
    assert sorted(calls[:-2]) == ['.tmp', 'MANIFEST.json', 'a.bin', 'b.bin', 'sub']
    assert calls[-2:] == ['rename', tmp_path.name.split('-')[0]]


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (lambda folder: (folder / 'a.bin').unlink(), r'a\.bin: missing; the manifest lists it with 3 bytes'),
        (lambda folder: (folder / 'c').write_text(''), r'/c: extra'),
        (lambda folder: (folder / 'a.bin').write_bytes(b'ab'), r'a\.bin: size is 2 bytes; expected 3'),
        (lambda folder: (folder / 'sub' / 'b.bin').write_bytes(b'defG'), r'b\.bin: digest is '),
        (lambda folder: (folder / 'MANIFEST.json').unlink(), r'MANIFEST\.json: missing; the folder was not committed'),
        (lambda folder: (folder / 'MANIFEST.json').write_text('{}'), r'manifest is broken: its digest of itself'),
        (lambda folder: (folder / 'MANIFEST.json').write_bytes(b'\xff'), r'manifest is broken'),
        (lambda folder: (folder / 'link').symlink_to('a.bin'), r'link: found a link'),
    ],
)
def test_damage_is_told_with_file_and_reason(committed: pathlib.Path, damage: object, message: str) -> None:
    damage(committed)  # type: ignore[operator]
    with pytest.raises(DamagedFile, match=message):
        files.verify_folder(committed)


def test_a_missing_folder_is_told_as_that(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DamagedFile, match='there is no such folder'):
        files.verify_folder(tmp_path / 'nowhere')


def test_every_single_flipped_bit_is_found(committed: pathlib.Path) -> None:
    missed = []
    for path in [p for p in committed.rglob('*') if p.is_file()]:
        content = path.read_bytes()
        for bit in range(len(content) * 8):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            try:
                files.verify_folder(committed)
                missed.append((path.name, bit))
            except DamagedFile:
                pass
        path.write_bytes(content)
    assert missed == []
    files.verify_folder(committed)


def test_what_is_damaged_is_kept_aside(committed: pathlib.Path) -> None:
    assert files.set_aside(committed).name == 'step-1.damaged-1'
    files.commit_folder(committed, _two_files)
    assert files.set_aside(committed).name == 'step-1.damaged-2'


def test_remove_and_sweep_leave_nothing(committed: pathlib.Path) -> None:
    parent = committed.parent
    (parent / '.tmp-half').mkdir()
    (parent / '.tmp-file').write_text('x')
    files.remove_folder(committed)
    files.remove_folder(committed)
    assert files.sweep_temporary(parent) == ['.tmp-file', '.tmp-half']
    assert os.listdir(parent) == []
    assert files.sweep_temporary(parent / 'nowhere') == []


_TORTURE = """
import itertools, pathlib, sys
from stagetrain import files
root = pathlib.Path(sys.argv[1])
start = max((int(p.name) for p in root.iterdir() if p.name.isdigit()), default=-1) + 1
files.sweep_temporary(root)
for step in itertools.count(start):
    files.commit_folder(root / str(step), lambda folder: (folder / 'x').write_bytes(str(step).encode() * 20000))
    print(step, flush=True)
    if step >= 2:
        files.remove_folder(root / str(step - 2))
"""


def test_sigkill_at_any_moment_loses_nothing_committed(tmp_path: pathlib.Path) -> None:
    root = tmp_path / 'run'
    root.mkdir()
    for trial in range(12):
        with subprocess.Popen([sys.executable, '-c', _TORTURE, str(root)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = [int(child.stdout.readline())]
            time.sleep(0.003 * trial)
            child.send_signal(signal.SIGKILL)
            told += [int(line) for line in child.stdout.read().split()]
        kept = sorted(int(p.name) for p in root.iterdir() if p.name.isdigit())
        assert kept and kept[-1] >= told[-1]
        for step in kept:
            files.verify_folder(root / str(step))
            assert (root / str(step) / 'x').read_bytes() == str(step).encode() * 20000


def test_a_full_disk_does_not_tear_the_log(tmp_path: pathlib.Path) -> None:
    script = (
        'import resource, signal, pathlib, sys\n'
        'from stagetrain import files\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n'
        'for n in range(50): files.append_json_line(pathlib.Path(sys.argv[1]), {"n": n})\n'
    )
    log = tmp_path / 'log.jsonl'
    done = subprocess.run([sys.executable, '-c', script, str(log)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'OSError' in done.stderr
    assert [json.loads(line)['n'] for line in log.read_text().splitlines()] == list(range(12))
