"""Gives stagetrain damaged and hostile files: each is used correctly, or refused with a message that names it.

    python scripts/campaign_fuzz.py --cases=2000 --seed=0
    python scripts/campaign_fuzz.py --cases=300 --kinds=voc,csv

Every case is a valid file, changed at random (bits, bytes, pieces, numbers, keys) and read in a process of its own with at most
10 s of computing and 2 GB more memory than before; the bombs (`BOMBS`: huge pictures, entities, aliases, deep nesting, false
shapes) are among them. What ends in a traceback, a signal, the time limit or the memory limit, or is refused without the file's
name, has failed. Prints one JSON object; the exit code is 1 when a case failed.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import io
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # Run from a clone, nothing need be installed.

import numpy as np
import PIL.Image

from stagetrain import files
from stagetrain.config import check, load, schema, specs
from stagetrain.data import index, tf_example
from stagetrain.data.crc32c import masked_crc32c
from stagetrain.errors import EXIT_BAD_INPUT, StagetrainError
from stagetrain.pipeline.file_checks import verify
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers.environment import prepare_environment

SECONDS = 10
WALL_SECONDS_PER_SECOND = 12
"""A machine that is busy with other things gives a process its seconds late."""
BYTES = 2 << 30
CLASSES = ('cat', 'dog')
USED, REFUSED, TRACEBACK, UNNAMED, WRONG_CODE = 0, 10, 11, 12, 13
OUTCOMES = {USED: 'used', REFUSED: 'refused', TRACEBACK: 'traceback', UNNAMED: 'file not named', WRONG_CODE: 'exit code not 2'}
NASTY = (b'nan', b'-1', b'0', b'1e999', b'99999999999999999999', b'-inf', b'', b'null', b'[]', b'{}', b'"', b'\x00', b'\xff\xfe')
NASTY += (
    b'../../../etc/passwd',
    b'/etc/passwd',
    b'${HOME}',
    b'$(touch marker)',
    b'!!python/object/apply:os.system [touch marker]',
)

XML = (
    '<annotation><filename>a.jpg</filename><size><width>60</width><height>40</height><depth>3</depth></size>'
    '<object><name>cat</name><difficult>0</difficult><bndbox><xmin>10</xmin><ymin>5</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>'
    '</object><object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>39</ymax></bndbox></object></annotation>'
)
CSV = 'a.jpg,10,5,40,30,cat\na.jpg,1,2,30,39,dog\nb.jpg,,,,,\n'


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file: `make` writes a valid one, and what it needs beside it; `use` reads it as stagetrain does."""

    make: Callable[[pathlib.Path], pathlib.Path]
    use: Callable[[pathlib.Path], None]
    needs_tensorflow: bool = False


