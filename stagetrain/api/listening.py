"""The callbacks of a pipeline, beside whoever listens to a run."""

from __future__ import annotations

from stagetrain.config import callbacks, load, specs
from stagetrain.errors import StagetrainError
from stagetrain.pipeline.events import Event, Listener, Note
from stagetrain.pipeline.rundir import RunDirectory, explained


class Listeners:
    """Passes every event to the listener that was given, and then to each callback.

    A callback that raises is not called again in this run, and the ledger says why: what listens must not cost a training.
    """

    def __init__(self, loaded: load.Loaded, directory: RunDirectory, listen: Listener) -> None:
        """Builds the callbacks that the pipeline names.

        Raises:
          StagetrainError: as a callback does for settings that it cannot use.
        """
        self._directory, self._listen = directory, listen
        self._callbacks: dict[str, Listener] = {
            name: specs.load_implementation(callbacks.callback(name).implementation)(settings, directory.path)
            for name, settings in callbacks.asked_for(loaded.pipeline).items()
        }

    def __call__(self, event: Event) -> None:
        """Passes an event on."""
        self._listen(event)
        for name in list(self._callbacks):
            self._call(name, event)

    def _call(self, name: str, event: Event) -> None:
        try:
            self._callbacks[name](event)
        except Exception as error:  # Somebody else's code; stages must go on.
            del self._callbacks[name]
            what = str(error) if isinstance(error, StagetrainError) else f'{type(error).__name__}: {error}'
            text = f'callbacks.{name}: {what}. It is not called again in this run; the stages are not touched by that'
            with explained(self._directory.path):
                self._directory.ledger.record('note', event.job, text)
            self._listen(Note(event.job or 'run', text, is_warning=True))
