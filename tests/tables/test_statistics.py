"""Intervals over seeds, and what is best beyond the noise."""

import math

import numpy as np
import pytest
from scipy import stats

from augment_gen.tables import statistics

OURS, REFERENCE = {0: 55.0, 1: 54.0, 2: 56.5}, {0: 50.0, 1: 49.5, 2: 50.5, 3: 90.0}


def test_differences_are_paired_over_common_seeds():
  difference = statistics.paired_difference(OURS, REFERENCE)
  values = np.array([5.0, 4.5, 6.0])
  assert difference.mean == pytest.approx(values.mean())
  test = stats.ttest_1samp(values, 0.0)
  assert difference.p == pytest.approx(test.pvalue)
  assert difference.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
  assert statistics.paired_difference(OURS, {2: 1.0, 7: 2.0}) is None


def test_bootstrap_against_all_resamples():
  """With three values there are 27 resamples; the quantiles are among their means."""
  values = np.array([5.0, 4.5, 6.0])
  means = np.sort(np.mean(np.stack(np.meshgrid(values, values, values)).reshape(3, -1), 0))
  low, high = statistics.bootstrap_interval(values)
  exact = np.quantile(np.repeat(means, 100), (0.025, 0.975))
  assert (low, high) == pytest.approx(tuple(exact), abs=0.05)
  difference = statistics.paired_difference(OURS, REFERENCE)
  assert difference.bootstrap == (low, high)
  assert f"bootstrap [{low:+.2f}, {high:+.2f}]" in str(difference)
  assert difference.interval[0] < low < high < difference.interval[1]  # too narrow


def test_two_values_are_not_resampled():
  assert all(map(math.isnan, statistics.bootstrap_interval([1.0, 2.0])))
  assert "bootstrap" not in str(statistics.paired_difference({0: 1, 1: 2}, {0: 0, 1: 0}))


def test_best_beyond_the_noise():
  rows = {"a": {0: 50.0, 1: 51.0, 2: 52.0}, "b": {0: 45.0, 1: 46.5, 2: 47.0},
          "c": {0: 10.0, 1: 11.0, 2: 12.0}}
  first, second, difference = statistics.best(rows)
  assert (first, second) == ("a", "b")
  assert difference.mean == pytest.approx(np.mean([5.0, 4.5, 5.0]))
  assert statistics.best({**rows, "b": {0: 49.0, 1: 52.0, 2: 50.0}}) is None  # noise
  # Each other row counts, not only the one with the second best mean.
  assert statistics.best({**rows, "d": {0: 49.0, 1: 39.0, 2: 45.0}}) is None
  # Without any spread there is no interval.
  assert statistics.best({"a": {0: 5.0, 1: 6.0}, "b": {0: 4.0, 1: 5.0}}) is None
  assert statistics.best({**rows, "d": {2: 10.0}}) is None  # one common seed says nothing
  assert statistics.best({name: {0: row[0]} for name, row in rows.items()}) is None
  assert statistics.best({"a": rows["a"]}) is None
