"""Pipeline files as editors, shells and other systems write them: each is read as it is meant, or refused by line."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from tests.brought import sets
from tests.brought.case import SUBPROCESS, Case, Hold, Step, each
from tests.fakes import project

TEXT = project.PIPELINE.lstrip()


def _files(folder: pathlib.Path, text: str | bytes) -> None:
    made = project.make_project(folder)
    made.config.write_bytes(text if isinstance(text, bytes) else text.encode())


def _pipeline(text: str | bytes) -> Callable[[pathlib.Path], None]:
    return lambda folder: _files(folder, text)


def _replaced(old: str, new: str, count: int = -1) -> Callable[[pathlib.Path], None]:
    assert old in TEXT
    return _pipeline(TEXT.replace(old, new, count))


def _based(folder: pathlib.Path) -> None:
    """A pipeline in one folder whose base lies in another, both named from elsewhere."""
    project.make_project(folder)
    sets.write(folder / 'bases' / 'model.yaml', TEXT)
    sets.write(folder / 'mine' / 'my.yaml', 'base: ../bases/model.yaml\nname: mine\n')


def _base_beside_the_caller(folder: pathlib.Path) -> None:
    project.make_project(folder)
    sets.write(folder / 'mine' / 'my.yaml', 'base: four.yaml\nname: mine\n')


def _circle(folder: pathlib.Path) -> None:
    sets.write(folder / 'a.yaml', 'base: b.yaml\n')
    sets.write(folder / 'b.yaml', 'base: a.yaml\n')


CORRECT = r'four\.yaml: correct; 4 stages'
CHECK = 'check four.yaml'
SGD = 'optimizer: {type: sgd, sgd: {momentum: 0.9}}'
LINE = TEXT.splitlines().index('  steps: 8') + 1

CASES = [
    Case(
        'a word in place of a choice',
        _replaced(SGD, 'optimizer: sgd'),
        Step(CHECK, code=2, says=[r"train\.optimizer: found 'sgd' \(text\); expected a mapping: \{type: sgd\}"]),
    ),
    Case(
        'names in capital letters',
        _pipeline(TEXT.replace('format: voc', 'format: VOC').replace(SGD, 'optimizer: SGD')),
        Step(CHECK, code=2, says=[r"Did you mean 'sgd'\?"]),
        Step("check four.yaml --set 'train.optimizer={type: sgd, sgd: {}}'", code=2, says=[r"found 'VOC'.*Did you mean 'voc'\?"]),
    ),
    Case(
        'a list in place of a choice',
        _replaced(SGD, 'optimizer: [sgd]'),
        Step(CHECK, code=2, says=[r'train\.optimizer: found a list of 1; expected a mapping whose type is one of adafactor']),
    ),
    Case(
        'a number in place of a schedule',
        _replaced('learning_rate: {type: constant, constant: {learning_rate: 0.01}}', 'learning_rate: 1e-3'),
        Step(CHECK, code=2, says=['found 0.001 .number.; expected a mapping whose type is one of constant, cosine']),
    ),
    Case(
        'the name of a network alone',
        _pipeline(f'model: faster_rcn\n{TEXT[TEXT.index("data:") :]}'),
        Step(CHECK, code=2, says=['model: found .faster_rcn.', r"Did you mean 'faster_rcnn'\?"]),
    ),
    Case(
        'one class without brackets',
        _replaced('classes: [thing]', 'classes: thing'),
        Step(CHECK, code=2, says=[r"data\.classes: found 'thing' \(text\); expected a list, such as \['thing'\]"]),
    ),
    Case(
        "the user's home as ~",
        _replaced('path: data, split: trainval', 'path: ~/data, split: trainval'),
        Step('plan four.yaml', says=['2 training images'], environ={'HOME': '.'}),
    ),
    Case(
        'weights at a url',
        _replaced('keras_h5: weights.h5', 'keras_h5: https://storage.googleapis.com/x/vgg16.h5'),
        Step(CHECK, code=2, says=[r'four\.yaml:\d+: found the URL .https://storage', 'Nothing is downloaded']),
    ),
    Case('windows line ends', _pipeline(TEXT.replace('\n', '\r\n')), Step(CHECK, says=[CORRECT])),
    Case('a byte order mark', _pipeline(b'\xef\xbb\xbf' + TEXT.encode()), Step(CHECK, says=[CORRECT])),
    Case(
        'utf-16 with its mark',
        _pipeline(TEXT.encode('utf-16')),
        Step(CHECK, code=2, says=[r'four\.yaml:1\b', 'save the file as UTF-8']),
    ),
    Case(
        'latin-1',
        _pipeline(TEXT.replace('thing', 'Käfer').encode('latin-1')),
        Step(CHECK, code=2, says=[r'four\.yaml', r'UTF-8', r'line \d+|four\.yaml:\d+']),
    ),
    Case(
        'tabs',
        _replaced('  steps: 8', '\tsteps: 8'),
        Step(CHECK, code=2, says=[rf'four\.yaml:{LINE}\b', r"'\\t'.*indent with spaces"]),
    ),
    Case(
        'a key twice',
        _replaced('  steps: 8', '  steps: 8\n  steps: 9'),
        Step(CHECK, code=2, says=[rf'four\.yaml:{LINE + 1}\b', r'steps', r'twice|duplicate|already|again']),
    ),
    Case('anchors', _replaced('init: {backbone: imagenet}', 'init: &first {backbone: imagenet}', 1), Step(CHECK, says=[CORRECT])),
    Case(
        'a merge of mappings',
        _replaced('  steps: 8', '  <<: {max_to_keep: 2}\n  steps: 8'),
        Step(CHECK, code=2, says=[rf'four\.yaml:{LINE}\b', r"'<<'", r'base']),
    ),
    Case('two documents', _pipeline(f'{TEXT}---\n{TEXT}'), Step(CHECK, code=2, says=[r'four\.yaml', r'document'])),
    Case('nothing in it', _pipeline(''), Step(CHECK, code=2, says=[r'four\.yaml', r'mapping|empty'])),
    Case('comments only', _pipeline('# later\n'), Step(CHECK, code=2, says=[r'four\.yaml', r'mapping|empty'])),
    Case('a list', _pipeline('- a\n- b\n'), Step(CHECK, code=2, says=[r'four\.yaml', r'mapping'])),
    Case('a word', _pipeline('pipeline\n'), Step(CHECK, code=2, says=[r'four\.yaml', r'mapping'])),
    Case('an image', lambda folder: sets.image(folder / 'four.yaml'), Step(CHECK, code=2, says=[r'four\.yaml'])),
    Case(
        'a folder', lambda folder: (folder / 'four.yaml').mkdir(), Step(CHECK, code=2, says=[r'four\.yaml', r'directory|folder'])
    ),
    Case(
        'no such file',
        lambda folder: None,
        Step('run four.yaml', code=2, says=[r'four\.yaml', 'no such file|No such file|not found'], not_made=['*']),
    ),
    Case(
        'a link that leads nowhere',
        lambda folder: (folder / 'four.yaml').symlink_to('gone.yaml'),
        Step(CHECK, code=2, says=[r'four\.yaml']),
    ),
    Case(
        'a number as text',
        _replaced('steps: 8', "steps: '8'"),
        Step(CHECK, code=2, says=[rf'four\.yaml:{LINE}\b', r'steps', r"'8'"]),
    ),
    Case('a number with an exponent', _replaced('learning_rate: 0.01', 'learning_rate: 1e-2'), Step(CHECK, says=[CORRECT])),
    Case(
        'steps that are no whole number',
        _replaced('steps: 8', 'steps: 8.5'),
        Step(CHECK, code=2, says=[rf'four\.yaml:{LINE}\b', r'8\.5']),
    ),
    Case('steps below one', _replaced('steps: 8', 'steps: -8'), Step(CHECK, code=2, says=[rf'four\.yaml:{LINE}\b', r'-8'])),
    Case(
        'steps that are yes', _replaced('steps: 8', 'steps: yes'), Step(CHECK, code=2, says=[rf'four\.yaml:{LINE}\b', r'steps'])
    ),
    Case('classes as one word', _replaced('classes: [thing]', 'classes: thing'), Step(CHECK, code=2, says=[r'classes', r'list'])),
    Case(
        'classes that yaml takes for others',
        _replaced('classes: [thing]', 'classes: [no, 1, thing]'),
        Step(CHECK, code=2, says=[r'classes']),
    ),
    Case(
        'a class twice',
        _replaced('classes: [thing]', 'classes: [thing, thing]'),
        Step(CHECK, code=2, says=[r'classes', r'thing']),
    ),
    Case(
        'stages as a mapping',
        _pipeline(TEXT[: TEXT.index('stages:')] + 'stages:\n  rpn_1: {loss_weights: {rpn_score: 1.0}}\n'),
        Step(CHECK, code=2, says=[r'stages', r'list']),
    ),
    Case('no stages', _pipeline(TEXT[: TEXT.index('stages:')]), Step(CHECK, code=2, says=[r'stages'])),
    Case(
        'a key that is misspelt',
        _replaced('freeze_variables: [', 'freze_variables: ['),
        Step(CHECK, code=2, says=[r"Did you mean 'freeze_variables'"]),
    ),
    Case(
        'infinity', _replaced('learning_rate: 0.01', 'learning_rate: .inf'), Step(CHECK, code=2, says=[r'learning_rate', r'inf'])
    ),
    Case('not a number', _replaced('momentum: 0.9', 'momentum: .nan'), Step(CHECK, code=2, says=[r'momentum', r'nan'])),
    Case(
        'a variable that is not set',
        _replaced('path: data', 'path: ${NOWHERE_SET}'),
        Step(CHECK, code=2, says=[r'NOWHERE_SET', r'is not set']),
    ),
    Case(
        'a variable that is empty',
        _replaced('path: data', 'path: ${EMPTY_ONE}'),
        Step(CHECK, code=2, says=[r'EMPTY_ONE', r'empty'], environ={'EMPTY_ONE': ''}),
    ),
    Case(
        'a variable that names no folder',
        _replaced('path: data', 'path: ${DATA}'),
        Step('plan four.yaml', code=2, says=[r'/nowhere'], environ={'DATA': '/nowhere'}),
    ),
    Case(
        'a variable with a line end',
        _replaced('path: data', 'path: ${DATA}'),
        Step('plan four.yaml', code=2, says=[r'data'], environ={'DATA': 'data\n'}),
    ),
    Case(
        'a base elsewhere',
        _based,
        Step('check mine/my.yaml', says=[r'my\.yaml: correct']),
    ),
    Case(
        'a base sought beside the caller',
        _base_beside_the_caller,
        Step('check mine/my.yaml', code=2, says=[r'mine/four\.yaml|mine/my\.yaml', r'base']),
    ),
    Case('bases in a circle', _circle, Step('check a.yaml', code=2, says=[r'a\.yaml', r'base'])),
    Case('a base that is a folder', _pipeline('base: data\n'), Step(CHECK, code=2, says=[r'data', r'directory|folder'])),
    Case('a base that is empty', _pipeline('base:\n' + TEXT), Step(CHECK, code=2, says=[r'base'])),
]

OVERRIDES = [
    Case('a value in quotes', _pipeline(TEXT), Step('check four.yaml --set "name=\'x\'"', says=[CORRECT])),
    Case(
        'blanks around the sign',
        _pipeline(TEXT),
        Step("plan four.yaml --expand --set 'stages.rpn_1.train.steps = 5'", says=[r'steps: 5\b']),
    ),
    Case('no sign', _pipeline(TEXT), Step('check four.yaml --set train.steps', code=2, says=['train.steps', '='])),
    Case('no value', _pipeline(TEXT), Step('check four.yaml --set stages.rpn_1.train.steps=', code=2, says=['steps'])),
    Case('no path', _pipeline(TEXT), Step('check four.yaml --set =5', code=2, says=['=5'])),
    Case(
        'a path with a hole',
        _pipeline(TEXT),
        Step('check four.yaml --set stages..train.steps=5', code=2, says=[r'stages\.\.train\.steps']),
    ),
    Case(
        'dashes for underscores',
        _pipeline(TEXT),
        Step('check four.yaml --set stages.rpn-1.train.steps=5', code=2, says=[r"Did you mean 'rpn_1'"]),
    ),
    Case(
        'a number for a stage',
        _pipeline(TEXT),
        Step('check four.yaml --set stages.0.train.steps=5', code=2, says=[r'stages\.0|rpn_1']),
    ),
    Case(
        'a stage in brackets', _pipeline(TEXT), Step("check four.yaml --set 'stages[0].train.steps=5'", code=2, says=[r'stages'])
    ),
    Case(
        'a stage that is not there',
        _pipeline(TEXT),
        Step('check four.yaml --set stages.rpn_3.train.steps=5', code=2, says=[r'rpn_3', r'Did you mean']),
    ),
    Case('broken yaml', _pipeline(TEXT), Step("check four.yaml --set 'data.classes=[thing'", code=2, says=[r'data\.classes'])),
    Case('a list', _pipeline(TEXT), Step("check four.yaml --set 'data.classes=[thing, other]'", says=[CORRECT])),
    Case('a mapping over a number', _pipeline(TEXT), Step("check four.yaml --set 'seed={a: 1}'", code=2, says=[r'seed'])),
    Case('the same twice', _pipeline(TEXT), Step('check four.yaml --set seed=1 --set seed=2', says=[CORRECT])),
    Case('an option of another verb', _pipeline(TEXT), Step('check four.yaml --only rpn_1', code=2, says=['--only'])),
    Case('a shortened option', _pipeline(TEXT), Step('run four.yaml --run=x', code=2, says=['--run'], not_made=['x*'])),
    Case('a verb that is misspelt', _pipeline(TEXT), Step('chek four.yaml', code=2, says=['chek'])),
    Case('no verb', _pipeline(TEXT), Step('', code=2, says=['VERB'])),
    Case('an empty path', _pipeline(TEXT), Step("run '' --run_dir run", code=2, not_made=['run/*'])),
    Case(
        'an empty run directory',
        _pipeline(TEXT),
        Step("run four.yaml --run_dir ''", code=2, says=['--run_dir|run directory'], not_made=['run.yaml', 'ledger.jsonl']),
    ),
    Case('seeds below one', _pipeline(TEXT), Step('compare four.yaml --seeds 0', code=2, says=['--seeds'])),
    Case('a surrogate in a path', _pipeline(TEXT), Step('check \udcff.yaml', code=2, says=['yaml'], where=SUBPROCESS)),
]


@each(CASES)
def test_a_pipeline_file_is_read_as_it_is_meant_or_refused_by_line(case: Case, hold: Hold) -> None:
    hold(case)


@each(OVERRIDES)
def test_what_is_typed_is_taken_as_it_is_meant_or_refused_by_name(case: Case, hold: Hold) -> None:
    hold(case)
