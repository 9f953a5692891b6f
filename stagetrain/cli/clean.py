"""`stagetrain clean`: removes what no stage needs any more."""

from __future__ import annotations

import rich.console

from stagetrain.api import cleaning
from stagetrain.cli import prepare
from stagetrain.pipeline.rundir import RunDirectory


def clean(directory: RunDirectory, console: rich.console.Console) -> None:
    """Removes stores that no stage of the present config reads, and temporary folders. Checkpoints stay.

    Raises:
      RunDirectoryError: it is no run directory, or another process holds it.
    """
    freed = cleaning.clean(directory, prepare.tell)
    console.print(f'{directory.path}: removed {len(freed)} stores, {sum(freed) / 2**20:.1f} MiB', highlight=False, soft_wrap=True)
