from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

from stagetrain.config.load import Loaded, dump_resolved, load_pipeline, load_resolved
from stagetrain.errors import ConfigError


def refused(load: Any, message: str, *overrides: str, **replace: Any) -> str:
    with pytest.raises(ConfigError, match=message) as error:
        load(*overrides, **replace)
    return str(error.value)


def test_values_have_the_types_of_the_schema(load: Any) -> None:
    pipeline = load().pipeline
    assert pipeline.stages[0].train.learning_rate.constant.learning_rate == 0.1
    assert pipeline.stages[0].init['backbone'].origin == 'imagenet'
    assert pipeline.model.backbone.keras_mobilenet_v1.alpha == 0.25
    assert pipeline.model.rpn_head.num_convs == 1


def test_the_top_level_train_is_under_every_stage_and_gone(load: Any) -> None:
    loaded = load(replace={'  - name: detector\n': '  - name: detector\n    train: {steps: 7, batch_size: 2}\n'})
    assert [stage.train.steps for stage in loaded.pipeline.stages] == [10, 7]
    assert loaded.pipeline.stages[1].train.optimizer.type == 'sgd'
    assert loaded.pipeline.compare['joint'].stages[0].train.steps == 10
    assert 'train' not in loaded.resolved
    assert loaded.place(('stages', 1, 'train', 'steps')).endswith('a.yaml:23')


def test_resolved_holds_what_the_user_gave_and_no_defaults(load: Any) -> None:
    resolved = load('stages.rpn.seed=3').resolved
    assert resolved['stages'][0] == {
        'name': 'rpn',
        'init': {'backbone': {'from': 'imagenet'}},
        'loss_weights': {'rpn_score': 1.0, 'rpn_box': 1.0, 'frcnn_class': 0.0},
        'seed': 3,
        'train': {
            'steps': 10,
            'optimizer': {'type': 'sgd'},
            'learning_rate': {'type': 'constant', 'constant': {'learning_rate': 0.1}},
        },
    }
    assert 'runtime' not in resolved


def test_a_resolved_pipeline_loads_back_equal(load: Any, tmp_path: pathlib.Path) -> None:
    loaded = load("data.classes=['1e-3', 'on', '$${x}']")
    (tmp_path / 'run.yaml').write_text(dump_resolved(loaded))
    from_file = load_resolved(tmp_path / 'run.yaml')
    assert from_file.pipeline == load_resolved(loaded.resolved).pipeline == loaded.pipeline
    assert from_file.resolved == loaded.resolved
    assert load_resolved(loaded.resolved).path is None


def test_a_resolved_pipeline_has_no_base_and_no_top_level_train(load: Any) -> None:
    resolved = {**load().resolved, 'train': {'steps': 5}}
    with pytest.raises(
        ConfigError, match=r'resolved pipeline: train: unknown key\. Known here: compare, data, evaluation, model, models, name'
    ):
        load_resolved(resolved)


def test_paths_start_from_the_file_they_stand_in(write: Any, tmp_path: pathlib.Path) -> None:
    write(name='base/a.yaml')
    child = write('base: base/a.yaml\ndata: {train: {path: own/images}}\n', 'child.yaml')
    loaded = load_pipeline(child)
    assert loaded.resolved['data']['train']['path'] == str(tmp_path / 'own/images')
    assert loaded.resolved['data']['validation']['path'] == str(tmp_path / 'base/images')
    assert loaded.resolved['sources']['imagenet']['keras_h5'] == str(tmp_path / 'base/weights/net.h5')


