"""Data sets as people bring them, made up at random: links, stray files, encodings, thin images, objects that do not count, and
exporters that are wrong throughout."""

from __future__ import annotations

import json
import os
import pathlib
import random
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from scripts.fuzz.commands import RUN_FILES, Refused, command, done, refused
from scripts.fuzz.kind import Scene
from stagetrain.errors import EXIT_BAD_INPUT
from tests.brought import sets
from tests.fakes import project


def links(folder: pathlib.Path, draw: random.Random) -> None:
    """A data set whose files and folders are links reads like one that is plain; a link that leads nowhere is a fault."""
    plain = _data_set(folder / 'plain', draw)
    digest = _digest(folder, plain)
    linked = folder / 'linked' / plain.relative_to(folder / 'plain')
    shutil.copytree(folder / 'plain', folder / 'linked', symlinks=True)
    paths = sorted(path for path in (folder / 'linked').rglob('*') if path.name != 'classes.csv')
    for number, path in enumerate(draw.sample(paths, min(len(paths), draw.choice((1, 2, 5))))):
        if os.path.lexists(path) and not any(parent.is_symlink() for parent in path.parents):
            target = folder / 'disk' / f'{number}{path.suffix}'
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
            path.symlink_to(target if draw.random() < 0.5 else os.path.relpath(target, path.parent))
    assert _digest(folder, linked) == digest
    images = [path for path in (folder / 'linked').rglob('*.jpg') if not any(parent.is_symlink() for parent in path.parents)]
    if images and draw.random() < 0.5:
        image = draw.choice(images)
        image.unlink()
        image.symlink_to(draw.choice(('nowhere.jpg', image.name, '/dev/null', folder)))
        raise Refused(f'{folder}: {refused(folder, "data", "check", linked, names=image.name)}')


ENCODINGS = ('utf-8', 'ascii', 'latin-1', 'cp1252', 'utf-16', 'utf-8-sig', 'utf-16-le', 'utf-32')
"""Of a text file."""
STRAYS = (
    '.DS_Store',
    '._1.xml',
    '._1.jpg',
    'Thumbs.db',
    'desktop.ini',
    '.hidden.json',
    '.ipynb_checkpoints/1.xml',
    '@eaDir/1.jpg',
)
STRAYS += ('__MACOSX/._1.xml', '1.xml~', '.1.xml.swp', '.git/HEAD', 'README.md', 'empty/')


def strays(folder: pathlib.Path, draw: random.Random) -> None:
    """Files that systems and editors leave in a data set change nothing."""
    place = _data_set(folder / 'data', draw)
    digest = _digest(folder, place)
    folders = [folder / 'data', *(path for path in (folder / 'data').rglob('*') if path.is_dir())]
    for name in draw.sample(STRAYS, draw.choice((1, 3, 6))):
        path = draw.choice(folders) / name
        if name.endswith('/'):
            path.mkdir(exist_ok=True)
        else:
            sets.write(path, b'\x00\x05\x16\x07\x00\x02\xff\xfe')
    assert _digest(folder, place) == digest


def encodings(folder: pathlib.Path, draw: random.Random) -> None:
    """A text file in another encoding reads as it does in UTF-8, or is refused by name."""
    place = _data_set(folder / 'data', draw, 'Zähler')
    digest = _digest(folder, place)
    texts = [path for path in (folder / 'data').rglob('*') if path.suffix in ('.json', '.csv', '.xml', '.txt')]
    path = draw.choice(texts)
    content = path.read_text(encoding='utf-8')
    if draw.random() < 0.5:
        content = content.replace('\n', '\r\n')
    encoding = draw.choice(ENCODINGS)
    if path.suffix == '.xml' and draw.random() < 0.5:
        content = f'<?xml version="1.0" encoding="{encoding}"?>\n{content}'
    path.write_bytes(content.encode(encoding, 'replace'))
    if b'?' in path.read_bytes().replace(b'?>', b'').replace(b'<?', b''):
        digest = ''  # A letter is lost: another name was written.
    code, said = command(folder, 'data', 'check', place, '--json', folder / 'r.json')
    if code == EXIT_BAD_INPUT:
        assert path.name in said or path.stem in said, said
        raise Refused(f'{folder}: {said}')
    assert digest in ('', json.loads((folder / 'r.json').read_text())['sets'][0]['digest']), said


