"""The form that a data set lies in decides nothing: BCCD as VOC, COCO, CSV and TFRecord trains to the same bits."""

from __future__ import annotations

import pathlib
import shutil

import pytest
import tensorflow as tf
import tf_keras

from stagetrain.config import schema
from stagetrain.data import convert
from stagetrain.data.index import load_dataset
from stagetrain.data.writers import WRITERS
from stagetrain.pipeline.jobs import StageJob
from stagetrain.training.step import StepFunction, Task, build_step
from stagetrain.weights import names
from tests import tiny

pytestmark = pytest.mark.numbers
CLASSES = ['RBC', 'WBC', 'Platelets']
LOSSES = tiny.RPN | tiny.HEAD
NUM_IMAGES, NUM_STEPS = 8, 4


@pytest.fixture(scope='module')
def voc(bccd: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> schema.DataSource:
    """Eight images of BCCD in a folder of their own."""
    root = tmp_path_factory.mktemp('bccd') / 'voc'
    ids = (bccd / 'ImageSets' / 'Main' / 'test.txt').read_text().split()[:NUM_IMAGES]
    for folder, suffix in (('Annotations', '.xml'), ('JPEGImages', '.jpg')):
        (root / folder).mkdir(parents=True)
        for image_id in ids:
            shutil.copy(bccd / folder / f'{image_id}{suffix}', root / folder)
    return schema.DataSource(format='voc', path=str(root))


def converted(voc: schema.DataSource, to: str, folder: pathlib.Path) -> schema.DataSource:
    dataset = load_dataset(voc, schema.Data(classes=CLASSES, train=voc, validation=voc), 'train', None)
    convert.convert(convert.plan(dataset, to, 'train'), folder / to, num_processes=1)
    return WRITERS[to].source(folder / to, 'train')


def job_on(source: schema.DataSource, run_dir: pathlib.Path) -> StageJob:
    parser = {'aug_rand_hflip': True, 'aug_scale_min': 0.8, 'aug_scale_max': 1.2, 'max_num_instances': 40}
    document = tiny.pipeline(run_dir, [tiny.stage('joint', LOSSES)], parser=parser)
    document['data'] = {'classes': CLASSES, 'train': source.model_dump(), 'validation': source.model_dump()}
    return tiny.job(run_dir, document, 'joint')


class Trainee:
    """A tiny detector that trains from the same initial values each time; its graph is built once."""

    def __init__(self, job: StageJob) -> None:
        self.detector = tiny.context(job).build_detector(('backbone', 'decoder', 'rpn_head', 'detection_head'))
        self._optimizer = tf_keras.optimizers.SGD(0.01, momentum=0.9)
        trained = [variable for variable in names.named_variables(self.detector.modules).values() if variable.trainable]
        self._task = Task(self.detector, self._optimizer, LOSSES, trained, tf.Variable(0, dtype=tf.int64))
        self._step: StepFunction = build_step(self._task, tf.distribute.get_strategy())
        self._optimizer.build(trained)
        self._variables = [*names.named_variables(self.detector.modules).values(), *self._optimizer.variables]
        self._initial = [variable.numpy() for variable in self._variables]

    def losses(self, job: StageJob) -> list[dict[str, bytes]]:
        """Returns every loss of every step, as bits."""
        for variable, value in zip(self._variables, self._initial, strict=True):
            variable.assign(value)
        batches = tiny.training_input(job, self.detector, sorted(LOSSES)).batches(0, NUM_STEPS)
        return [{name: value.numpy().tobytes() for name, value in self._step(batch).items()} for batch in batches]


def test_every_form_of_bccd_gives_the_same_losses_to_the_bit(voc: schema.DataSource, tmp_path: pathlib.Path) -> None:
    forms = {'voc': voc, **{to: converted(voc, to, tmp_path) for to in ('coco', 'csv', 'tfrecord')}}
    jobs = {form: job_on(source, tmp_path / f'run_{form}') for form, source in forms.items()}
    trainee = Trainee(jobs['voc'])
    losses = {form: trainee.losses(job) for form, job in jobs.items()}
    assert len(losses['voc']) == NUM_STEPS and len({step['total'] for step in losses['voc']}) == NUM_STEPS
    for form in ('coco', 'csv', 'tfrecord'):
        assert losses[form] == losses['voc'], form