def test_paths_of_the_shell_start_from_the_working_directory(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir('/usr')
    loaded = load('data.validation.path=other', replace={'path: images': 'path: ${X}/images'}, environ={'X': '../data'})
    assert loaded.pipeline.data.train.path == '/data/images'
    assert loaded.pipeline.data.validation.path == '/usr/other'


def test_places_name_the_file_of_each_value(write: Any) -> None:
    write()
    loaded = load_pipeline(write('base: a.yaml\nseed: 3\n', 'child.yaml'), ['name=x'])
    assert loaded.place(('seed',)).endswith('child.yaml:2')
    assert loaded.place(('stages', 1, 'name')).endswith('a.yaml:22')
    assert loaded.place(('name',)) == '--set name=x'
    assert loaded.place(('stages', 1, 'seed')).endswith('a.yaml:22')


def test_a_childs_list_of_stages_replaces_the_bases(write: Any) -> None:
    write()
    child = 'base: a.yaml\nstages:\n  - {name: joint, loss_weights: {rpn_score: 1.0}, train: {epochs: 2}}\n'
    child += 'compare: {short: {until: joint}}\n'
    pipeline = load_pipeline(write(child, 'child.yaml')).pipeline
    assert [stage.name for stage in pipeline.stages] == ['joint']
    assert (pipeline.stages[0].train.steps, pipeline.stages[0].train.epochs) == (None, 2)
    assert sorted(pipeline.compare) == ['joint', 'short']


@pytest.mark.parametrize(
    ('base', 'message'),
    [
        ('a.yaml', r"a\.yaml:1: base: 'a\.yaml' leads back to a file"),
        ('./sub/../a.yaml', 'leads back to a file'),
        ('none.yaml', r"a\.yaml:1: base: no such file: 'none\.yaml' \(looked for "),
        ('[b.yaml]', 'expected the path of one file'),
        ('.', r"a\.yaml:1: base: '\.' is a folder \(.*\); expected a pipeline file"),
        ('${UNSET}/b.yaml', 'environment variable UNSET is not set'),
    ],
)
def test_a_bad_base_is_refused(write: Any, base: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_pipeline(write(f'base: {base}\n'), environ={})


def test_bases_in_a_circle_are_refused(write: Any) -> None:
    write('base: a.yaml\n', 'b.yaml')
    with pytest.raises(ConfigError, match=r"b\.yaml:1: base: 'a\.yaml' leads back"):
        load_pipeline(write('base: b.yaml\n', 'a.yaml'))


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (
            "freeze_variables: ['backbone/.*']",
            "freze_variables: ['backbone/.*']",
            r"a\.yaml:24: stages\[1\]\.freze_variables: unknown key\. Known here: allow_frozen_fresh, .*freeze_variables, .*"
            r"Did you mean 'freeze_variables'\?",
        ),
        ('steps: 10', 'stepz: 10', r"a\.yaml:15: train\.stepz: unknown key\. Known here: .*steps.*Did you mean 'steps'\?"),
        ('steps: 10', 'steps: ten', r"a\.yaml:15: train\.steps: found 'ten' \(text\); expected an integer"),
        ('steps: 10', 'steps: 0', r'a\.yaml:15: train\.steps: found 0 \(integer\); expected greater than 0'),
        ('steps: 10', 'steps: 1.5', r'train\.steps: found 1\.5 \(number\); expected an integer'),
        ('steps: 10', 'steps: true', r'train\.steps: found True \(true/false\); expected an integer'),
        ('alpha: 0.25', 'alpha: a', r"a\.yaml:6: model\.backbone\.keras_mobilenet_v1\.alpha: found 'a' \(text\); expected"),
        ('type: fpn', 'type: fpm', r"a\.yaml:7: model\.decoder\.type: found 'fpm', expected one of .*Did you mean 'fpn'\?"),
        ('{type: fpn}', '{type: fpn, aspp: {level: 3}}', r"a\.yaml:7: model\.decoder: options of 'aspp' are given, but type"),
        ('type: faster_rcnn', 'type: faster', r"a\.yaml:2: model\.type: found 'faster' \(text\).*'faster_rcnn'\?"),
        ('  type: faster_rcnn\n', '', r'a\.yaml:1: model\.type: missing, and has no default'),
        ('type: fpn}', 'type: fpn}\n  rpn_hed: {}', r"a\.yaml:8: model\.rpn_hed: unknown key.*min_level, norm.*'rpn_head'\?"),
        ('[cat, dog]', '[cat, 7]', r"a\.yaml:9: data\.classes\[1\]: found 7 \(integer\); expected text \(a number"),
        ('[cat, dog]', '[]', r'a\.yaml:9: data\.classes: found a list of 0; expected at least 1'),
        ('[cat, dog]', 'cat', r"a\.yaml:9: data\.classes: found 'cat' \(text\); expected a list"),
        ('  classes: [cat, dog]\n', '', r'a\.yaml:8: data\.classes: missing, and has no default'),
        ('  steps: 10\n', '', r'a\.yaml:14: stages\[0\]\.train: expected exactly one of steps, epochs; found none'),
        ('keras_h5: weights/net.h5', '', r'a\.yaml:13: sources\.imagenet: expected exactly one of checkpoint, keras_h5'),
        ('name: rpn', 'name: RPN', r"a\.yaml:19: stages\[0\]\.name: found 'RPN' \(text\); expected a name of small letters"),
        ('rpn_score: 1.0', 'rpn_score: -1', r'\.loss_weights\.rpn_score: found -1 \(integer\); expected greater than or'),
        ('rpn_score: 1.0', 'rpn_score: .nan', r'found nan \(number\); expected a finite number'),
        ('proposals: {from: rpn}', 'proposals: {frm: rpn}', r"stages\[1\]\.proposals\.frm: unknown key.*Did you mean 'from'\?"),
        ('init: {backbone: imagenet}', 'init: {backbone: [imagenet]}', r'init\.backbone: found a list of 1; expected a mapping'),
        ('stages:\n  - name: rpn', 'stages: 3\nfoo:\n  - name: rpn', r'a\.yaml:18: stages: found 3 \(integer\); expected a list'),
        ('stages:', 'evaluation: {num_proposals: []}\nstages:', r'num_proposals: found a list of 0; expected at least 1'),
        ('short: {until: rpn}', 'short: 3', r'compare\.short: found 3 \(integer\); expected a mapping'),
        ('short: {until: rpn}', 'short: {until: rpn, stages: []}', 'found a list of 0; expected at least 1'),
        ('model:', 'seeds: 1\nmodel:', r"a\.yaml:1: seeds: unknown key\. Known here: base, .*train\. Did you mean 'seed'\?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_line_path_and_what_was_expected(load: Any, old: str, new: str, message: str) -> None:
    refused(load, message, replace={old: new})


def test_everything_wrong_is_told_at_once_and_the_default_train_once(load: Any) -> None:
    text = refused(load, 'stepz', replace={'steps: 10': 'steps: 1\n  stepz: 10', 'name: detector': 'name: 3', '[cat, dog]': '3'})
    assert [line.split(': ')[1] for line in text.splitlines()] == ['train.stepz', 'data.classes', 'stages[1].name']


def test_a_file_must_be_a_mapping(write: Any) -> None:
    with pytest.raises(ConfigError, match=r'a\.yaml: found list, expected a mapping with model, data, stages'):
        load_pipeline(write('- a\n'))


def test_the_environment_is_the_processs_own_by_default(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('STAGETRAIN_TEST_NAME', 'abc')
    write()
    assert load_pipeline(write('base: a.yaml\nname: ${STAGETRAIN_TEST_NAME}\n', 'b.yaml')).pipeline.name == 'abc'


PLUGIN = """
import pydantic
from stagetrain.config import options, specs

class Options(options.Strict):
    width: int = 3

specs.register_backbone(specs.BackboneSpec('{name}', Options, 'nowhere:build'))
"""


def loaded_in_a_process(script: str, *args: object) -> str:
    """Runs a script in a process of its own, for a plugin stays imported."""
    command = [sys.executable, '-c', script, *map(str, args)]
    environment = {**os.environ, 'PYTHONPATH': str(pathlib.Path(__file__).parents[2])}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def test_a_plugin_beside_the_file_adds_a_backbone_here_and_in_child_processes(write: Any, tmp_path: pathlib.Path) -> None:
    write()
    write(PLUGIN.format(name='my_net'), 'plugins/my_plugin.py')
    path = write(
        'base: ../a.yaml\nplugins: [my_plugin]\nmodel: {backbone: {type: my_net, my_net: {width: 5}}}\n', 'plugins/b.yaml'
    )
    child = 'import sys; from stagetrain.config.load import load_resolved; '
    child += 'print(load_resolved(sys.argv[1]).pipeline.model.backbone.my_net.width)'
    script = 'import sys; from stagetrain.config.load import *; '
    script += 'loaded = load_pipeline(sys.argv[1]); print(loaded.resolved["plugins"]); '
    script += 'open(sys.argv[2], "w").write(dump_resolved(loaded))'
    assert loaded_in_a_process(script, path, tmp_path / 'run.yaml').strip() == f"['{tmp_path}/plugins/my_plugin']"
    assert loaded_in_a_process(child, tmp_path / 'run.yaml').strip() == '5'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (None, r"b\.yaml:2: plugins: 'bad_plugin': no such module, neither as .*bad_plugin\.py nor as an installed module"),
        ('1 / 0', r"plugins: '.*/bad_plugin' cannot be imported: ZeroDivisionError: division by zero"),
        ('import stagetrain_no_such', r"plugins: '.*/bad_plugin': it needs stagetrain_no_such, which is not installed"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_reported(write: Any, text: str | None, message: str) -> None:
    write()
    if text is not None:
        write(text, 'bad_plugin.py')
    with pytest.raises(ConfigError, match=message):
        load_pipeline(write('base: a.yaml\nplugins: [bad_plugin]\n', 'b.yaml'))


def test_a_plugin_may_not_be_called_like_another_module(write: Any) -> None:
    write()
    write('', 'pytest.py')
    with pytest.raises(ConfigError, match="another module named 'pytest' is imported already, from .*; rename the plugin"):
        load_pipeline(write('base: a.yaml\nplugins: [pytest]\n', 'b.yaml'))


def test_a_plugin_is_taken_from_its_own_folder_though_another_plugins_folder_holds_that_name(
    write: Any, tmp_path: pathlib.Path
) -> None:
    write()
    write(PLUGIN.format(name='first_net'), 'first/first_plugin.py')
    write('1 / 0', 'first/second_plugin.py')
    write(PLUGIN.format(name='second_net'), 'second/second_plugin.py')
    model = 'base: ../a.yaml\nplugins: [{0}_plugin]\nmodel: {{backbone: {{type: {0}_net, {0}_net: {{width: 5}}}}}}\n'
    paths = [write(model.format(name), f'{name}/b.yaml') for name in ('first', 'second')]
    script = 'import sys; from stagetrain.config.load import *; '
    script += 'print([load_pipeline(path).resolved["plugins"][0] for path in sys.argv[1:]])'
    expected = [f'{tmp_path}/first/first_plugin', f'{tmp_path}/second/second_plugin']
    assert loaded_in_a_process(script, *paths).strip() == str(expected)


def test_loaded_does_not_change(load: Any) -> None:
    loaded: Loaded = load()
    with pytest.raises(AttributeError):
        loaded.path = None  # type: ignore[misc]
