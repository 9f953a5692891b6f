"""Shows the events of a run: a bar on a terminal, a line for every tenth of a job elsewhere, or beside lines of the log."""

from __future__ import annotations

import rich.console
import rich.progress
import rich.text
from rich.markup import escape

from stagetrain import logs
from stagetrain.pipeline.events import Ended, Event, Finished, Note, Progress, Started, described, values_text


class Console:
    """Listens to a run and prints."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._bar: _Bar | None = None

    def __call__(self, event: Event) -> None:
        """Shows an event."""
        if isinstance(event, Progress):
            if self._bar is not None:
                self._bar.show(event)
            return
        if isinstance(event, Finished | Ended):
            self.close()
        text = described(event)
        if text is not None:
            is_warning = isinstance(event, Note) and event.is_warning
            self._console.print(rich.text.Text(text, 'bold yellow' if is_warning else ''), soft_wrap=True)
        if isinstance(event, Started):
            self._bar = _Bar(self._console, str(event.job))

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Bar:
    """The steps of one job."""

    def __init__(self, console: rich.console.Console, name: str) -> None:
        self._console, self._tenth = console, -1
        self._is_drawn = console.is_terminal and not logs.are_shown()
        columns = (
            rich.progress.TextColumn('{task.description}'),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn('{task.fields[values]}'),
        )
        self._bar = rich.progress.Progress(*columns, console=console, transient=True, disable=not self._is_drawn)
        self._task = self._bar.add_task(escape(name), total=None, values='')
        self._bar.start()

    def show(self, event: Progress) -> None:
        """Shows a step."""
        self._bar.update(self._task, completed=event.step, total=event.num_steps, values=escape(values_text(event.values)))
        tenth = event.step * 10 // max(event.num_steps, 1)
        if not self._is_drawn and tenth != self._tenth:
            self._tenth = tenth
            self._console.print(rich.text.Text(described(event) or ''), soft_wrap=True)

    def close(self) -> None:
        """Takes the bar away."""
        self._bar.stop()
