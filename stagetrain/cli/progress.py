"""Shows the events of a run: a bar on a terminal, a line for every tenth of a job elsewhere."""

from __future__ import annotations

import rich.console
import rich.progress
import rich.text
from rich.markup import escape

from stagetrain.config import metric_names
from stagetrain.pipeline import planned
from stagetrain.pipeline.events import Checking, Ended, Event, Finished, Note, Planned, Progress, Remark, Skipped, Started


class Console:
    """Listens to a run and prints."""

    def __init__(self, console: rich.console.Console) -> None:
        self._console = console
        self._bar: _Bar | None = None

    def __call__(self, event: Event) -> None:
        """Shows an event."""
        if isinstance(event, Planned):
            self._say(_headline(event))
        elif isinstance(event, Started):
            self._say(f'{event.job}: {event.reason}')
            self._bar = _Bar(self._console, str(event.job))
        elif isinstance(event, Progress) and self._bar is not None:
            self._bar.show(event)
        elif isinstance(event, Finished | Ended):
            self.close()
        if isinstance(event, Finished):
            self._say(f'{event.job}: finished in {event.seconds:.1f} s{_metrics(event)}')
        elif isinstance(event, Note):
            warning = 'WARNING: ' if event.is_warning else ''
            self._say(f'{event.job}: {warning}{event.text}', 'bold yellow' if event.is_warning else '')
        elif isinstance(event, Skipped):
            self._say(f'{event.job}: {event.reason}')
        elif isinstance(event, Remark):
            self._say(event.text)
        elif isinstance(event, Checking):
            self._say('checking all stages against the names of the variables')

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _say(self, text: str, style: str = '') -> None:
        self._console.print(rich.text.Text(text, style), soft_wrap=True)


class _Bar:
    """The steps of one job."""

    def __init__(self, console: rich.console.Console, name: str) -> None:
        self._console, self._name = console, name
        self._tenth = -1
        columns = (
            rich.progress.TextColumn('{task.description}'),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn('{task.fields[values]}'),
        )
        self._bar = rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(escape(name), total=None, values='')
        self._bar.start()

    def show(self, event: Progress) -> None:
        """Shows a step."""
        values = ' '.join(f'{key} {_number(value)}' for key, value in event.values.items())
        self._bar.update(self._task, completed=event.step, total=event.num_steps, values=escape(values))
        tenth = event.step * 10 // max(event.num_steps, 1)
        if not self._console.is_terminal and tenth != self._tenth:
            self._tenth = tenth
            self._console.print(rich.text.Text(f'{self._name}: {event.step}/{event.num_steps} {values}'), soft_wrap=True)

    def close(self) -> None:
        """Takes the bar away."""
        self._bar.stop()


def _metrics(event: Finished) -> str:
    shown = {name: event.metrics.get(name) for name in metric_names.BRIEF}
    return ''.join(f', {name} {value:.3f}' for name, value in shown.items() if value is not None)


def _number(value: float | None) -> str:
    return 'not measured' if value is None else f'{value:.4g}'


def _headline(event: Planned) -> str:
    plan = event.plan
    selected = [stage for stage in plan.stages if stage.selected]
    waiting = [stage for stage in selected if stage.action != planned.SKIP]
    what = f'{len(waiting)} of {len(selected)} stages to do' if waiting else f'all {len(selected)} stages are up to date'
    bad = plan.facts.num_bad_train + plan.facts.num_bad_validation
    skipped = f', {bad} bad items left out' if bad else ''
    return f'{event.run_dir}: {what}; {plan.facts.num_train} training and {plan.facts.num_validation} validation images{skipped}'
