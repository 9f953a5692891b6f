"""How fast a machine carries stages out: what was measured, where it is kept, and what a stage will take by it.

    known = read(cache_file(directory.cache))
    speed = known.get(key(pipeline, stage, facts))         # None: not measured yet
    600 * speed.step + speed.besides(num_evaluations=1)    # 141.2

A measurement is a value of a machine, a network, its options and a data set: each stage has a key made of all that decides it.
Seconds count as in `compare`: training, making artefacts, evaluation, without the start of processes. Checkpoints and proofs,
under a second each, are left out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import platform
from collections.abc import Iterable, Mapping
from typing import Any

from stagetrain import files
from stagetrain.config import schema
from stagetrain.data import user_cache
from stagetrain.errors import DamagedFile
from stagetrain.pipeline import fingerprint
from stagetrain.pipeline.fingerprint import Facts

FEATURES = 'features'
"""The artefact that stages of one network make once and share."""
_WITHOUT_SPEED = (
    'init',
    'loss_ramps',
    'name',
    'seed',
    'train.best_',
    'train.early_stopping',
    'train.epochs',
    'train.hand_over',
    'train.learning_rate',
    'train.reduce_on_plateau',
    'train.steps',
    'train.validation_interval',
    'train.warmup',
)
"""What begins the parts of a fingerprint that do not decide how long a step takes."""
_CPUINFO, _ACCELERATORS = pathlib.Path('/proc/cpuinfo'), pathlib.Path('/proc/driver/nvidia/gpus')
_VISIBLE = 'CUDA_VISIBLE_DEVICES'


@dataclasses.dataclass(frozen=True)
class Speed:
    """What one stage takes on a machine, in seconds."""

    step: float
    """A step, reading its batch included."""
    start: float
    """Once in a stage, beside its steps: tracing, and images that are prepared in advance."""
    evaluation: float
    """One evaluation on the whole validation set."""
    artefacts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Kind of artefact that is made for it -> making it for the whole data set."""

    def besides(self, num_evaluations: int, made: Iterable[str] = ()) -> float:
        """Returns what it takes beside its steps; artefacts that are `made` already cost nothing."""
        making = sum(seconds for kind, seconds in self.artefacts.items() if kind not in set(made))
        return self.start + self.evaluation * num_evaluations + making


def num_evaluations(train: schema.Train, num_steps: int) -> int:
    """Returns how often a stage is evaluated, the last time at its end."""
    return 1 if train.validation_interval is None else 1 + (num_steps - 1) // train.validation_interval


def key(pipeline: schema.PipelineBase, stage: schema.Stage, facts: Facts) -> str:
    """Returns what a stage's speed on this machine is kept under."""
    _, parts = fingerprint.stage_fingerprint(pipeline, stage, facts, origins={}, made_of={}, teachers={})
    deciding = {name: value for name, value in parts.items() if not name.startswith(_WITHOUT_SPEED)}
    return files.digest_of({**deciding, **fingerprint.evaluation_parts(pipeline, facts), 'machine': machine()})


def machine() -> dict[str, Any]:
    """Returns what of this machine decides how fast it is, as far as the system tells."""
    processors = sorted(set(_values(_CPUINFO, 'model name'))) or [platform.machine()]
    accelerators = sorted(model for path in _ACCELERATORS.glob('*/information') for model in _values(path, 'Model'))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    visible = os.environ.get(_VISIBLE, '') if accelerators else ''
    return {'processors': processors, 'cores': cores, 'accelerators': accelerators, 'visible': visible}


def _values(path: pathlib.Path, name: str) -> list[str]:
    """Returns the values of `name: value` lines of a file of the system; none where it cannot be read."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return []
    return [value.strip() for key, _, value in (line.partition(':') for line in lines) if key.strip() == name]


def cache_file(otherwise: pathlib.Path) -> pathlib.Path:
    """Returns the file that holds what this user has measured; one in `otherwise`, of the run, where the user keeps nothing."""
    return (user_cache.folder() or otherwise) / 'speed.json'


def read(path: pathlib.Path) -> dict[str, Speed]:
    """Returns key -> speed of what was kept; empty where there is nothing that can be read."""
    try:
        return {name: Speed(**value) for name, value in files.read_sealed_json(path).items()}
    except (OSError, DamagedFile, TypeError, AttributeError):
        return {}


def keep(path: pathlib.Path, measured: Mapping[str, Speed]) -> None:
    """Adds measurements to the file; where it cannot be written they are measured again the next time."""
    both = {name: dataclasses.asdict(value) for name, value in {**read(path), **measured}.items()}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_sealed_json(path, both)
