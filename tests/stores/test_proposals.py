"""Stored proposals are what the RPN proposes on the fly, for the plain and the mirrored image; made again where they stopped."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.detectors.detector import BatchProposals, Detector, Proposing
from stagetrain.errors import DamagedFile, Interrupted
from stagetrain.images.batches import evaluation_batches
from stagetrain.images.geometry import plain_view
from stagetrain.images.loading import Images
from stagetrain.images.network_input import Batch
from stagetrain.images.views import Views
from stagetrain.pipeline.answers import ProposalsResult
from stagetrain.pipeline.jobs import ArtefactJob
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.stores import arrays, features, proposals
from stagetrain.weights import assign
from tests import tiny
from tests.tiny import Trained

PROPOSING = ('backbone', 'decoder', 'rpn_head')
ONE = Proposing(pre_nms_top_k=1, nms_iou=0.5, num_proposals=1)
pytestmark = [pytest.mark.numbers, pytest.mark.slow]


def proposals_job(joint: Trained, folder: pathlib.Path) -> ArtefactJob:
    """Returns the job that makes proposals with the joint stage's modules for a stage that reads them."""
    data = pathlib.Path(joint.job.pipeline['data']['train']['path'])
    settings = {'from': 'joint', 'max_per_image': 20, 'pre_nms_top_k': 60, 'nms_iou': 0.6}
    stages = [tiny.stage('joint', tiny.RPN | tiny.HEAD), tiny.stage('head', tiny.HEAD, proposals=settings)]
    store = folder / 'stores' / 'proposals' / 'made'
    store.parent.mkdir(parents=True)
    document = tiny.pipeline(data, stages)
    return tiny.proposals_job(folder, document, 'head', dict.fromkeys(PROPOSING, joint.origin), store)


@dataclasses.dataclass(frozen=True)
class Made:
    """A finished store, and what it was made with."""

    job: ArtefactJob
    result: ProposalsResult
    detector: Detector

    @property
    def folder(self) -> pathlib.Path:
        """The store."""
        return pathlib.Path(self.job.folder)


@pytest.fixture(scope='module')
def made(joint: Trained, tmp_path_factory: pytest.TempPathFactory) -> Made:
    job = proposals_job(joint, tmp_path_factory.mktemp('proposals'))
    result = proposals.make_proposals(job, lambda event: None, lambda: False)
    detector = tiny.context(job).build_detector(PROPOSING)
    assign.initialise(detector.modules, job.origins)
    return Made(job, result, detector)


def on_the_fly(made: Made, images: Images, index: int, is_mirrored: bool) -> np.ndarray:
    """Returns the proposals of one training image by a call of the detector."""
    view = dataclasses.replace(plain_view(), flip=tf.constant(int(is_mirrored)))
    batch = {'image': images.show(tf.constant(index), view)[tf.newaxis], 'image_shape': tf.constant([[64.0, 64.0]])}
    boxes, scores = made.detector.propose(batch, Proposing(60, 0.6, 20))
    return np.where(scores[0, :, tf.newaxis] > 0, boxes[0], -1.0)


def store_features(made: Made, run_dir: pathlib.Path) -> None:
    """Stores what a stage with frozen backbone and decoder would store of its training views."""
    images = tiny.context(made.job).training_images()
    views = Views(images.geometry, tf.constant([0, 0]), None)
    cut = made.detector.frozen_cut(['rpn_head/conv'])
    assert cut is not None and cut.module == 'decoder'
    store = features.FeatureStore(made.detector, features.StoreDecision('disk', '', cut), images, views, 'float32')
    folder = RunDirectory(run_dir).store('features') / store.fingerprint()
    folder.parent.mkdir(parents=True)
    store.on_disk(folder, lambda done, total: None, lambda: False)


