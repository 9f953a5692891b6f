"""An artefact and a loss from outside the package, one file each: planned, made, proved and resumed like our own."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any

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
    stages = [
        tiny.stage('teacher', EVERYTHING, SHORT),
        tiny.stage(
            'student',
            EVERYTHING | {'imitation': 0.5},
            {'steps': 4},
            losses={'imitation': {'from': 'teacher'}},
            pseudo_labels={'from': 'teacher', 'images': 'unlabelled', 'min_score': 0.0},
        ),
    ]
    parser = {'aug_rand_hflip': True, 'max_num_instances': 100}
    return {
        **tiny.pipeline(data, stages, parser=parser),
        'plugins': [str(OUTSIDE / name) for name in ('pseudo_labels', 'imitation')],
    }


@pytest.fixture
def config(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> pathlib.Path:
    """The pipeline file, with three unlabelled images beside it."""
    (tmp_path / 'unlabelled').mkdir()
    for image in sorted((tiny_data / 'JPEGImages').iterdir())[:3]:
        shutil.copy(image, tmp_path / 'unlabelled')
    return tiny.write_config(tmp_path / 'outside.yaml', document(tiny_data))


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('stages.student.losses.imitation.from=student', r"losses\.imitation\.from: 'student' is this stage itself"),
        ('stages.student.losses.imitation.power=two', r'losses\.imitation\.power'),
        ('stages.student.loss_weights.imitation=0', r'losses\.imitation: has no weight above 0'),
        ('stages.teacher.loss_weights.imitation=1', r'loss_weights\.imitation: has no settings; give them under losses'),
        ('stages.teacher.pseudo_labels={from: student, images: x}', r"pseudo_labels\.from: stage 'student' comes later"),
        ('stages.student.pseudo_labels.score=1', r'pseudo_labels\.score: unknown key'),
    ],
)
def test_their_settings_are_checked_like_our_own(config: pathlib.Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(config, [override])


@pytest.mark.slow
def test_a_student_learns_from_a_teacher_and_its_labels(config: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run = tmp_path / 'run'
    code, output = tiny.run_command('run', config, '--run_dir', run, '--in_process')
    assert code == 0, output
    assert 'pseudo_labels of teacher: ' in output
    (labels,) = (run / 'stores/pseudo_labels').glob('*/labels.json')
    assert len(files.read_json(labels)) == 3
    frozen, lineage = (files.read_json(run / f'stages/student/{name}.json') for name in ('frozen', 'lineage'))
    teacher = [name for name in lineage if name.startswith('imitation.teacher/')]
    assert {lineage[name]['stage'] for name in teacher} == {'teacher'} and set(teacher) <= set(frozen)
    losses = files.read_json_lines(run / 'stages/student/metrics.jsonl')
    assert all(line['losses']['imitation'] > 0 for line in losses if line.get('losses'))
    code, output = tiny.run_command('verify', run)
    assert code == 0, output
    code, output = tiny.run_command('run', config, '--run_dir', run)
    assert code == 0 and 'all 2 stages are up to date' in output
    code, output = tiny.run_command('plan', config, '--run_dir', run, '--set', 'stages.teacher.train.steps=3')
    assert 'decided after teacher' in output
    weights = assign.read_stage_checkpoint(tiny.last_checkpoint(run, 'student'))
    for path in (run / 'stages/student/checkpoints').glob('step-00000004'):
        shutil.rmtree(path)
    code, output = tiny.run_command('run', config, '--run_dir', run, '--in_process')
    assert code == 0, output
    again = assign.read_stage_checkpoint(tiny.last_checkpoint(run, 'student'))
    assert {name: value.tobytes() for name, value in again.items()} == {name: value.tobytes() for name, value in weights.items()}
    next((tmp_path / 'unlabelled').glob('*.jpg')).unlink()
    code, output = tiny.run_command('plan', config, '--run_dir', run)
    assert 'pseudo_labels.input[0] changed' in output, output
