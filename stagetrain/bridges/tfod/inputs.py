"""Input readers and label maps of the Object Detection API, as `data`: TFRecords are read as they are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from stagetrain.bridges.tfod.account import Block, Kind
from stagetrain.bridges.tfod.draft import Draft
from stagetrain.data.label_map import read_label_map
from stagetrain.data.patterns import matching
from stagetrain.errors import ConfigError

GZIP_MAGIC = b'\x1f\x8b'
RECORDS = 'records'
"""The folder of uncompressed copies, beside the pipeline file."""
MISSING = 'PATH_TO_BE_CONFIGURED'
"""What the API's samples have in place of paths."""
_REFERENCE = re.compile(r'\$\{([A-Za-z_]\w*)\}|\$([A-Za-z_]\w*)|%([A-Za-z_]\w*)%')
_REMOTE = re.compile(r'[a-z][a-z0-9+.-]+://')
_PARTS = (('train', 'train_input_reader'), ('validation', 'eval_input_reader'))


def translate(draft: Draft, root: Block, num_classes: int) -> None:
    """Sets `data`: classes by the label map, records for training and validation.

    Args:
      draft: what is set.
      root: the whole file.
      num_classes: of the network.
    """
    draft.put('data.classes', [])  # First in the file.
    train, validation = root.block('train_input_reader'), _validation(root)
    label_maps = [_label_map(draft, part, name) for name, part in (('train', train), ('validation', validation))]
    _classes(draft, train, label_maps, num_classes)
    for (part, _), block, label_map in zip(_PARTS, (train, validation), label_maps, strict=True):
        _reader(draft, block, part, label_map)
    data = draft.document['data']
    if data['train']['path'] == data['validation']['path'] and data['train']['path'] != MISSING:
        validation.account.remark(validation.path, 'training and validation have the same records: AP will be too good')


def _validation(root: Block) -> Block:
    """Returns the first evaluation reader; without one that of training, and says so."""
    readers = root.blocks('eval_input_reader')
    for reader in readers[1:]:
        root.account.say(reader.path, Kind.REPORTED, 'a pipeline has one validation set: the first eval_input_reader')
        root.account.remark(reader.path, "left out; measure it with 'stagetrain eval RUN_DIR --data PATH'")
    if readers:
        return readers[0]
    root.account.remark('eval_input_reader', 'the file has none; validation reads what training reads')
    return root.block('train_input_reader')


# ---- classes ----------------------------------------------------------------------------------------------------------------


def _label_map(draft: Draft, reader: Block, part: str) -> dict[int, str] | None:
    """Returns id -> name of a reader's label map, and sets `class_file`; None where there is no such file."""
    given = reader.take('label_map_path', f'data.{part}.class_file', 'data.classes')
    if not given:
        return None
    path, is_there = resolved(draft, reader, 'label_map_path', given, f'data.{part}.class_file', '/path/to/label_map.pbtxt')
    draft.put(f'data.{part}.class_file', path)
    return read_label_map(os.path.expandvars(path)) if is_there else None


def _classes(draft: Draft, train: Block, label_maps: Sequence[dict[int, str] | None], num_classes: int) -> None:
    labels = next((labels for labels in label_maps if labels is not None), None)
    if labels is None:
        names = [f'class_{number}' for number in range(1, num_classes + 1)]
        draft.put('data.classes', names, 'stand-ins: the label map is not there')
        line = "--set 'data.classes=[FIRST, SECOND, ...]'"
        train.remark('label_map_path', f'no label map to read, so the classes are called class_1 to class_{num_classes}; {line}')
        draft.set_lines.append(line)
        return
    known = [name for number, name in labels.items() if number <= num_classes]
    beyond = [name for number, name in labels.items() if number > num_classes]
    draft.put('data.classes', known)
    if not known:
        raise ConfigError(f'{train.account.parsed.place(train.at("label_map_path"))}: no id from 1 to num_classes, {num_classes}')
    if beyond:
        draft.put('data.ignore_classes', beyond)
        train.remark('label_map_path', f'ids above num_classes ({num_classes}) are ignore_classes: {", ".join(beyond)}')
    if len(known) < num_classes:
        text = f'{len(known)} classes, num_classes is {num_classes}: the network has one output for each class that has a name'
        train.remark('label_map_path', text)
    others = [other for other in label_maps if other is not None and other != labels]
    if others:
        train.remark('label_map_path', 'training and evaluation have different label maps; classes are those of training')


# ---- records ----------------------------------------------------------------------------------------------------------------


