"""Weights whose classes have another order are refused with both lists, or taken by name or as they stand when asked."""

from __future__ import annotations

import json
import pathlib

import pytest

from stagetrain.errors import ConfigError
from stagetrain.pipeline import class_lists
from stagetrain.pipeline.planned import Selection
from tests.fakes.project import Project, make_project

FROM = 'stages.detector_1.init.detection_head'
CLASSES = 'data.classes=[bird, thing]'
FIRST = Selection(until='detector_1')


@pytest.fixture(scope='module')
def former(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An override: a source that is a finished run with the classes thing and bird."""
    made = make_project(tmp_path_factory.mktemp('former'))
    made.run('data.classes=[thing, bird]')
    return f'sources.former={{run: {made.directory.path}}}'


def test_another_order_is_refused_with_both_lists_and_the_remedies(project: Project, former: str) -> None:
    with pytest.raises(ConfigError) as error:
        project.plan(former, CLASSES, f'{FROM}=former')
    assert str(error.value).startswith(
        'stages.detector_1.init.detection_head: from former: its classes are [thing, bird], those of data.classes [bird, thing]: '
    )
    assert '`detection_head: {from: former, classes: by_name}`' in str(error.value)
    assert '`classes: by_position`' in str(error.value)


def test_other_names_are_refused_too(project: Project, former: str) -> None:
    with pytest.raises(ConfigError, match=r'its classes are \[thing, bird\], those of data\.classes \[thing, birds\]'):
        project.plan(former, 'data.classes=[thing, birds]', f'{FROM}=former')


@pytest.mark.parametrize(
    'overrides',
    [
        ('data.classes=[thing, bird]', f'{FROM}=former'),
        (CLASSES, 'stages.detector_1.init.decoder=former'),  # It has no classes.
        ('data.classes=[thing]', f'{FROM}={{from: former, skip_mismatch: true}}'),  # Another number shows by its shapes.
        (CLASSES, f'{FROM}={{from: former, classes: by_position}}'),
    ],
)
def test_what_can_start_from_them_does(project: Project, former: str, overrides: tuple[str, ...]) -> None:
    assert project.plan(former, *overrides).stages[1].action == 'run'


def test_classes_by_name_reach_the_job_and_the_fingerprint(project: Project, former: str) -> None:
    asked = (former, CLASSES, f'{FROM}={{from: former, classes: by_name}}')
    project.run(*asked, select=FIRST)
    job = json.loads((project.directory.path / 'stages/detector_1/job.json').read_text())
    order = job['origins']['detection_head']['class_order']
    assert (order['take'], order['num_classes']) == ([0, 2, 1], 3)
    assert job['origins']['backbone']['class_order'] == {}
    assert job['parts']['init.detection_head.classes'] == ['thing', 'bird']
    assert project.actions(*asked, select=FIRST) == {'rpn_1': 'skip', 'detector_1': 'skip'}


def test_one_class_of_several_can_be_taken_by_name(project: Project, former: str) -> None:
    asked = (former, 'data.classes=[bird]', 'data.ignore_classes=[thing]', f'{FROM}={{from: former, classes: by_name}}')
    fault = class_lists.faults(
        project.load(*asked).pipeline, 'x', project.load(*asked).pipeline.stages[1], {'former': ('thing', 'bird')}
    )
    assert list(fault) == []


@pytest.mark.parametrize(
    ('overrides', 'message'),
    [
        (
            ('data.classes=[thing, cat]', f'{FROM}={{from: former, classes: by_name}}'),
            r'classes: by_name: its classes are \[thing, bird\], those of data\.classes \[thing, cat\]; it lacks cat',
        ),
        (
            (f'{FROM}={{from: imagenet, classes: by_name}}',),
            'from imagenet: classes: by_name: the source has no list of its classes',
        ),
        (
            ('stages.detector_1.init.backbone={from: former, classes: by_name}',),
            r'init\.backbone\.classes: backbone has no numbers of its own for each class; remove it',
        ),
        (
            ('stages.detector_2.init.detection_head={from: detector_1, classes: by_name}',),
            r'init\.detection_head\.classes: goes with a source: all stages of a pipeline have the same classes',
        ),
        ((f'{FROM}={{from: former, classes: by_hand}}',), r"init\.detection_head\.classes: found 'by_hand'"),
    ],
)
def test_what_cannot_be_taken_by_name_is_refused(project: Project, former: str, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        project.plan(former, *overrides)


def test_a_finished_stage_is_not_asked_again(project: Project, former: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:  # As a version that compared no lists left it.
        patch.setattr(class_lists, 'faults', lambda *_: iter(()))
        project.run(former, CLASSES, f'{FROM}=former', select=FIRST)
    assert project.actions(former, CLASSES, f'{FROM}=former', select=FIRST) == {'rpn_1': 'skip', 'detector_1': 'skip'}


def test_a_checkpoint_has_its_classes_beside_it(project: Project, tmp_path: pathlib.Path) -> None:
    def found(path: pathlib.Path) -> tuple[str, ...] | None:
        return class_lists.of_source(project.load(f'sources.imagenet={{checkpoint: {path}}}').pipeline.sources['imagenet'])

    assert found(tmp_path) is None
    (tmp_path / 'classes.json').write_text('["thing", "bird"]')
    assert found(tmp_path) == found(tmp_path / 'ckpt') == ('thing', 'bird')
    (tmp_path / 'classes.json').write_text('{"a": ')
    assert found(tmp_path) is None
