"""A process that saves without pause is killed with SIGKILL, again and again, in one folder: nothing acknowledged is lost."""

from __future__ import annotations

import os
import pathlib
import random
import time
from collections.abc import Iterator

from scripts.campaign_processes import Forked, kill
from scripts.faults import save
from stagetrain.errors import DamagedFile

SECONDS_OF_A_SAVER = 0.06
SAVES_IN_A_FOLDER = 500
"""A new folder is begun then: the ledger is read at every save, and would slow the trials down."""


def killed_savers(work: pathlib.Path, count: int, draw: random.Random) -> Iterator[list[str]]:
    """Yields the faults of each trial: a saver is killed at a random moment, and the next one goes on from what is there."""
    folder, step, acknowledged = save.prepared(work / 'from-0'), 1, 1
    for number in range(count):
        if step > SAVES_IN_A_FOLDER:
            folder, step, acknowledged = save.prepared(work / f'from-{number}'), 1, 1
        num_saved = _killed_saver(folder, step, draw.uniform(0, SECONDS_OF_A_SAVER))
        acknowledged = step + num_saved if num_saved else acknowledged
        try:
            yield save.lost(folder, acknowledged)
            step = save.newest(folder)
        except DamagedFile as error:
            yield [str(error)]
            step = SAVES_IN_A_FOLDER + 1


def _killed_saver(folder: pathlib.Path, step: int, seconds: float) -> int:
    """Lets a process save the steps behind `step` and kills it; returns how many it had acknowledged."""
    reading, writing = os.pipe()

    def work() -> int:
        for following in range(step + 1, step + 10**6):
            save.save(folder, following)
            os.write(writing, b'.')
        return 0

    saver = Forked(work)
    os.close(writing)
    time.sleep(seconds)
    kill(saver.pid)
    saver.wait()
    with os.fdopen(reading, 'rb') as acknowledgements:
        return len(acknowledgements.read())