def _reader(draft: Draft, reader: Block, part: str, label_map: dict[int, str] | None) -> None:
    target = f'data.{part}.path'
    draft.put(f'data.{part}.format', 'tfrecord')
    records = reader.block('tf_record_input_reader')
    given = records.take('input_path', target) if reader.choice() == 'tf_record_input_reader' else []
    paths = [path for path in given if path.strip()]
    if not paths:
        draft.put(target, MISSING)
        reader.account.remark(reader.path, f'names no TFRecords; --set {target}=/path/to/records-*')
        draft.set_lines.append(f'--set {target}=/path/to/records-*')
    else:
        path, is_there = resolved(draft, records, 'input_path', _joined(records, paths), target, f'/path/to/{_name(paths[0])}')
        draft.put(target, _plain(draft, records, path, part) if is_there else path)
    if reader.take('load_instance_masks') and draft.has(f'data.{part}.masks'):
        draft.account.take(reader.at('load_instance_masks'), f'data.{part}.masks')
    elif not reader.take('load_instance_masks') and draft.has(f'data.{part}.masks'):
        reader.remark('load_instance_masks', 'is not set, but the network has masks: they are read')
    reader.say('max_number_of_boxes', 'train_config.max_number_of_boxes counts; the evaluation keeps all boxes', Kind.MEANINGLESS)


def _plain(draft: Draft, records: Block, path: str, part: str) -> str:
    """Returns a pattern for records; of files compressed with GZIP that for the copies that the import makes of them."""
    found = [file for file in matching(os.path.expandvars(path)) if os.path.isfile(file)]
    if not any(is_compressed(file) for file in found):
        return path
    draft.copies += [(file, f'{RECORDS}/{part}/{os.path.basename(file).removesuffix(".gz")}') for file in found]
    folder = f'{RECORDS}/{part}'
    text = f'{len(found)} files, some compressed with GZIP: written without compression into {folder} beside the pipeline file'
    records.remark('input_path', text)
    return f'{folder}/*'


def is_compressed(path: str) -> bool:
    """Returns whether a file begins as one of GZIP does."""
    with open(path, 'rb') as file:
        return file.read(2) == GZIP_MAGIC


def _name(path: str) -> str:
    return re.split(r'[\\/]', path)[-1] or 'records'


def _joined(records: Block, paths: Sequence[str]) -> str:
    """Returns one pattern for all paths of a reader.

    Raises:
      ConfigError: No pattern names these files and no others.
    """
    if len(paths) == 1:
        return paths[0]
    start = os.path.commonprefix(paths)
    end = os.path.commonprefix([path[len(start) :][::-1] for path in paths])[::-1]
    pattern = f'{start}*{end}'
    wanted = {os.path.abspath(found) for path in paths for found in matching(path)}
    found = {os.path.abspath(path) for path in matching(pattern)}
    place = records.account.parsed.place(records.at('input_path'))
    if '/' not in start or (wanted and found != wanted):
        raise ConfigError(
            f'{place}: {len(paths)} paths, and no pattern names just their files; expected one path or pattern: put the '
            f'records into one folder, links will do, and name it here as FOLDER/*'
        )
    records.account.remark(records.at('input_path'), f'{len(paths)} paths are read as one pattern: {pattern}')
    return pattern


def resolved(draft: Draft, block: Block, name: str, given: str, target: str, example: str, suffix: str = '') -> tuple[str, bool]:
    """Returns a path as it stands in the pipeline file, and whether something is there; says what is wrong with it.

    Args:
      draft: gets the `--set` line for what is not there.
      block: what holds the path, for its place.
      name: of the field.
      given: the path, or a pattern.
      target: the key of the pipeline file that it decides.
      example: what it could be instead.
      suffix: of the file whose presence counts; a checkpoint's is `.index`.
    """
    text = given.replace('\\', '/')
    unknown = [match for match in _REFERENCE.finditer(text) if next(filter(None, match.groups())) not in os.environ]
    line = f'--set {target}={example}'
    if _REMOTE.match(text) or MISSING in text or unknown:
        what = 'lies on a remote store; stagetrain reads local files' if _REMOTE.match(text) else 'is not filled in'
        what = f'holds ${next(filter(None, unknown[0].groups()))}, which the environment does not have' if unknown else what
        block.remark(name, f"'{given}' {what}: {line}")
        draft.set_lines.append(line)
        # A pipeline file names no URL.
        return f'{MISSING}/{_name(text)}' if _REMOTE.match(text) else re.sub('[${}]', '', text), False
    referred = _REFERENCE.sub(lambda match: f'${{{next(filter(None, match.groups()))}}}', text)
    expanded = os.path.expandvars(os.path.expanduser(referred))
    folder = os.path.dirname(os.path.abspath(block.account.parsed.path))
    for candidate in (os.path.abspath(expanded), os.path.join(folder, expanded)):
        if matching(candidate + suffix) or os.path.exists(candidate):
            return referred if os.path.isabs(expanded) else os.path.abspath(candidate), True
    block.remark(name, f"'{given}': no such file here: {line}")
    draft.set_lines.append(line)
    return referred if os.path.isabs(expanded) or re.match(r'[A-Za-z]:', text) else os.path.abspath(expanded), False
