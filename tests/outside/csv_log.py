"""A callback from outside the package: every reported step as a line of a CSV file in the run directory."""

from __future__ import annotations

import pathlib
from typing import Any

from stagetrain.config import callbacks
from stagetrain.config.options import Strict


class CsvLog(Strict):
    """What a pipeline says of it."""

    file: str = 'steps.csv'
    """Its name in `report/`."""
    fail_at: int = 0
    """For tests: the step at which it fails."""


def listener(settings: CsvLog, run_dir: pathlib.Path) -> Any:
    """Builds it; see `CallbackSpec`."""
    from stagetrain.pipeline.events import Event, Progress

    def listen(event: Event) -> None:
        if not isinstance(event, Progress):
            return
        if event.step == settings.fail_at:
            raise ZeroDivisionError('by zero')
        path = run_dir / 'report' / settings.file
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, 'a') as file:
            file.write(f'{event.job},{event.step},{event.num_steps}\n')

    return listen


callbacks.register_callback(callbacks.CallbackSpec('csv_log', CsvLog, f'{__name__}:listener'))