def picture(size: tuple[int, int] = (60, 40), kind: str = 'JPEG') -> bytes:
    """Returns a picture of noise; size is (width, height)."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def make_voc(folder: pathlib.Path) -> pathlib.Path:
    """A VOC data set of two images; returns the annotation of one."""
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    for name in ('a', 'good'):
        (folder / 'JPEGImages' / f'{name}.jpg').write_bytes(picture())
        (folder / 'Annotations' / f'{name}.xml').write_text(XML.replace('a.jpg', f'{name}.jpg'))
    (folder / 'ImageSets' / 'Main' / 'train.txt').write_text('a\ngood\n')
    return folder / 'Annotations' / 'a.xml'


def make_coco(folder: pathlib.Path) -> pathlib.Path:
    """A COCO JSON of two images."""
    for name in ('a', 'b'):
        (folder / f'{name}.jpg').write_bytes(picture())
    images = [{'id': n, 'file_name': f'{name}.jpg', 'width': 60, 'height': 40} for n, name in enumerate('ab', start=1)]
    categories = [{'id': n, 'name': name} for n, name in enumerate(CLASSES, start=1)]
    boxes = [{'id': n, 'image_id': n, 'category_id': n, 'bbox': [5, 5, 20, 20], 'iscrowd': 0, 'area': 400} for n in (1, 2)]
    (folder / 'a.json').write_text(json.dumps({'images': images, 'annotations': boxes, 'categories': categories}))
    return folder / 'a.json'


def make_csv(folder: pathlib.Path) -> pathlib.Path:
    """A CSV of two images."""
    for name in ('a', 'b'):
        (folder / f'{name}.jpg').write_bytes(picture())
    (folder / 'classes.csv').write_text('cat,0\ndog,1\n')
    (folder / 'boxes.csv').write_text(CSV)
    return folder / 'boxes.csv'


def framed(data: bytes) -> bytes:
    """Returns a record of a TFRecord file."""
    length = struct.pack('<Q', len(data))
    return length + struct.pack('<I', masked_crc32c(length)) + data + struct.pack('<I', masked_crc32c(data))


def record(name: str, encoded: bytes) -> bytes:
    """Returns a serialized Example with one box."""
    message = tf_example.example_class()()
    values = {'encoded': [encoded], 'height': [40], 'width': [60], 'source_id': [name.encode()], 'object/class/label': [1]}
    corners = {
        f'object/bbox/{edge}': [value] for edge, value in zip(('ymin', 'xmin', 'ymax', 'xmax'), (0.1, 0.2, 0.7, 0.8), strict=True)
    }
    for key, value in (values | corners).items():
        kind = {bytes: 'bytes_list', float: 'float_list', int: 'int64_list'}[type(value[0])]
        getattr(message.features.feature[f'image/{key}'], kind).value.extend(value)
    return bytes(message.SerializeToString())


def make_tfrecord(folder: pathlib.Path) -> pathlib.Path:
    """A TFRecord of two images."""
    (folder / 'a.tfrecord').write_bytes(b''.join(framed(record(name, picture())) for name in 'ab'))
    return folder / 'a.tfrecord'


def make_tfrecord_message(folder: pathlib.Path) -> pathlib.Path:
    """Two Examples without frames; `use_tfrecord_message` frames what became of the first."""
    (folder / 'a.message').write_bytes(record('a', picture()))
    return folder / 'a.message'


def make_image(kind: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """A VOC data set whose damaged part is an image."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        make_voc(folder)
        path = folder / 'JPEGImages' / 'a.jpg'
        path.write_bytes(picture(kind=kind))
        return path

    return make


def use_data(
    format_name: str, path: Callable[[pathlib.Path], pathlib.Path], split: str | None = None
) -> Callable[[pathlib.Path], None]:
    """Returns what reads a data set, leaving bad items out, and refuses them as `on_bad: error` does when there are any."""

    def use(damaged: pathlib.Path) -> None:
        source = schema.DataSource(format=format_name, path=str(path(damaged)), split=split)
        given = {
            'classes': list(CLASSES),
            'train': source.model_dump(),
            'validation': source.model_dump(),
            'max_image_pixels': 10**6,
        }
        dataset = index.load_dataset(source, schema.Data.model_validate({**given, 'on_bad': 'skip'}), 'train', None)
        for example in dataset.examples:
            _require_sound(example)
        if dataset.bad:
            index.load_dataset(source, schema.Data.model_validate({**given, 'on_bad': 'error'}), 'train', None)
            raise AssertionError('bad items were counted and not refused')

    return use


def _require_sound(example: object) -> None:
    boxes, size = example.boxes_yxyx_px, np.array([example.height, example.width] * 2)  # type: ignore[attr-defined]
    assert np.isfinite(boxes).all() and (boxes >= 0).all() and (boxes <= size).all(), boxes
    assert (boxes[:, 2:] > boxes[:, :2]).all(), boxes
    assert set(example.classes.tolist()) <= {1, 2}, example.classes  # type: ignore[attr-defined]
    with PIL.Image.open(io.BytesIO(example.read_bytes())) as image:  # type: ignore[attr-defined]
        image.load()
        assert (image.height, image.width) == (example.height, example.width)  # type: ignore[attr-defined]


