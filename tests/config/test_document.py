from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain.config import document
from stagetrain.errors import ConfigError


def parse(text: str) -> Any:
    return document.plain(document.parse(text, file='a.yaml'))


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('1e-3', 0.001),
        ('4e5', 400000.0),
        ('.5', 0.5),
        ('-7', -7),
        ('0', 0),
        ('true', True),
        ('False', False),
        ('~', None),
        ('null', None),
        ('on', 'on'),
        ('no', 'no'),
        ('010', '010'),
        ('010.5', '010.5'),
        ('0x1F', '0x1F'),
        ('1_000', '1_000'),
        ('12:30:00', '12:30:00'),
        ('2007-01-02', '2007-01-02'),
        ("'49'", '49'),
        ('"true"', 'true'),
        ('9' * 5000, '9' * 5000),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, expected: Any) -> None:
    value = parse(f'a: {text}')['a']
    assert value == expected
    assert type(value) is type(expected)


def test_keys_are_text_whatever_they_look_like() -> None:
    assert parse('{on: 1, 7: 2, ~: 3}') == {'on': 1, '7': 2, '~': 3}


def test_every_value_knows_its_line() -> None:
    node = document.parse('a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n', file='a.yaml')
    assert document.places(node) == {
        (): 'a.yaml:1',
        ('a',): 'a.yaml:1',
        ('b',): 'a.yaml:2',
        ('b', 0): 'a.yaml:3',
        ('b', 1): 'a.yaml:4',
        ('b', 1, 'c'): 'a.yaml:4',
        ('b', 1, 'd'): 'a.yaml:5',
    }


def test_equal_keys_are_refused_with_both_lines() -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:3: key 'steps' is given twice, first at a\.yaml:1; keep one"):
        parse('steps: 1\nseed: 2\nsteps: 3\n')


def test_merge_keys_are_refused_and_a_quoted_one_is_a_name() -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:1: merge keys \('<<'\) are not read; .* name a file with them as base"):
        parse('<<: {steps: 1}\n')
    assert parse("'<<': 1\n") == {'<<': 1}


@pytest.mark.parametrize('tagged', ['!!python/object/apply:os.system [ls]', '!!str 1', '!mine {a: 1}', '!!binary aGk='])
def test_tags_are_refused(tagged: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:2: not valid YAML: tag '.*' is not allowed: remove it"):
        parse(f'a: 1\nb: {tagged}\n')


def test_an_alias_repeats_a_value() -> None:
    assert parse('a: &x {b: 1}\nc: *x\n') == {'a': {'b': 1}, 'c': {'b': 1}}


def test_billion_laughs_are_refused() -> None:
    lines = ['a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]']
    lines += [f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 10)}]' for n in range(1, 10)]
    with pytest.raises(ConfigError, match=r'a\.yaml:\d+: aliases .* expand to more than 100000 values'):
        parse('\n'.join(lines))


def test_a_value_inside_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match='or 40 levels; write them out'):
        parse('a: &a [*a]')


@pytest.mark.parametrize('text', ['[' * 100_000, '{a: ' * 1000, '- ' * 1000])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match='nested deeper than 40 levels'):
        parse(text)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'a: [1, 2',
            r'a\.yaml:1: not valid YAML: expected .,. or .\]., but got .<stream end>. \(while parsing a flow sequence, line 1\)',
        ),
        ('a:\n\tb: 1', r'a\.yaml:2: not valid YAML: .*; indent with spaces'),
        ('a: 1\n---\nb: 2', r'a\.yaml:2: not valid YAML: but found another document'),
        ('a: *b', r"a\.yaml:1: not valid YAML: found undefined alias 'b'"),
        ('a: \x07', r'a\.yaml: not valid YAML: unacceptable character #x0007'),
        ('? [a, b]\n: 1', r'a\.yaml:1: found a list or mapping as key; expected a name'),
        ('', r'a\.yaml: is empty; expected a pipeline'),
        ('# nothing', r'a\.yaml: is empty; expected a pipeline'),
        ('a: \ue000', r"a\.yaml: holds a character of Unicode's private use area"),
    ],
)
def test_what_is_not_yaml_is_told_in_one_paragraph(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        parse(text)
    assert '\n' not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: pathlib.Path) -> None:
    path = tmp_path / 'a.yaml'
    with pytest.raises(ConfigError, match=r'^a\.yaml: no such file$'):
        document.read(path, 'a.yaml')
    with pytest.raises(ConfigError, match='is a folder; expected a YAML file'):
        document.read(tmp_path, 'a.yaml')
    path.write_bytes(b'a: 1\nb: caf\xe9\n')
    with pytest.raises(ConfigError, match=r'a\.yaml:2: not UTF-8 text \(byte 0xe9\)'):
        document.read(path, 'a.yaml')
    path.write_bytes(b'# ' + b'x' * document.MAX_BYTES)
    with pytest.raises(ConfigError, match='larger than 262144 bytes'):
        document.read(path, 'a.yaml')


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'a.yaml').write_bytes(b'\xef\xbb\xbfa: 1\r\n')
    assert document.plain(document.read(tmp_path / 'a.yaml', 'a.yaml')) == {'a': 1}


NASTY = [
    '1e-3',
    '010',
    'on',
    '12:30:00',
    '~',
    '',
    '${x}',
    '$${x}',
    'a: b',
    '# c',
    "it's",
    'é\u2028',
    ' lead',
    '-',
    '0x1F',
    '1_000',
    '<<',
    'a\nb',
]


@pytest.mark.parametrize('value', [*NASTY, 1e-5, 1e22, -0.5, 7, True, None, [], {}, {'a': [{'b': [1.0]}]}])
def test_what_is_dumped_parses_back_equal(value: Any) -> None:
    back = document.plain(document.parse(document.dump({'a': value}), file='a.yaml', variables=False))['a']
    assert back == value
    assert type(back) is type(value)


def test_paths_are_shown_as_users_write_them() -> None:
    assert document.show_path(('stages', 0, 'train', 'steps')) == 'stages[0].train.steps'
