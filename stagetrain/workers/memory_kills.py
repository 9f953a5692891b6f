"""Whether the system killed a process because memory ran out: Linux counts these kills.

before = num_memory_kills()
...                                    # a child dies of SIGKILL
explanation(before)                    # '... by the system, because memory ran out. To need less: ...'
"""

from __future__ import annotations

import pathlib
import re

STATISTICS = pathlib.Path('/proc/vmstat')
_NEED_LESS = 'To need less: a smaller train.batch_size, model.input_size or data.cache_gib'


def num_memory_kills() -> int | None:
    """Returns how many processes the system has killed for want of memory since it started; None where it does not count them.

    A container's limit counts too.
    """
    try:
        found = re.search(r'^oom_kill (\d+)$', STATISTICS.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def explanation(before: int | None) -> str:
    """Returns why a process was ended by a SIGKILL that stagetrain did not send, in words that follow `SIGKILL`.

    Args:
      before: what `num_memory_kills` said when the process was started.
    """
    now = num_memory_kills()
    if before is None or now is None:
        return f', most likely by the system because memory ran out (`dmesg` tells). {_NEED_LESS}'
    if now > before:
        return f' by the system, because memory ran out (`dmesg` tells). {_NEED_LESS}'
    return f', and not by this system for want of memory: somebody, a scheduler or a limit from outside did it. {_NEED_LESS}'
