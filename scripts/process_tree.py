"""What a process and all that it started use, from /proc: memory, file handles, threads, listening sockets."""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
from collections.abc import Callable, Iterator, Mapping

PROC = pathlib.Path('/proc')
_LISTENING = '0A'
"""TCP_LISTEN, as /proc/net/tcp writes it."""

LARGEST_GROWTH = 1.05
MOMENTARY = 2
"""Handles and threads that may be seen in one stage and, by chance, not in another: a file is open for a moment."""
FIRST_JUDGED = 2
"""The third stage: the first ones fill caches and pools."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a process tree uses at one moment."""

    bytes: int
    """Anonymous memory. Pages of libraries are left out: whose they are depends on what else runs on the machine, and a tree's
    share of TensorFlow's grew by 200 MiB when other processes ended."""
    handles: int
    threads: int
    processes: int

    def highest(self, other: Usage) -> Usage:
        """Returns the larger of each number."""
        return Usage(*(max(pair) for pair in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


NOTHING = Usage(0, 0, 0, 0)


def tree(pid: int) -> list[int]:
    """Returns a process and all its living descendants."""
    return [pid, *(found for child in _children(pid) for found in tree(child))] if is_alive(pid) else []


def usage(pids: list[int]) -> Usage:
    """Returns what some processes use together; one that has just ended uses nothing."""
    return Usage(
        sum(_ask(pid, _anonymous_bytes) for pid in pids),
        sum(_ask(pid, lambda folder: len(list((folder / 'fd').iterdir()))) for pid in pids),
        sum(_ask(pid, lambda folder: len(list((folder / 'task').iterdir()))) for pid in pids),
        len(pids),
    )


def growth(peaks: Mapping[str, Usage]) -> list[str]:
    """Returns what grew: of the stages that are judged, the later half against the earlier one, by their medians.

    Single peaks differ by chance, for they are looked for at moments while one child works and the next one imports.
    """
    judged = list(peaks.values())[FIRST_JUDGED:]
    earlier, later = judged[: len(judged) // 2], judged[len(judged) // 2 :]
    found = []
    for name in (field.name for field in dataclasses.fields(Usage)):
        before, after = (statistics.median(getattr(peak, name) for peak in half) for half in (earlier, later))
        if after > max(LARGEST_GROWTH * before, before + MOMENTARY):
            found.append(f'{name}: {before:.0f} in the earlier stages, {after:.0f} in the later ones')
    return found


def is_alive(pid: int) -> bool:
    """Returns whether a process exists and is no zombie."""
    try:
        return (PROC / str(pid) / 'stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def listening_sockets(pids: list[int]) -> set[str]:
    """Returns the local addresses at which some processes listen on TCP."""
    inodes = {inode for pid in pids for inode in _socket_inodes(pid)}
    return {address for address, state, inode in _tcp_sockets() if state == _LISTENING and inode in inodes}


def _children(pid: int) -> Iterator[int]:
    try:
        for thread in (PROC / str(pid) / 'task').iterdir():
            yield from map(int, (thread / 'children').read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return


def _ask(pid: int, question: Callable[[pathlib.Path], int]) -> int:
    try:
        return question(PROC / str(pid))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0


def _anonymous_bytes(folder: pathlib.Path) -> int:
    lines = (folder / 'smaps_rollup').read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith('Anonymous:')), 0)


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        for handle in (PROC / str(pid) / 'fd').iterdir():
            target = str(handle.readlink())
            if target.startswith('socket:['):
                yield target.removeprefix('socket:[').removesuffix(']')
    except (FileNotFoundError, ProcessLookupError):
        return


def _tcp_sockets() -> Iterator[tuple[str, str, str]]:
    """Yields (local address, state, inode)."""
    for table in ('tcp', 'tcp6'):
        path = PROC / 'net' / table
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            yield fields[1], fields[3], fields[9]
