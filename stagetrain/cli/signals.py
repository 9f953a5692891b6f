"""Signals of a command that runs stages: they ask the run to stop, and say at once what that does."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

from stagetrain.pipeline import stopping
from stagetrain.pipeline.stopping import Stopper

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stopping_the_run() -> Iterator[Stopper]:
    """Gives a stopper that Ctrl-C and SIGTERM ask."""
    stopper = Stopper(stopping.say)
    former: dict[int, Any] = {number: signal.getsignal(number) for number in _SIGNALS}

    def receive(number: int, frame: FrameType | None) -> None:
        if stopper.is_passed_on:
            stopper.ask()
        elif callable(former[number]):  # Before the first stage and after the last one: as any command.
            former[number](number, frame)

    for number in _SIGNALS:
        signal.signal(number, receive)
    try:
        yield stopper
    finally:
        for known, handler in former.items():
            signal.signal(known, handler)
