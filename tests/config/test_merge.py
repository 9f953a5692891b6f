from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain.config import document
from stagetrain.config.document import Node
from stagetrain.config.merge import expand, merge, override
from stagetrain.errors import ConfigError


def node(text: str) -> Node:
    return document.parse(text, file='a.yaml', folder=pathlib.Path('/files'))


def merged(base: str, child: str) -> Any:
    return document.plain(merge(node(base), node(child)))


def overridden(text: str, *overrides: str) -> Any:
    root = node(text)
    for one in overrides:
        root = override(root, one)
    return document.plain(root)


def expanded(text: str, **environ: str) -> Any:
    return document.plain(expand(node(text), environ))


def test_mappings_are_merged_and_lists_replaced() -> None:
    assert merged('{a: {x: 1, y: [1, 2]}, b: 2}', '{a: {y: [3], z: 4}}') == {'a': {'x': 1, 'y': [3], 'z': 4}, 'b': 2}


def test_null_replaces_a_mapping() -> None:
    assert merged('{warmup: {type: linear}}', '{warmup: null}') == {'warmup': None}


def test_a_mapping_over_a_plain_value_is_refused_and_over_null_is_fine() -> None:
    assert merged('{a: {b: null}}', '{a: {b: {c: 1}}}') == {'a': {'b': {'c': 1}}}
    with pytest.raises(ConfigError, match=r'a\.yaml:1: a\.b: found a mapping where its base has 3 \(a\.yaml:1\); expected both'):
        merged('{a: {b: 3}}', '{a: {b: {c: 1}}}')


def test_another_type_drops_the_options_of_the_base_type() -> None:
    base = '{backbone: {type: resnet, resnet: {model_id: 18}}}'
    assert merged(base, '{backbone: {type: vit, vit: {patch_size: 8}}}') == {
        'backbone': {'type': 'vit', 'vit': {'patch_size': 8}}
    }
    assert merged(base, '{backbone: {type: resnet}}') == {'backbone': {'type': 'resnet', 'resnet': {'model_id': 18}}}


@pytest.mark.parametrize(('given', 'other'), [('steps', 'epochs'), ('keras_h5', 'checkpoint'), ('until', 'stages')])
def test_an_alternative_displaces_what_the_base_gave(given: str, other: str) -> None:
    assert merged(f'{{{other}: 1, seed: 3}}', f'{{{given}: 2}}') == {'seed': 3, given: 2}


STAGES = '{stages: [{name: a, train: {steps: 1}}, {name: b}], compare: {v: {stages: [{name: c}]}}}'


def test_an_override_finds_stages_by_name() -> None:
    result = overridden(STAGES, 'stages.a.train.steps=5', 'stages.b.train.steps=6', 'compare.v.stages.c.seed=7')
    assert result['stages'] == [{'name': 'a', 'train': {'steps': 5}}, {'name': 'b', 'train': {'steps': 6}}]
    assert result['compare'] == {'v': {'stages': [{'name': 'c', 'seed': 7}]}}


@pytest.mark.parametrize(
    ('text', 'value'), [('1e-3', 0.001), ('[1, 2]', [1, 2]), ('{x: on}', {'x': 'on'}), ('', None), ('a=b', 'a=b'), ("'1'", '1')]
)
def test_the_value_of_an_override_is_yaml_and_replaces(text: str, value: Any) -> None:
    assert overridden('{a: {b: {c: 1}}}', f'a.b={text}') == {'a': {'b': value}}


def test_an_override_drops_what_it_displaces() -> None:
    assert overridden('{o: {type: sgd, sgd: {momentum: 1}}}', 'o.type=adam') == {'o': {'type': 'adam'}}
    assert overridden('{train: {steps: 1}}', 'train.epochs=2') == {'train': {'epochs': 2}}


def test_an_override_knows_its_place() -> None:
    assert str(override(node('{a: 1}'), 'b=2').value['b'].place) == '--set b=2'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('stages.a.train.steps', 'expected PATH=VALUE, e.g. --set stages.rpn_1'),
        ('a..b=1', 'expected PATH=VALUE'),
        ('stages.aa.seed=1', r"--set stages\.aa\.seed=1: stages has no 'aa'\. Known here: a, b\. Did you mean 'a'\?"),
        ('compare.w.stages.c.seed=1', r"compare has no 'w'\. Known here: v\."),
        ('compare.v.stages.d.seed=1', r"compare\.v\.stages has no 'd'\. Known here: c\."),
        ('stages.a.name.x=1', r"stages\[0\]\.name is 'a' \(a\.yaml:1\), which has no keys; set it as a whole"),
        ('base=x.yaml', 'base cannot be replaced from the command line'),
        ('a=[1', r'--set a=\[1: not valid YAML'),
    ],
)
def test_bad_overrides_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        overridden(STAGES, text)


def test_a_list_without_names_is_set_as_a_whole() -> None:
    with pytest.raises(ConfigError, match=r'classes is a list \(a\.yaml:1\); set it as a whole'):
        overridden('{classes: [x, y]}', 'classes.x=1')


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('{a: ${X}}', '/data'),
        ('{a: ${X}/b.h5}', '/data/b.h5'),
        ("{a: 'x ${X} y ${Y}'}", 'x /data y {z: [1'),
        ('{a: $${X}}', '${X}'),
        ('a: $${ x', '${ x'),
        ("{a: '$X b{2}$'}", '$X b{2}$'),
        ('{a: ${NUMBER}}', '7'),
        ('{a: ${NESTED}}', '${X}'),
    ],
)
def test_variables_are_text_and_nothing_else(text: str, value: str) -> None:
    assert expanded(text, X='/data', Y='{z: [1', NUMBER='7', NESTED='${X}') == {'a': value}


def test_a_variable_that_is_not_set_is_named_with_its_line_and_an_example() -> None:
    with pytest.raises(ConfigError, match=r'a\.yaml:2: p: environment variable BCCD is not set.*: BCCD=/path stagetrain \.\.\.'):
        expanded('a: 1\np: ${BCCD}\n')


def test_a_variable_that_is_empty_is_told_from_one_that_is_not_set() -> None:
    with pytest.raises(ConfigError, match=r'a\.yaml:1: a: environment variable BCCD is empty\. Set it'):
        expanded('a: ${BCCD}/x\n', BCCD='')


def test_all_variables_that_are_not_set_are_named_once() -> None:
    with pytest.raises(ConfigError) as error:
        expanded('a: ${X}\nb: ${Y}/${X}\n', X='')
    assert [line.partition(': environment variable ')[2][:1] for line in str(error.value).splitlines()] == ['X', 'Y']


@pytest.mark.parametrize('name', ['X:-/default', '', 'A B', '1A'])
def test_a_variable_has_no_default_and_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r'expected \$\{NAME\} with letters, digits and _ \(no defaults\)'):
        expanded(f"a: '${{{name}}}'")


def test_a_reference_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:1: a: '\$\{' without '\}'; write \$\$\{ when it is meant as text"):
        expanded('a: x${X')


def test_keys_hold_no_variables() -> None:
    assert expanded('${X}: 1', X='y') == {'${X}': 1}
