"""Runs a command and tells what it took.

    python scripts/bench_process.py RESULT.json LOG COMMAND [ARGUMENT ...]

writes `{"seconds", "peak_bytes", "exit_code"}`; the peak is that of the largest process among the command and its descendants. It
is a process of its own because Linux counts the memory of the process that starts a command as the command's, until the command's
program is loaded: started from a benchmark that holds gigabytes, every command would seem to hold them too.
"""

from __future__ import annotations

import json
import pathlib
import resource
import subprocess
import sys
import time


def main() -> int:
    """Returns 0; the command's own exit code stands in the result."""
    result, log, *command = sys.argv[1:]
    started = time.monotonic()
    with open(log, 'wb') as output:
        exit_code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    seconds = time.monotonic() - started
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    pathlib.Path(result).write_text(json.dumps({'seconds': seconds, 'peak_bytes': peak_bytes, 'exit_code': exit_code}))
    return 0


if __name__ == '__main__':
    sys.exit(main())
