"""The log of a run: what happens in it, with times, in `logs/run.log` of the run directory.

    with kept(plan, directory, listen) as listen:
        listen(Started('rpn_1', 'starts: not run yet'))     # also a line of the log

The ledger is what decides and is digested; this log is for people who look for what happened when.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import shlex
import sys
from collections.abc import Iterator

from absl import logging as absl_logging

import stagetrain
from stagetrain import logs
from stagetrain.errors import Interrupted, StagetrainError
from stagetrain.pipeline.events import Event, Listener, Note, Planned, Progress, described
from stagetrain.pipeline.planned import Plan
from stagetrain.pipeline.rundir import RunDirectory

_log = absl_logging.get_absl_logger()
"""`absl.logging.info` and its like would configure Python's logging in a program that has not done so itself."""


@contextlib.contextmanager
def kept(plan: Plan, directory: RunDirectory, listen: Listener) -> Iterator[Listener]:
    """Gives a listener that also writes the log; the block's end is logged too, whatever it is."""
    with logs.in_file(directory.log('run')):
        host, version = platform.node(), stagetrain.__version__
        _log.info('stagetrain %s, process %d on %s: %s', version, os.getpid(), host, shlex.join(sys.argv))
        _log.info('%s', described(Planned(None, plan, directory.path)))
        try:
            yield lambda event: _pass_on(event, listen)
        except BaseException as error:
            _log_end(error)
            raise
        _log.info('done')


def _pass_on(event: Event, listen: Listener) -> None:
    text = described(event)
    if text is not None and not isinstance(event, Progress):  # Steps are in the log of the job.
        is_warning = isinstance(event, Note) and event.is_warning
        _log.log(logging.WARNING if is_warning else logging.INFO, '%s', text)
    listen(event)


def _log_end(error: BaseException) -> None:
    if isinstance(error, Interrupted | KeyboardInterrupt):
        _log.info('interrupted: %s', error)
    elif isinstance(error, StagetrainError):
        _log.error('%s', error)
    else:
        _log.error('%s', type(error).__name__, exc_info=error)
