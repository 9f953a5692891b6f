"""Where people want output, what they call their folders, and what became of finished runs, made up at random."""

from __future__ import annotations

import pathlib
import random
import shutil
from collections.abc import Sequence

from scripts.fuzz import templates
from scripts.fuzz.commands import RUN_FILES, Refused, command, done
from scripts.fuzz.kind import Scene
from scripts.fuzz.mutations import mutate
from stagetrain.errors import EXIT_BAD_INPUT, EXIT_DONE
from tests.brought import sets
from tests.fakes import project

PLACES = (
    'none/deep',
    'file',
    'file/below',
    'folder',
    'full/',
    'dead',
    '/proc/x',
    '/dev/null',
    '/dev/full',
    '',
    '.',
    '..',
    'n' * 300,
)
"""Where somebody wants output: `full` holds a file, `dead` is a link that leads nowhere."""
NAME_PIECES = (
    'a',
    'B',
    '7',
    ' ',
    '[0.1]',
    '[',
    ']',
    '*',
    '?',
    '{x}',
    '$HOME',
    '%s',
    "'",
    '"',
    '#',
    '&',
    ';',
    ',',
    ':',
    '=',
    '\\',
    '-x',
)
NAME_PIECES += ('~', '\n', '\t', '\x1b[31m', 'é', '细胞', '\udcff', '.', '..', '...', '\u202e', '[bold]')
ENCODINGS = ('utf-8', 'ascii', 'latin-1', 'cp1252')
"""Of a terminal."""


def outputs(folder: pathlib.Path, draw: random.Random) -> None:
    """Output is wanted where it can be written, or is refused without a file being touched."""
    shutil.copytree(templates.finished_run(), folder, dirs_exist_ok=True)
    sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]]})
    for name in ('file', 'full/mine.txt'):
        sets.write(folder / name, 'mine')
    (folder / 'folder').mkdir()
    (folder / 'dead').symlink_to('nowhere/at/all')
    place = draw.choice(PLACES)
    verbs: Sequence[tuple[object, ...]] = (
        ('data', 'check', 'a.json', '--json', place),
        ('data', 'convert', 'a.json', '--to', draw.choice(('coco', 'csv', 'tfrecord', 'voc')), '--processes', 1, '--out', place),
        ('run', 'four.yaml', '--run_dir', place),
        ('plan', 'four.yaml', '--run_dir', place),
    )
    code, said = command(folder, *draw.choice(verbs), changes=('calls.jsonl', 'checks.jsonl'))
    _assert_alone(folder)
    if code == EXIT_BAD_INPUT:
        raise Refused(f'{folder}: {said}')


def _assert_alone(folder: pathlib.Path) -> None:
    left = [path.name for path in folder.rglob('.tmp*')]
    assert not left, f'left behind: {left}'


def names(folder: pathlib.Path, draw: random.Random) -> None:
    """Data, pipeline and run directory lie in a folder of any name; output goes to any encoding."""
    place = folder / _name(draw)
    sets.voc(place / 'data', ['1', '2'])
    sets.voc(place / 'data', ['3'], split='test')
    sets.write(place / 'weights.h5', 'weights')
    sets.write(place / 'four.yaml', project.PIPELINE)
    arguments = draw.choice(
        (
            ('data', 'check', place / 'data', '--json', place / 'r.json'),
            (
                'data',
                'convert',
                place / 'data',
                '--to',
                draw.choice(('coco', 'voc', 'tfrecord')),
                '--processes',
                1,
                '--out',
                place / 'o',
            ),
            ('plan', place / 'four.yaml', '--run_dir', place / 'r'),
            ('check', place / 'four.yaml'),
            ('run', place / 'four.yaml', '--run_dir', place / 'run'),
        )
    )
    encoding = draw.choice(ENCODINGS)
    done(folder, *arguments, encoding=encoding)
    if arguments[0] == 'run':
        done(folder, 'status', place / 'run', encoding=encoding)
        assert 'all 4 stages are up to date' in done(folder, *arguments, encoding=encoding, changes=('*/run/*', '*.jsonl'))


def _name(draw: random.Random) -> str:
    while True:
        name = ''.join(draw.choices(NAME_PIECES, k=draw.choice((1, 2, 3, 5)))).lstrip('-')
        if name not in ('', '.', '..'):
            return name


def rotten(folder: pathlib.Path, draw: random.Random) -> None:
    """A finished run one of whose files has rotted, in every verb that reads it."""
    shutil.copytree(templates.finished_run(), folder, dirs_exist_ok=True)
    path = draw.choice(sorted(path for path in (folder / 'run').rglob('*') if path.is_file()))
    _rot(path, draw)
    codes = []
    for arguments in (
        ('status', 'run'),
        ('verify', 'run', '--files_only'),
        ('plan', 'four.yaml', '--run_dir', 'run'),
        ('compare', 'run'),
        ('eval', 'run', '--stage', 'rpn_1'),
        ('run', 'four.yaml', '--run_dir', 'run'),
        ('clean', 'run'),
    ):
        codes.append(command(folder, *arguments, changes=('run', *RUN_FILES))[0])
    if any(code != EXIT_DONE for code in codes):
        raise Refused(f'{folder}: exit codes {codes}')


def _rot(path: pathlib.Path, draw: random.Random) -> None:
    content = path.read_bytes()
    how = draw.choice(('mutate', 'mutate', 'empty', 'gone', 'folder', 'dead link'))
    path.unlink()
    if how == 'mutate':
        path.write_bytes(mutate(content, draw))
    elif how == 'empty':
        path.touch()
    elif how == 'folder':
        path.mkdir()
    elif how == 'dead link':
        path.symlink_to('nowhere')


SCENES = {'outputs': Scene(outputs, weight=2), 'names': Scene(names, weight=2), 'rotten': Scene(rotten)}
