"""A kind of stage from outside the package, one file: planned, made, proved, evaluated and skipped like a stage that trains."""

from __future__ import annotations

import pathlib
import shutil
import time
from typing import Any

import numpy as np
import pytest

from stagetrain import files
from stagetrain.api.preparation import checked
from stagetrain.errors import ConfigError
from stagetrain.weights import assign
from tests import tiny

pytestmark = pytest.mark.usefixtures('plugins_forgotten')
OUTSIDE = pathlib.Path(__file__).parents[1] / 'outside'
EVERYTHING = tiny.RPN | tiny.HEAD
SHORT = {'steps': 2}


def document(data: pathlib.Path) -> dict[str, Any]:
    stages: list[dict[str, Any]] = [
        tiny.stage('first', EVERYTHING, SHORT),
        tiny.stage('second', EVERYTHING, SHORT, seed=9, init={'backbone': 'first'}, freeze_variables=['backbone/.*']),
        {'name': 'soup', 'kind': 'average', 'of': ['first', 'second'], 'require': {'AP': '>= 0'}},
        tiny.stage('after', tiny.RPN, SHORT, init={'backbone': 'soup', 'decoder': 'soup'}),
    ]
    return {**tiny.pipeline(data, stages), 'plugins': [str(OUTSIDE / 'average')]}


@pytest.fixture
def config(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> pathlib.Path:
    """The pipeline file."""
    return tiny.write_config(tmp_path / 'soup.yaml', document(tiny_data))


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('stages.soup.kind=sum', r"stages\[2\]\.kind: found 'sum' \(text\); expected 'train' or 'average'"),
        ('stages.soup.of=[first]', r'stages\[2\]\.of: found a list of 1; expected at least 2'),
        ('stages.soup.of=[first, after]', r"stages\[2\]: stage 'after' comes later; expected an earlier one"),
        ('stages.soup.of=[first, frist]', r"stages\[2\]: found 'frist'; expected an earlier stage.* Did you mean 'first'\?"),
        ('stages.soup.of=[first, first]', r"stages\[2\]: 'first' is named twice; expected each stage once"),
        (
            'stages.soup.train.steps=3',
            r'stages\[2\]\.train: a stage of kind average has no such key; remove it\. Known here: kind, ',
        ),
        ('stages.soup.freeze_variables=[backbone/.*]', r'stages\[2\]\.freeze_variables: a stage of kind average has no such key'),
        ('stages.first.of=[second]', r'stages\[0\]\.of: found a list of 1; expected at least 2'),
        ('stages.second.of=[first, soup]', r'stages\[1\]\.of: a stage of kind train has no such key; remove it'),
        ('stages.soup.off=1', r'stages\[2\]\.off: unknown key.*'),
        ('stages.after.init.rpn_head=soup', None),
    ],
)
def test_its_keys_are_checked_like_our_own(config: pathlib.Path, override: str, message: str | None) -> None:
    if message is None:
        assert checked(config, [override]).pipeline.stages[2].kind == 'average'
        return
    with pytest.raises(ConfigError, match=message):
        checked(config, [override])


