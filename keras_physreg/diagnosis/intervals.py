"""Intervals that hold for few rows: of means, shares and correlations."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from keras_physreg._utils.student_t import student_t_cdf

# Beyond so many degrees of freedom the quantiles are those of a normal variable to 1 %.
MAX_FREEDOM = 200
# Standard errors beyond which probabilities are below the precision of a float.
LARGEST_Z = 7.0


def improbable(t: float, count: int, z: float, tests: int = 1) -> bool:
    """Returns whether a mean over its standard error is as improbable as `z` standard errors.

    Of a mean of `count` values the error follows Student's t distribution, not the normal one:
    Student, "The probable error of a mean" (1908). Of several tests each must be as many times
    less probable: Dunn, "Multiple comparisons among means" (1961).

    Args:
        t: The mean over its standard error.
        count: Number of values that the mean is of.
        z: Standard errors of a normal variable.
        tests: Number of means that are looked at.

    Example:
    >>> improbable(2.3, 10, 1.96), improbable(2.2, 10, 1.96)
    (True, False)
    """
    if count < 2:
        return False
    if z >= LARGEST_Z:
        return abs(t) >= z
    chance = 2 * (1 - NormalDist().cdf(z)) / tests
    freedom = min(count - 1, MAX_FREEDOM)
    return 2 * _below(-abs(t), freedom) <= chance


def t_quantile(confidence: float, count: int) -> float:
    """Returns how many standard errors a two-sided interval of a mean of `count` values reaches.

    Args:
        confidence: Probability that the interval holds the mean.
        count: Number of values, at least 2.

    Example:
    >>> round(t_quantile(0.95, 10), 3)
    2.262
    """
    low, high, freedom = 0.0, 1e4, min(count - 1, MAX_FREEDOM)
    for _ in range(60):
        middle = (low + high) / 2
        inside = 1 - 2 * _below(-middle, freedom)
        low, high = (middle, high) if inside < confidence else (low, middle)
    return high


def mean_interval(values: np.ndarray, confidence: float) -> tuple[float, float]:
    """Returns the interval of a mean by Student's t distribution.

    Args:
        values: At least 2 values.
        confidence: Probability that the interval holds the mean.
    """
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = t_quantile(confidence, len(values)) * error
    mean = float(np.mean(values))
    return mean - half, mean + half


def share_interval(hits: int, count: int, confidence: float) -> tuple[float, float]:
    """Returns the exact interval of a share.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case
    of the binomial" (1934).

    Args:
        hits: How many of them.
        count: Of how many.
        confidence: Least probability that the interval holds the share.

    Example:
    >>> [round(end, 4) for end in share_interval(3, 20, 0.95)]
    [0.0321, 0.3789]
    """
    tail = (1 - confidence) / 2
    low = _bisect(lambda p: 1 - _binomial_cdf(hits - 1, count, p) < tail) if hits else 0.0
    high = _bisect(lambda p: _binomial_cdf(hits, count, p) >= tail) if hits < count else 1.0
    return low, high


def correlation_interval(
    r: float, count: int, confidence: float, rank: bool = False
) -> tuple[float, float]:
    """Returns the interval of a correlation, by its inverse hyperbolic tangent.

    Sources: Fisher, "On the probable error of a coefficient of correlation deduced from a small
    sample" (1921); of ranks Fieller, Hartley and Pearson, "Tests for rank correlation
    coefficients" (1957).

    Args:
        r: The correlation.
        count: Number of pairs.
        confidence: Probability that the interval holds the correlation.
        rank: Whether it is one of ranks.

    Example:
    >>> [round(end, 3) for end in correlation_interval(0.5, 28, 0.95)]
    [0.156, 0.736]
    """
    if count < 4:
        return -1.0, 1.0
    error = math.sqrt((1.06 if rank else 1.0) / (count - 3))
    half = NormalDist().inv_cdf((1 + confidence) / 2) * error
    middle = math.atanh(min(max(r, -1 + 1e-12), 1 - 1e-12))
    return math.tanh(middle - half), math.tanh(middle + half)


def _below(t: float, freedom: int) -> float:
    """Returns the probability that a variable of Student's t distribution is at most `t`."""
    return float(student_t_cdf(np.array(t), np.array(freedom)))


def _binomial_cdf(hits: int, count: int, p: float) -> float:
    if hits < 0:
        return 0.0
    k = np.arange(hits + 1)
    logs = [math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1) for i in k]
    return float(np.exp(np.array(logs) + k * math.log(p) + (count - k) * math.log1p(-p)).sum())


def _bisect(is_below: Callable[[float], bool]) -> float:
    """Returns where a condition on a share ends to hold."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return (low + high) / 2
