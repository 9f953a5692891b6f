"""The real command line with children that need no TensorFlow."""

from __future__ import annotations

import functools
import sys

from stagetrain.cli import main
from stagetrain.workers import process
from tests.fakes import project, worker

if __name__ == '__main__':
    start_child = process.start_child
    process.start_child = lambda: start_child(project.CHILD)
    process.InProcessWorker = functools.partial(process.InProcessWorker, worker.IMPLEMENTATIONS)
    sys.exit(main.main())