def test_what_it_needs_is_demanded(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    lacking = document(tiny_data)
    del lacking['stages'][2]['of']
    with pytest.raises(ConfigError, match=r'stages\[2\]: of: missing; a stage of kind average needs it'):
        checked(tiny.write_config(tmp_path / 'soup.yaml', lacking), [])


def test_a_common_train_is_not_its_own(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    common = document(tiny_data)
    common['train'] = common['stages'][0]['train']
    loaded = checked(tiny.write_config(tmp_path / 'soup.yaml', common), [])
    assert 'train' not in loaded.resolved['stages'][2]


def test_the_plan_says_what_it_is_made_of(config: pathlib.Path, tmp_path: pathlib.Path) -> None:
    code, output = tiny.run_command('plan', config, '--run_dir', tmp_path / 'run')
    assert code == 0, output
    lines = [line.strip() for line in output.splitlines()]
    at = lines.index('soup  run: decided after first, second, which it starts from')
    assert lines[at + 1 : at + 4] == [
        'average     the mean of the variables of first, second',
        'holds       backbone, decoder, rpn_head, detection_head',
        'requires    AP >= 0',
    ]
    assert lines[at + 4] == ''


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """The pipeline file and its finished run."""
    folder = tmp_path_factory.mktemp('soup')
    config = tiny.write_config(folder / 'soup.yaml', document(tiny_data))
    code, output = tiny.run_command('run', config, '--run_dir', folder / 'run', '--in_process')
    assert code == 0, output
    return config, folder / 'run'


def weights(run: pathlib.Path, stage: str) -> dict[str, np.ndarray]:
    return assign.read_stage_checkpoint(tiny.last_checkpoint(run, stage))


@pytest.mark.slow
def test_every_variable_is_the_mean_and_names_its_stages(run: tuple[pathlib.Path, pathlib.Path]) -> None:
    first, second, soup = (weights(run[1], stage) for stage in ('first', 'second', 'soup'))
    lineage, frozen = (files.read_json(run[1] / f'stages/soup/{name}.json') for name in ('lineage', 'frozen'))
    alike = {name for name in soup if first[name].tobytes() == second[name].tobytes()}
    assert {name.split('/')[0] for name in alike} == {'backbone'} and set(frozen) == alike
    for name, value in soup.items():
        assert set(lineage[name]['stages']) == {'first', 'second'} and lineage[name]['key'] == name
        mean = (first[name].astype(np.float64) + second[name]) / 2
        assert value.tobytes() == (first[name] if name in alike else mean.astype(np.float32)).tobytes()
    after = files.read_json(run[1] / 'stages/after/lineage.json')
    assert {origin['stage'] for origin in after.values() if origin['kind'] == 'stage'} == {'soup'}


@pytest.mark.slow
def test_it_is_evaluated_verified_skipped_and_stale_like_every_stage(run: tuple[pathlib.Path, pathlib.Path]) -> None:
    config, run_dir = run
    assert files.read_json(run_dir / 'stages/soup/evaluation.json')['AP50'] >= 0
    code, output = tiny.run_command('verify', run_dir)
    assert code == 0, output
    assert 'all 4 stages are up to date' in tiny.run_command('run', config, '--run_dir', run_dir)[1]
    _, output = tiny.run_command('plan', config, '--run_dir', run_dir, '--set', 'stages.soup.of=[second, first]')
    assert "stale: first's weights of backbone" not in output and 'weights of decoder changed' in output
    _, output = tiny.run_command('plan', config, '--run_dir', run_dir, '--set', 'stages.second.train.batch_size=4')
    assert [line for line in output.splitlines() if line.startswith('soup')] == [
        'soup  run: decided after second, which it starts from'
    ]
    code, output = tiny.run_command('eval', run_dir, '--stage', 'soup')
    assert code == 0 and 'soup: evaluated again, as asked for' in output


@pytest.mark.slow
@pytest.mark.parametrize('place', ['job.json', 'checkpoints/step-00000001'])
def test_killed_at_any_moment_it_ends_with_the_same_bits(
    run: tuple[pathlib.Path, pathlib.Path], place: str, tmp_path: pathlib.Path
) -> None:
    config, run_dir = run[0], shutil.copytree(run[1], tmp_path / 'run')
    killed = tiny.command('run', config, '--run_dir', run_dir, '--only', 'soup', '--force', 'soup', '--in_process')
    while not (run_dir / 'next/soup' / place).exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    code, output = tiny.run_command('run', config, '--run_dir', run_dir, '--only', 'soup', '--in_process')
    assert code == 0, output
    for name in ('evaluation.json', 'frozen.json', 'lineage.json'):
        assert (run_dir / 'stages/soup' / name).read_text() == (run[1] / 'stages/soup' / name).read_text().replace(
            str(run[1]), str(run_dir)
        )
    assert tiny.tensors(tiny.last_checkpoint(run_dir, 'soup')) == tiny.tensors(tiny.last_checkpoint(run[1], 'soup'))