def _data_set(folder: pathlib.Path, draw: random.Random, name: str = 'thing') -> pathlib.Path:
    """Writes a sound data set of three images in some format; returns what is given to commands."""
    kind = draw.choice(('voc', 'coco', 'csv'))
    ids = ['1', 'sub/2', '3']
    if kind == 'voc':
        return sets.voc(folder, ids if draw.random() < 0.5 else ['1', '2', '3'], sets.voc_object(name=name))
    if kind == 'coco':
        return sets.coco(folder / 'a.json', {f'{image}.jpg': [[5, 5, 20, 20]] for image in ids}, [name])
    sets.csv(
        folder / 'b.csv', [f'{image}.jpg,10,5,40,30,{name}' for image in ids], [f'{image}.jpg' for image in ids], f'{name},0\n'
    )
    return folder / 'b.csv'


def _digest(folder: pathlib.Path, place: pathlib.Path) -> str:
    done(folder, 'data', 'check', place, '--json', folder.parent / 'digest.json')
    report = json.loads((folder.parent / 'digest.json').read_text())
    return str(report['sets'][0]['digest'])


def thin(folder: pathlib.Path, draw: random.Random) -> None:
    """An image of any shape is read, and shown to a network whole: no side is lost."""
    width, height = draw.choice((1, 2, 3, 7)), draw.choice((1, 2, 50, 999, 4000))
    if draw.random() < 0.5:
        width, height = height, width
    box = sets.voc_object((0, 0, width, height))
    sets.voc(folder / 'data', ['1', '2'], box)
    sets.image(folder / 'data' / 'JPEGImages' / '1.jpg', width, height)
    sets.write(folder / 'data' / 'Annotations' / '1.xml', sets.voc_xml('1.jpg', box, width, height))
    sets.write(folder / 'data' / 'Annotations' / '2.xml', sets.voc_xml('2.jpg'))
    done(folder, 'data', 'check', folder / 'data')
    _show(width, height, draw)


def _show(width: int, height: int, draw: random.Random) -> None:
    import tensorflow as tf

    from stagetrain.images import geometry

    shape = geometry.Geometry(
        height=draw.choice((32, 64, 200)),
        width=draw.choice((32, 64, 200)),
        stride=32,
        preprocessing='model_garden',
        flip_horizontal=False,
        flip_vertical=False,
        scale_min=1.0,
        scale_max=1.0,
        max_num_instances=8,
        shorter_side=draw.choice((None, 32)),
    )
    size, view = tf.constant([height, width], tf.float32), geometry.plain_view()
    scaled = shape.placement(view, size)[0].numpy()
    assert (scaled >= 1).all(), scaled
    box = shape.place_boxes(tf.concat([[0.0, 0.0], size], axis=0)[None], view, size).numpy()[0]
    assert (box[2:] > box[:2]).all(), box


def uncounted(folder: pathlib.Path, draw: random.Random) -> None:
    """Crowds, difficult objects and such as are no larger than a pixel teach nothing: with them alone nothing is trained."""
    made = project.make_project(folder)
    text = made.config.read_text()
    is_empty = {}
    for part, split in (('train', 'trainval'), ('validation', 'test')):
        objects = [_object(draw) for _ in range(draw.choice((1, 2, 4)))]
        is_empty[part] = not any(counts for _, counts in objects)
        _counting(folder / part / 'a.json', [values for values, _ in objects], draw)
        text = text.replace(
            f'{part}: {{format: voc, path: data, split: {split}}}', f'{part}: {{format: coco, path: {part}/a.json}}'
        )
    made.config.write_text(text)
    if is_empty['train']:
        said = refused(folder, 'run', 'four.yaml', '--run_dir', 'run', names='data.train', changes=RUN_FILES)
        assert not (folder / 'run' / 'stages').exists() or not list((folder / 'run' / 'stages').iterdir()), said
        raise Refused(f'{folder}: {said}')
    said = done(folder, 'run', 'four.yaml', '--run_dir', 'run', changes=RUN_FILES)
    assert ('no metric' in said) == is_empty['validation'], said
    done(folder, 'status', 'run')