def test_the_features_that_the_proposing_stage_stored_give_the_same_bits_and_no_training_image_is_decoded(
    made: Made, joint: Trained, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = proposals_job(joint, tmp_path)
    store_features(made, tmp_path)
    decoded = []
    resized = Images.resized
    monkeypatch.setattr(Images, 'resized', lambda self, index: decoded.append(self) or resized(self, index))  # Traced once a set.
    again = proposals.make_proposals(job, lambda event: None, lambda: False)
    assert again['digest'] == made.result['digest']
    assert [len(images) for images in decoded] == [6]


def test_stored_proposals_are_those_made_on_the_fly(made: Made) -> None:
    images = tiny.context(made.job).training_images()
    read = proposals.ProposalReader(made.folder, None).training(images)['proposals']
    for index, is_mirrored in ((0, False), (0, True), (11, True)):
        view = dataclasses.replace(plain_view(), flip=tf.constant(int(is_mirrored)))
        stored = read(tf.constant(index), view).numpy()
        expected = on_the_fly(made, images, index, is_mirrored)
        assert stored.shape == (20, 4) and stored.max() > 10
        np.testing.assert_allclose(np.sort(stored, axis=0), np.sort(expected, axis=0), atol=1e-3)


class BrightestColumn:
    """Proposes the brightest column of an image: unlike an untrained network, it surely sees which way round the image is."""

    def propose(self, batch: Batch, how: Proposing) -> BatchProposals:
        column = tf.cast(tf.argmax(tf.reduce_sum(batch['image'], axis=[1, 3]), axis=1), tf.float32)
        boxes = tf.stack([tf.zeros_like(column), column, tf.fill(tf.shape(column), 64.0), column + 1.0], axis=-1)
        return BatchProposals(boxes[:, tf.newaxis], tf.ones([tf.shape(column)[0], 1]))


def test_a_mirrored_row_holds_the_mirrored_boxes(made: Made) -> None:
    images = tiny.context(made.job).training_images()
    rows = proposals._rows(BrightestColumn(), ONE, len(images), proposals._read_forms(images, 2, None))
    assert rows.count == 24
    boxes = rows.compute(0, 24)[:, 0]
    plain, mirrored = boxes[0::2], boxes[1::2]
    np.testing.assert_array_equal(mirrored[:, 1], 63.0 - plain[:, 1])
    np.testing.assert_array_equal(
        mirrored, images.geometry.mirror_boxes(tf.constant(plain), tf.constant(1), tf.constant([64.0, 64.0]))
    )
    np.testing.assert_array_equal(rows.compute(6, 10)[:, 0], boxes[6:10])


def test_validation_proposals_are_those_of_inference(made: Made) -> None:
    images = tiny.context(made.job).validation_images()
    reader = proposals.ProposalReader(made.folder, None)
    read, pixels = reader.validation(images)['proposals'], reader.pixels(images)
    batch = next(iter(evaluation_batches(images, len(images), {})))
    boxes, scores = made.detector.propose(batch, Proposing(1000, 0.7, 50))
    valid = boxes[2].numpy()[scores[2].numpy() > 0]
    assert read(2).shape == (50, 4) and len(pixels[2]) == len(valid) > 0
    np.testing.assert_allclose(np.sort(pixels[2], axis=0), np.sort(valid, axis=0), atol=1e-3)
    assert sorted(made.result['recall']) == sorted(key for key in made.result['recall'] if key.startswith(('AR', 'recall')))


def test_an_interrupted_store_is_made_again_with_the_same_digest(made: Made, joint: Trained, tmp_path: pathlib.Path) -> None:
    job = proposals_job(joint, tmp_path)
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) == 2

    with pytest.raises(Interrupted, match=r'made: stopped after 24 of 30 rows'):
        proposals.make_proposals(job, lambda event: None, should_stop)
    result = proposals.make_proposals(job, lambda event: None, lambda: False)
    assert result['digest'] == made.result['digest'] == arrays.verify(made.folder)
    assert (result['num_images'], result['recall']) == (18, made.result['recall'])
    path = next(pathlib.Path(job.folder).glob('train-*.npy'))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DamagedFile, match=path.name):
        arrays.verify(pathlib.Path(job.folder))
