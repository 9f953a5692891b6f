"""What lies in a run directory, by name.

run.yaml  pipeline.lock  ledger.jsonl  lengths.json
stages/<id>/        job.json  lineage.json  frozen.json  metrics.jsonl  evaluation.json
                    checkpoints/step-<8 digits>/  best/step-<8 digits>/  averaged/step-<8 digits>/
step-<8 digits>/    ckpt...  variables.json  classes.json  MANIFEST.json
"""

from __future__ import annotations

import pathlib
import re

CONFIG = 'run.yaml'
"""The resolved config."""
LENGTHS = 'lengths.json'
"""Lengths of stages that were decided by this machine's speed when the run began, and stay."""
LOCK = 'pipeline.lock'
LEDGER = 'ledger.jsonl'
STAGES, STORES, CACHE, REPORT, LOGS = 'stages', 'stores', 'cache', 'report', 'logs'
NEXT = 'next'
"""Holds, stage by stage, what is trained to take the place of a finished stage's result."""
MAKING = '.making'
"""What stands behind the name of a store while it is made."""
JOB = 'job.json'
LINEAGE = 'lineage.json'
"""Canonical name -> where the variable came from."""
FROZEN = 'frozen.json'
"""Canonical name -> digest of what rested."""
METRICS = 'metrics.jsonl'
EVALUATION = 'evaluation.json'
CHECKPOINTS, BEST, AVERAGED = 'checkpoints', 'best', 'averaged'
"""Folders of checkpoints: the newest ones, those with the best evaluations, and that with moving averages as its weights."""
TENSORS = 'ckpt'
"""Prefix of TensorFlow's files in a checkpoint's folder."""
VARIABLES = 'variables.json'
"""Canonical name -> key in the tensors, shape, digest."""
CLASSES = 'classes.json'
"""The names of the classes that the weights tell apart, in order."""
_FOLDER = re.compile(r'step-(\d{8})')


def log_of(job_file: pathlib.Path) -> pathlib.Path:
    """Returns where the child that carries out a job writes what it prints."""
    return job_file.with_suffix('.log')


def checkpoint_folder(parent: pathlib.Path, step: int) -> pathlib.Path:
    """Returns where the checkpoint of a step lies."""
    return parent / f'step-{step:08d}'


def checkpoint_folders(parent: pathlib.Path) -> list[pathlib.Path]:
    """Returns the committed checkpoints below `parent`, oldest first."""
    return sorted(path for path in parent.glob('step-*') if _FOLDER.fullmatch(path.name))


def step_of(folder: pathlib.Path) -> int:
    """Returns the number of steps that the name of a checkpoint's folder tells."""
    match = _FOLDER.fullmatch(folder.name)
    assert match, folder
    return int(match[1])
