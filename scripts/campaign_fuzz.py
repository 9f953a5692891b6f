"""Gives stagetrain damaged and hostile files, and what people bring: each is used correctly, or refused by name.

    python scripts/campaign_fuzz.py --cases=2000 --seed=0
    python scripts/campaign_fuzz.py --cases=300 --kinds=voc,csv

A case is a valid file changed at random (bits, bytes, pieces, numbers, keys), or a scene made up at random: places for output,
names, links, stray files, thin images, objects that do not count, exporters that are wrong throughout. It is used in a process of
its own, with at most 10 s of computing and 2 GB more memory than before. The bombs (huge pictures, entities, aliases, deep
nesting, false shapes) are among the cases. What ends in a traceback, a signal, the time limit or the memory limit, is refused
without the file's name, or changes a file that was there has failed.

Prints one JSON object; the exit code is 1 when a case failed.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # Run from a clone, nothing need be installed.

from scripts.fuzz import data_sets, pipeline_files, places, processes, run_files, scenes, templates, weight_files
from scripts.fuzz.kind import Bomb, Kind, Scene
from scripts.fuzz.mutations import mutate
from stagetrain.config import load, specs
from stagetrain.workers.environment import prepare_environment

KINDS: dict[str, Kind | Scene] = {
    **pipeline_files.KINDS,
    **data_sets.KINDS,
    **weight_files.KINDS,
    **run_files.KINDS,
    **scenes.SCENES,
    **places.SCENES,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """One of the campaign: `prepare` and `use` as `processes.carry_out` takes them, once it is given its folder."""

    kind: str
    title: str
    prepare: Callable[[pathlib.Path], pathlib.Path]
    use: Callable[[pathlib.Path], None]

    @property
    def needs_tensorflow(self) -> bool:
        """Whether its process needs TensorFlow."""
        return KINDS[self.kind].needs_tensorflow


def main() -> int:
    """Runs the campaign and returns the exit code."""
    options = _options()
    kinds = [name for name in KINDS if not options.kinds or name in options.kinds.split(',')]
    work = pathlib.Path(tempfile.mkdtemp(prefix='campaign-fuzz-', dir=options.work_dir))
    prepare_environment()
    templates.make(work)
    load.load_pipeline(pipeline_files.make_pipeline(empty_folder(work / 'warm')))  # Types are made once, not in every process.
    cases = sorted([*bombs(kinds, work), *drawn(kinds, options.cases, options.seed)], key=lambda case: case.needs_tensorflow)
    started = time.monotonic()
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    failures = []
    for case in cases:
        outcome, said = carried_out(case, work / 'case')
        counts[case.kind, outcome] += 1
        if outcome not in ('used', 'refused'):
            failures.append({'kind': case.kind, 'case': case.title, 'outcome': outcome, 'said': said[-1500:]})
        if options.verbose or outcome not in ('used', 'refused'):
            print(f'{case.kind}, {case.title}: {outcome}: {said[-700:]}', file=sys.stderr, flush=True)
    by_kind = {name: {outcome: count for (kind, outcome), count in sorted(counts.items()) if kind == name} for name in kinds}
    report = {'cases': len(cases), 'failed': len(failures), 'seconds': round(time.monotonic() - started, 1), 'kinds': by_kind}
    print(json.dumps({**report, 'failures': failures[:20]}, indent=1))
    shutil.rmtree(work)
    return 1 if failures else 0


def bombs(kinds: Sequence[str], work: pathlib.Path) -> Iterator[Case]:
    """Yields every hostile file of some kinds."""
    for name in kinds:
        kind = KINDS[name]
        if isinstance(kind, Kind):
            for title, bomb in kind.bombs.items():
                yield _damaged(name, kind, f'bomb {title}', lambda _, bomb=bomb: _made(bomb, work))


def _made(bomb: Bomb, work: pathlib.Path) -> bytes:
    return bomb(empty_folder(work / 'bomb'))


def drawn(kinds: Sequence[str], count: int, seed: int) -> Iterator[Case]:
    """Yields `count` random cases; a case is the same whatever other kinds are drawn from beside it."""
    weights = [KINDS[name].weight for name in kinds]
    for number, name in enumerate(random.Random(seed).choices(kinds, weights, k=count)):
        draw, kind, title = random.Random(f'{seed}/{number}'), KINDS[name], f'case {number}'
        if isinstance(kind, Kind):
            yield _damaged(name, kind, title, lambda content, draw=draw: mutate(content, draw))
        else:
            yield Case(name, title, lambda folder: folder, lambda folder, kind=kind, draw=draw: kind.play(folder, draw))


def _damaged(name: str, kind: Kind, title: str, change: Callable[[bytes], bytes]) -> Case:
    def prepare(folder: pathlib.Path) -> pathlib.Path:
        path = kind.make(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return Case(name, title, prepare, kind.use)


def carried_out(case: Case, folder: pathlib.Path) -> tuple[str, str]:
    """Returns a case's outcome and what was said; its folder is removed."""
    if case.needs_tensorflow:
        specs.load_implementation('stagetrain.weights.sources:read_keras_h5')
    outcome, said = processes.carry_out(folder, lambda: case.prepare(folder), case.use)
    if (folder / 'marker').exists():
        outcome = 'code in it was run'
    shutil.rmtree(folder)
    folder.with_name(f'{folder.name}.txt').unlink(missing_ok=True)
    return outcome, said


def empty_folder(path: pathlib.Path) -> pathlib.Path:
    """Returns an empty folder."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', type=int, default=2000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--kinds', default='', help=f'some of {",".join(KINDS)}; default: all')
    parser.add_argument('--verbose', action='store_true')
    parser.add_argument('--work_dir', help='where to work; default: the temporary folder')
    return parser.parse_args()


if __name__ == '__main__':
    sys.exit(main())
