"""The real command line with children that need no TensorFlow."""

from __future__ import annotations

import sys

from stagetrain.cli import main
from stagetrain.workers import process
from tests.fakes import project

if __name__ == '__main__':
    start_child = process.start_child
    process.start_child = lambda: start_child(project.CHILD)
    sys.exit(main.main())