def use_tfrecord_message(damaged: pathlib.Path) -> None:
    """Reads a damaged Example in a sound frame."""
    path = damaged.with_name(damaged.name + '.tfrecord')
    path.write_bytes(framed(damaged.read_bytes()) + framed(record('good', picture())))
    use_data('tfrecord', lambda given: given)(path)


def make_pipeline(folder: pathlib.Path) -> pathlib.Path:
    """A pipeline file."""
    from tests.fakes import project

    path = folder / 'pipeline.yaml'
    path.write_text(project.PIPELINE)
    return path


def use_pipeline(damaged: pathlib.Path) -> None:
    """Loads and checks a pipeline file, and loads the resolved one again."""
    loaded = load.load_pipeline(damaged, environ={})
    check.check_pipeline(loaded)
    assert load.load_resolved(loaded.resolved).pipeline == loaded.pipeline


def make_h5(folder: pathlib.Path) -> pathlib.Path:
    """A Keras `.h5` of two layers."""
    import h5py

    with h5py.File(folder / 'a.h5', 'w') as file:
        file.attrs['layer_names'] = [b'conv1', b'bn']
        for layer, names in (('conv1', ('kernel:0',)), ('bn', ('gamma:0', 'beta:0'))):
            group = file.create_group(layer)
            group.attrs['weight_names'] = [f'{layer}/{name}'.encode() for name in names]
            for name in names:
                group.create_dataset(f'{layer}/{name}', data=np.arange(12, dtype=np.float32))
    return folder / 'a.h5'


def use_h5(damaged: pathlib.Path) -> None:
    """Reads the arrays."""
    from stagetrain.weights import sources

    sources.read_keras_h5(damaged)