def _object(draw: random.Random) -> tuple[dict[str, Any], bool]:
    """Returns the keys of a COCO annotation that differ from a plain one, and whether it counts."""
    return draw.choice(
        (
            ({}, True),
            ({'iscrowd': 1}, False),
            ({'iscrowd': 1}, False),
            ({'difficult': 1}, False),
            ({'iscrowd': 1, 'difficult': 1}, False),
        )
    )


def _counting(file: pathlib.Path, objects: Sequence[dict[str, Any]], draw: random.Random) -> None:
    sets.coco(file, {f'{file.parent.name}{number}.jpg': [[5, 5, 20, 20]] for number in range(len(objects))})
    found = json.loads(file.read_text())
    for annotation, values in zip(found['annotations'], objects, strict=True):
        annotation.update(values)
    draw.shuffle(found['annotations'])
    file.write_text(json.dumps(found))


EXPORTERS: dict[str, Callable[[float, float, float, float], list[float]]] = {
    'corners': lambda x, y, w, h: [x, y, x + w, y + h],
    'centres': lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    'fractions': lambda x, y, w, h: [x / sets.WIDTH, y / sets.HEIGHT, w / sets.WIDTH, h / sets.HEIGHT],
    'axes exchanged': lambda x, y, w, h: [y, x, h, w],
    'negative': lambda x, y, w, h: [x, y, -w, -h],
    'thousands': lambda x, y, w, h: [1000 * x, 1000 * y, 1000 * w, 1000 * h],
    'text': lambda x, y, w, h: [str(value) for value in (x, y, w, h)],  # type: ignore[misc]
    'three numbers': lambda x, y, w, h: [x, y, w],
    'a polygon': lambda x, y, w, h: [x, y, x + w, y, x + w, y + h, x, y + h],
    'nothing': lambda x, y, w, h: [],
    'not a number': lambda x, y, w, h: [float('nan'), y, w, h],
}


def exporters(folder: pathlib.Path, draw: random.Random) -> None:
    """Boxes that are wrong throughout: the report comes, on the terminal and as JSON, and agrees with itself."""
    boxes = [[draw.uniform(20, 40), draw.uniform(15, 30), draw.uniform(5, 20), draw.uniform(5, 15)] for _ in range(6)]
    change = EXPORTERS[draw.choice(sorted(EXPORTERS))]
    wrong = [change(*box) for box in boxes]
    sets.coco(folder / 'a.json', {f'{number}.jpg': boxes[2 * number : 2 * number + 2] for number in range(3)})
    found = json.loads((folder / 'a.json').read_text())
    for annotation, box in zip(found['annotations'], wrong, strict=True):
        annotation['bbox'] = box
    (folder / 'a.json').write_text(json.dumps(found))
    code, said = command(folder, 'data', 'check', 'a.json', '--json', 'r.json')
    report = json.loads((folder / 'r.json').read_text())
    num_faults = sum(len(one['faults']) for one in report['sets'])
    assert f'{num_faults} faults' in said and (code == EXIT_BAD_INPUT) == bool(num_faults), said
    assert json.loads((folder / 'r.json').read_text()) and 'a.json' in said
    if code == EXIT_BAD_INPUT:
        raise Refused(f'{folder}: {said}')


SCENES = {
    'links': Scene(links),
    'strays': Scene(strays),
    'encodings': Scene(encodings),
    'thin': Scene(thin, needs_tensorflow=True),
    'uncounted': Scene(uncounted),
    'exporters': Scene(exporters),
}
