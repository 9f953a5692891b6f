"""Jobs: what the parent asks of a child, as types; `answers` has what the child says.

    files.write_json(folder / 'job.json', job_making.stage_job(plan, stage, directory, folder).to_json())
    job = jobs.read_job(folder / 'job.json')          # in the child, once; everything behind it works on this value

A job file holds all that is needed to carry the job out.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

from stagetrain import files
from stagetrain.errors import DamagedFile


@dataclasses.dataclass(frozen=True)
class ModuleOrigin:
    """Where a module's weights are read from."""

    kind: str
    """`stage`, `fresh`, `run` (a stage of another run directory), or a registered kind of weight file."""
    path: str | None = None
    """The checkpoint's folder or the weight file; None for `fresh`."""
    stage: str | None = None
    """The stage whose checkpoint it is."""
    digest: str | None = None
    """Of the module in that stage, or of the file."""
    skip_mismatch: bool = False
    """Whether variables that the source lacks, or has in another shape, stay fresh."""
    rules: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Pattern of a name in the file -> template of the canonical name."""
    require: float | None = None
    """With `skip_mismatch`: the least share of the module's variables that must be found."""
    class_order: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """How each class is taken by its name; see `class_lists.taking`."""

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is a stage's committed checkpoint: of this run, or of another."""
        return self.kind in ('stage', 'run')


FRESH = ModuleOrigin('fresh')
"""A module keeps its initial values."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What all jobs have."""

    kind: ClassVar[str]

    run_dir: str
    """The run directory, absolute."""
    pipeline: Mapping[str, Any]
    """The resolved pipeline; `load.load_resolved` reads it."""
    flags: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)
    """Flags of absl and of plugins that were given to the parent, as words of a command line."""

    def to_json(self) -> dict[str, Any]:
        """Returns the content of a job file."""
        return {'kind': self.kind, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class CheckJob(Job):
    """Applies every stage's scopes to the model's real names and reads the names of all sources, before the first step."""

    kind = 'check'

    sources: Mapping[str, ModuleOrigin] = dataclasses.field(default_factory=dict)
    """Name of a source -> where it is read from."""


@dataclasses.dataclass(frozen=True)
class SpeedJob(Job):
    """Measures how fast stages are carried out here. The result holds a `speed.Speed` for each, as a mapping."""

    kind = 'speed'

    stages: tuple[str, ...] = ()
    """Ids."""


@dataclasses.dataclass(frozen=True)
class WorkJob(Job):
    """What jobs that compute for a stage have."""

    id: str
    """The stage's id."""
    stage: Mapping[str, Any]
    """The resolved stage."""
    fingerprint: str
    parts: Mapping[str, Any]
    """What the fingerprint was taken of."""
    origins: Mapping[str, ModuleOrigin]
    """Module -> where its weights are read from."""


@dataclasses.dataclass(frozen=True)
class StageJob(WorkJob):
    """Carries a stage out; one whose last step is done already is evaluated only."""

    kind = 'train'

    num_steps: int
    """Optimizer steps from the stage's sources to its end."""
    folder: str
    """Where the stage is trained, absolute."""
    mixed_versions: tuple[str, ...] = ()
    """Packages that changed while the stage was half-done."""
    extended: tuple[str, ...] = ()
    """What an undisturbed run would have done otherwise in steps that were kept."""
    artefacts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Kind of artefact -> the committed folder, absolute."""
    teachers: Mapping[str, Mapping[str, ModuleOrigin]] = dataclasses.field(default_factory=dict)
    """Loss term -> module of the network that it compares with -> where its weights are read from."""
    made_of: Mapping[str, Mapping[str, ModuleOrigin]] = dataclasses.field(default_factory=dict)
    """Of a stage that does not train: id of a stage whose result it is made of -> module -> where its weights are read from."""


@dataclasses.dataclass(frozen=True)
class ArtefactJob(WorkJob):
    """Makes an artefact of the modules in `origins`. `id` and `stage` are of the stage that reads it."""

    kind = 'artefact'

    artefact: str
    """The registered kind."""
    maker: Mapping[str, Any]
    """The resolved stage that the artefact is made of; its network is built."""
    folder: str
    """Where the artefact is committed, absolute."""


@dataclasses.dataclass(frozen=True)
class RecordedJob:
    """What is read of a stage's job file after it was carried out, also where an older version wrote it."""

    fingerprint: str
    parts: Mapping[str, Any]
    stage: Mapping[str, Any]
    """The resolved stage."""
    artefacts: tuple[str, ...]
    """The folders that it read."""
    mixed_versions: tuple[str, ...]
    extended: tuple[str, ...]


def read_job(path: pathlib.Path) -> Job:
    """Reads a job file.

    Raises:
      RunDirectoryError: it cannot be read.
      DamagedFile: it is not a job of this version.
    """
    return job_from_json(files.read_json(path), str(path))


def recorded_job(path: pathlib.Path) -> RecordedJob:
    """Reads the job file of a stage that was begun, by this version or an older one.

    Raises:
      RunDirectoryError: it cannot be read.
      DamagedFile: it is no job of a stage.
    """
    job = files.read_json(path)
    try:
        # Version 1.0 knew no artefact but proposals.
        folders = job['artefacts'].values() if 'artefacts' in job else filter(None, [job.get('proposals')])
        marks = (tuple(job.get(name, ())) for name in ('mixed_versions', 'extended'))
        return RecordedJob(job['fingerprint'], job['parts'], job['stage'], tuple(folders), *marks)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(
            f'{path}: not the job file of a stage: {error!r}; expected the keys fingerprint, parts and stage. To start the stage '
            f'from its sources again, remove the folder {path.parent}'
        ) from error


def job_from_json(value: Mapping[str, Any], place: str = 'job') -> Job:
    """Returns the job that `Job.to_json` described; raises `DamagedFile` with `place` for anything else."""
    types = {job.kind: job for job in (CheckJob, SpeedJob, StageJob, ArtefactJob)}
    try:
        fields = {name: item for name, item in value.items() if name != 'kind'}
        for name in {'origins', 'sources'} & set(fields):
            fields[name] = _origins(fields[name])
        for name in {'teachers', 'made_of'} & set(fields):
            fields[name] = {key: _origins(modules) for key, modules in fields[name].items()}
        for marks in {'flags', 'mixed_versions', 'extended', 'stages'} & set(fields):
            fields[marks] = tuple(fields[marks])
        return types[value['kind']](**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(
            f'{place}: not a job file of this version: {error!r}; run the same command again, which writes it anew'
        ) from error


def _origins(given: Mapping[str, Mapping[str, Any]]) -> dict[str, ModuleOrigin]:
    return {name: ModuleOrigin(**origin) for name, origin in given.items()}
