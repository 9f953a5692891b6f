"""Oversampling of rare classes."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.images import oversampling
from stagetrain.pipeline.jobs import StageJob
from tests import tiny


def test_an_image_is_repeated_by_its_rarest_class() -> None:
    classes = [np.array([1, 1, 2]), np.array([1]), np.array([], int), np.array([1, 3])]
    # Shares: 3/4, 1/4, 1/4. With a threshold of 1/2 classes 2 and 3 are rare: sqrt(0.5 / 0.25).
    np.testing.assert_allclose(oversampling.repeat_factors(classes, 0.5), [2**0.5, 1, 1, 2**0.5])
    np.testing.assert_array_equal(oversampling.repeat_factors(classes, 0.1), [1, 1, 1, 1])


def test_fractions_are_rounded_up_with_their_chance_and_by_the_seed_alone() -> None:
    factors = np.array([2.0, *[1.25] * 400])
    order = oversampling.epoch(factors, tf.constant([1, 2])).numpy()
    counts = np.bincount(order)
    assert counts[0] == 2 and set(counts[1:].tolist()) == {1, 2}
    assert 70 < (counts[1:] == 2).sum() < 130
    np.testing.assert_array_equal(order, oversampling.epoch(factors, tf.constant([1, 2])))
    assert not np.array_equal(order, oversampling.epoch(factors, tf.constant([1, 3])))


@pytest.fixture(scope='module')
def job(tmp_path_factory: pytest.TempPathFactory, tiny_data: pathlib.Path) -> StageJob:
    document = tiny.pipeline(tiny_data, [tiny.stage('rpn', tiny.RPN, train={'repeat_threshold': 1.0})])
    return tiny.job(tmp_path_factory.mktemp('oversampled'), document, 'rpn')


def test_a_stage_shows_images_of_rare_classes_more_often_and_resumes_in_the_same_order(job: StageJob) -> None:
    detector = tiny.context(job).build_detector(('backbone', 'decoder', 'rpn_head'))
    train = tiny.training_input(job, detector, [*tiny.RPN])
    factors = train._images.repeat_factors
    assert factors is not None and factors.max() > 1
    num_steps = len(oversampling.epoch(factors, train._seed)) // 2
    seen = [batch['image_index'].numpy().tolist() for batch in train.batches(0, num_steps)]
    counts = np.bincount(np.concatenate(seen), minlength=12)
    assert sorted(set(counts.tolist())) in ([1, 2], [0, 1, 2])  # The odd one out of an epoch may be missing.
    assert factors[counts == 2].min() > 1
    resumed = tiny.training_input(job, detector, [*tiny.RPN]).batches(num_steps - 2, num_steps)
    assert [batch['image_index'].numpy().tolist() for batch in resumed] == seen[-2:]
