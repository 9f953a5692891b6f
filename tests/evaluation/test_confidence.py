"""Paired differences: the interval of Student's t, and what is said of it."""

from __future__ import annotations

import math

import pytest

from stagetrain.evaluation import confidence


@pytest.mark.parametrize(('degrees', 'expected'), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (9, 2.2622), (30, 2.0423)])
def test_quantiles_are_those_of_the_tables(degrees: int, expected: float) -> None:
    assert confidence.t_quantile(0.975, degrees) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize('degrees', range(1, 12))
@pytest.mark.parametrize('probability', [0.6, 0.9, 0.995])
def test_quantiles_are_scipys(degrees: int, probability: float) -> None:
    stats = pytest.importorskip('scipy.stats')
    assert confidence.t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    found = confidence.paired([0.52, 0.53, 0.51], [0.50, 0.50, 0.50])
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert (found.mean, found.num_seeds) == (pytest.approx(0.02), 3)
    assert (found.low, found.high) == (pytest.approx(0.02 - half, abs=1e-6), pytest.approx(0.02 + half, abs=1e-6))
    assert not found.is_certain


def test_a_spread_that_both_share_does_not_count() -> None:
    found = confidence.paired([0.40, 0.50, 0.60], [0.391, 0.489, 0.59])
    assert found.is_certain and found.low is not None and found.low > 0


def test_it_is_said_in_words_whether_one_is_better() -> None:
    better = confidence.paired([0.41, 0.51, 0.61], [0.391, 0.489, 0.59])
    assert better.words('a', 'b', 'AP') == (
        'a is better than b in AP: difference +0.020 (95% interval +0.018 to +0.022, paired t over 3 seeds)'
    )
    worse = confidence.paired([0.391, 0.489, 0.59], [0.41, 0.51, 0.61]).words('a', 'b', 'AP')
    assert worse.startswith('a is worse than b in AP: difference -0.020')
    unknown = confidence.paired([0.5, 0.6], [0.5, 0.5]).words('a', 'b', 'AP')
    assert unknown.startswith('a and b cannot be told apart in AP: difference +0.050 (95% interval -0.585 to +0.685, paired t')


def test_one_seed_says_nothing_of_the_spread() -> None:
    one = confidence.paired([0.5], [0.52])
    assert (one.low, one.high, one.is_certain) == (None, None, False)
    assert one.words('a', 'b', 'AP') == (
        'a has 0.020 less AP than b with one seed, which says nothing of the spread over seeds; --seeds=3 does'
    )