def make_checkpoint(suffix: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """A TensorFlow checkpoint whose damaged part is the index or the data."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        shutil.copytree(_checkpoint_template(), folder, dirs_exist_ok=True)
        return folder / f'ckpt{suffix}'

    return make


def use_checkpoint(damaged: pathlib.Path) -> None:
    """Reads the arrays of a checkpoint."""
    from stagetrain.weights import sources

    sources.read_checkpoint(damaged.parent / 'ckpt')


def make_run_file(pattern: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """A finished run directory whose damaged part is the first file that a pattern names."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        shutil.copytree(_run_template(), folder, dirs_exist_ok=True)
        return min((folder / 'run').glob(pattern))

    return make


def use_run_file(damaged: pathlib.Path) -> None:
    """Reads the state as `run` and `status` do, then verifies: what changed must be found."""
    run_dir = next(parent for parent in damaged.parents if parent.name == 'run')
    directory = RunDirectory(run_dir)
    directory.config()
    directory.state()
    directory.ledger.read()
    if wrong := verify(directory).wrong:
        raise StagetrainBadRun('\n'.join(wrong))


class StagetrainBadRun(StagetrainError):
    """What `verify` found."""

    exit_code = EXIT_BAD_INPUT


_templates: dict[str, pathlib.Path] = {}


def _checkpoint_template() -> pathlib.Path:
    return _templates['checkpoint']


def _run_template() -> pathlib.Path:
    return _templates['run']


def make_templates(work: pathlib.Path) -> None:
    """Makes, once and in a process of its own, what takes long to make: a checkpoint and a finished run directory."""

    def make() -> None:
        import tensorflow as tf

        from tests.fakes import project

        tf.train.Checkpoint(a=tf.Variable(tf.range(100.0)), b=tf.Variable(tf.ones([8, 8]))).write(
            str(work / 'checkpoint' / 'ckpt')
        )
        (work / 'project').mkdir()
        made = project.make_project(work / 'project')
        made.run()

    pid = os.fork()
    if pid == 0:
        try:
            make()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, 'the templates could not be made'
    _templates.update(checkpoint=work / 'checkpoint', run=work / 'project')


KINDS = {
    'pipeline': Kind(make_pipeline, use_pipeline),
    'voc': Kind(make_voc, use_data('voc', lambda path: path.parents[1], 'train')),
    'coco': Kind(make_coco, use_data('coco', lambda path: path)),
    'csv': Kind(make_csv, use_data('csv', lambda path: path)),
    'tfrecord': Kind(make_tfrecord, use_data('tfrecord', lambda path: path)),
    'tfrecord_message': Kind(make_tfrecord_message, use_tfrecord_message),
    'jpeg': Kind(make_image('JPEG'), use_data('voc', lambda path: path.parents[1], 'train')),
    'png': Kind(make_image('PNG'), use_data('voc', lambda path: path.parents[1], 'train')),
    'h5': Kind(make_h5, use_h5, needs_tensorflow=True),
    'checkpoint_index': Kind(make_checkpoint('.index'), use_checkpoint, needs_tensorflow=True),
    'checkpoint_data': Kind(make_checkpoint('.data-00000-of-00001'), use_checkpoint, needs_tensorflow=True),
    'lock': Kind(make_run_file('pipeline.lock'), use_run_file),
    'ledger': Kind(make_run_file('ledger.jsonl'), use_run_file),
    'run_yaml': Kind(make_run_file('run.yaml'), use_run_file),
    'job': Kind(make_run_file('stages/*/job.json'), use_run_file),
    'proposals': Kind(make_run_file('stores/proposals/*/boxes'), use_run_file),
    'manifest': Kind(make_run_file('stages/*/checkpoints/*/MANIFEST.json'), use_run_file),
}
WEIGHTS = {'pipeline': 4, 'voc': 3, 'coco': 2, 'csv': 2, 'tfrecord': 1, 'jpeg': 2}
"""How often a kind is drawn; 1 for the others."""


def png_of(width: int, height: int) -> bytes:
    """Returns a PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(10**6), 9)) + chunk(b'IEND', b'')


def jpeg_of(width: int, height: int) -> bytes:
    """Returns a JPEG whose frame header claims a size."""
    content = bytearray(picture())
    place = content.index(b'\xff\xc0') + 5
    content[place : place + 4] = struct.pack('>HH', height, width)
    return bytes(content)


def _h5_bomb(folder: pathlib.Path) -> bytes:
    import h5py

    make_h5(folder)
    with h5py.File(folder / 'a.h5', 'a') as file:
        del file['conv1/conv1/kernel:0']
        file['conv1'].create_dataset(
            'conv1/kernel:0', shape=(1 << 20, 1 << 16), chunks=(1 << 10, 1 << 10), dtype='f4', compression='gzip'
        )
    return (folder / 'a.h5').read_bytes()


def _h5_external(folder: pathlib.Path) -> bytes:
    import h5py

    make_h5(folder)
    with h5py.File(folder / 'a.h5', 'a') as file:
        del file['conv1/conv1/kernel:0']
        file['conv1'].create_dataset('conv1/kernel:0', shape=(8,), dtype='u1', external=[('/etc/passwd', 0, 8)])
    return (folder / 'a.h5').read_bytes()


def _aliases() -> bytes:
    lines = (f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]' for n in range(1, 12))
    return '\n'.join(('a0: &a0 [x]', *lines)).encode()


def _entities() -> bytes:
    entities = ''.join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><annotation><filename>&e11;</filename></annotation>'.encode()


def _many_objects() -> bytes:
    first, last = XML.index('<object>'), XML.index('</annotation>')
    return (XML[:first] + XML[first:last] * 20_000 + XML[last:]).encode()


BOMBS: tuple[tuple[str, str, Callable[[pathlib.Path], bytes]], ...] = (
    ('pipeline', 'aliases', lambda _: _aliases()),
    ('pipeline', 'nested lists', lambda _: b'stages: ' + b'[' * 100_000),
    ('pipeline', 'nested mappings', lambda _: b'{a: ' * 50_000),
    ('pipeline', 'indentation', lambda _: b'\n'.join(b' ' * n + b'a:' for n in range(4000))),
    ('pipeline', 'python object', lambda _: b'model: !!python/object/apply:os.system ["touch marker"]\n'),
    ('pipeline', 'itself as base', lambda _: b'base: pipeline.yaml\n'),
    ('pipeline', 'device as base', lambda _: b'base: /dev/zero\n'),
    ('voc', 'entities', lambda _: _entities()),
    ('voc', 'external entity', lambda _: b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>'),
    ('voc', 'nested', lambda _: b'<a>' * 200_000),
    ('voc', 'path', lambda _: XML.replace('a.jpg', '/etc/passwd').encode()),
    ('voc', 'many objects', lambda _: _many_objects()),
    ('coco', 'nested', lambda _: b'[' * 200_000),
    ('coco', 'long number', lambda _: b'{"images": [' + b'9' * 100_000 + b'], "annotations": [], "categories": []}'),
    ('csv', 'long field', lambda _: b'a.jpg,' + b'1' * 1_000_000 + b',2,3,4,cat\n'),
    ('csv', 'path', lambda _: b'../../../../etc/passwd,1,2,3,4,cat\n'),
    ('tfrecord', 'length', lambda _: struct.pack('<Q', 2**62) + struct.pack('<I', masked_crc32c(struct.pack('<Q', 2**62)))),
    ('tfrecord', 'large png', lambda _: framed(record('a', png_of(60_000, 60_000)))),
    ('jpeg', '60000 x 60000', lambda _: jpeg_of(60_000, 60_000)),
    ('png', '60000 x 60000', lambda _: png_of(60_000, 60_000)),
    ('png', '999 x 1000 of little data', lambda _: png_of(999, 1000)),
    ('h5', 'false shape', _h5_bomb),
    ('h5', 'external file', _h5_external),
    ('lock', 'nested', lambda _: b'[' * 200_000),
    ('lock', 'long number', lambda _: b'{"digest": ' + b'9' * 100_000 + b'}'),
    ('ledger', 'nested', lambda _: b'[' * 200_000 + b'\n'),
    ('job', 'not a mapping', lambda _: b'[]'),
)


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Returns content with one to four random changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = draw.choice(MUTATIONS)(content, draw)
    return content


def _flip(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return content
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _drop(content: bytes, draw: random.Random) -> bytes:
    first, last = _piece(content, draw)
    return content[:first] + content[last:]


def _double(content: bytes, draw: random.Random) -> bytes:
    first, last = _piece(content, draw)
    return content[:last] + content[first:]


def _overwrite(content: bytes, draw: random.Random) -> bytes:
    first, last = _piece(content, draw)
    return content[:first] + draw.choice((bytes(last - first), draw.randbytes(last - first))) + content[last:]


def _insert(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.choice(NASTY) + content[place:]


def _token(content: bytes, draw: random.Random) -> bytes:
    """Replaces a word or a number by something nasty or by another word of the file."""
    text = content.decode('latin-1')
    words = list(_WORD.finditer(text))
    if not words:
        return _flip(content, draw)
    word = draw.choice(words)
    other = draw.choice(NASTY) if draw.random() < 0.6 else draw.choice(words)[0].encode('latin-1')
    return content[: word.start()] + other + content[word.end() :]


def _swap_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b'\n')
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b'\n'.join(lines)


def _piece(content: bytes, draw: random.Random) -> tuple[int, int]:
    first = draw.randrange(len(content) + 1)
    return first, min(len(content), first + draw.choice((1, 4, 16, 200)))


_WORD = re.compile(r'[A-Za-z_][A-Za-z_0-9]*|-?[0-9][0-9.e+-]*')
MUTATIONS = (_flip, _flip, _cut, _drop, _double, _overwrite, _insert, _token, _token, _token, _swap_lines)


def carry_out(kind: Kind, folder: pathlib.Path, change: Callable[[bytes], bytes]) -> tuple[str, str]:
    """Makes, changes and uses a file in a process of its own; returns the outcome and what was said."""
    folder.mkdir()
    answer = folder.parent / f'{folder.name}.txt'
    pid = os.fork()
    if pid == 0:
        os._exit(_use(kind, folder, change, answer))
    _, status, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    said = answer.read_text(errors='replace') if answer.exists() else ''
    if code in OUTCOMES:
        return OUTCOMES[code], said
    return 'time limit' if code in (
        -signal.SIGALRM,
        -signal.SIGXCPU,
        -signal.SIGKILL,
    ) else f'ended with {code}', f'{said} ({used.ru_maxrss >> 10} MiB)'


def _use(kind: Kind, folder: pathlib.Path, change: Callable[[bytes], bytes], answer: pathlib.Path) -> int:
    path = kind.make(folder)
    path.write_bytes(change(path.read_bytes()))
    os.chdir(folder)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    limit = _virtual_bytes() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS * WALL_SECONDS_PER_SECOND)
    try:
        kind.use(path)
        return USED
    except StagetrainError as error:
        answer.write_text(str(error))
        if error.exit_code != EXIT_BAD_INPUT:
            return WRONG_CODE
        return REFUSED if _names(path, str(error)) else UNNAMED
    except BaseException:
        answer.write_text(traceback.format_exc())
        return TRACEBACK


def _names(path: pathlib.Path, text: str) -> bool:
    """Whether a message names the file, or the folder or checkpoint that it is a part of."""
    return any(name in text for name in (path.name, str(path.parent), str(path.with_suffix(''))))


def _virtual_bytes() -> int:
    return int(pathlib.Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()


def main() -> int:
    """Runs the campaign and returns the exit code."""
    options = _options()
    kinds = [name for name in KINDS if not options.kinds or name in options.kinds.split(',')]
    work = pathlib.Path(tempfile.mkdtemp(prefix='campaign-fuzz-', dir=options.work_dir))
    prepare_environment()
    make_templates(work)
    load.load_pipeline(make_pipeline(files_folder(work / 'warm')))  # Types are made once, here, and not in every process.
    started = time.monotonic()
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    failures = []
    cases = [(name, f'bomb {title}', lambda content, bomb=bomb: bomb(files_folder(work / 'bomb'))) for name, title, bomb in BOMBS]
    draw = random.Random(options.seed)
    drawn = draw.choices(kinds, [WEIGHTS.get(name, 1) for name in kinds], k=options.cases)
    order = [case for case in cases if case[0] in kinds]
    order += [
        (name, f'case {n}', lambda content, n=n: mutate(content, random.Random(f'{options.seed}/{n}')))
        for n, name in enumerate(drawn)
    ]
    order.sort(key=lambda case: KINDS[case[0]].needs_tensorflow)  # Small processes first: their forks are cheap.
    for name, title, change in order:
        if KINDS[name].needs_tensorflow:
            specs.load_implementation('stagetrain.weights.sources:read_keras_h5')
        outcome, said = carry_out(KINDS[name], work / 'case', change)
        counts[name, outcome] += 1
        if outcome not in ('used', 'refused') or (work / 'case' / 'marker').exists():
            failures.append({'kind': name, 'case': title, 'outcome': outcome, 'said': said[-1500:]})
            print(f'{name}, {title}: {outcome}: {said[-700:]}', file=sys.stderr, flush=True)
        if options.verbose:
            print(f'{name}, {title}: {outcome}: {said[:300]}', file=sys.stderr)
        shutil.rmtree(work / 'case')
        (work / 'case.txt').unlink(missing_ok=True)
    by_kind = {name: {outcome: count for (kind, outcome), count in sorted(counts.items()) if kind == name} for name in kinds}
    report = {'cases': len(order), 'failed': len(failures), 'seconds': round(time.monotonic() - started, 1), 'kinds': by_kind}
    print(json.dumps({**report, 'failures': failures[:20]}, indent=1))
    shutil.rmtree(work)
    return 1 if failures else 0


def files_folder(path: pathlib.Path) -> pathlib.Path:
    """Returns an empty folder."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    files.fsync_folder(path)
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
