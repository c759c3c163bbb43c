"""Tabulated: the weights of a schedule, computed in blocks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from keras_physreg.schedules.chain import Chain
from keras_physreg.schedules.schedule import Schedule
from keras_physreg.schedules.values import weight_at
from keras_physreg.terms.weights import MAX_WEIGHT, MIN_WEIGHT

TIMES_PER_BLOCK = 1024


def is_known(schedule: Any) -> bool:
    """Returns whether a schedule is one of this package, which has a weight at every time."""
    if isinstance(schedule, Chain):
        return all(map(is_known, schedule.schedules))
    return isinstance(schedule, Schedule) and type(schedule).__module__.startswith("keras_physreg.")


class Tabulated:
    """The weights of a schedule, as `weight_at` returns them.

    A schedule of this package computes a thousand weights in about the time of one. Any other
    callable is called for one time after another: it need not know times that never come.

    Args:
        name: Name of the term, for error messages.
        schedule: A callable from time to weight.

    Example:
    >>> from keras_physreg.schedules import LinearRamp
    >>> weights = Tabulated("x", LinearRamp(0.0, 1.0, duration=10))
    >>> weights.at(3), weights.at(4), weights.at(20)
    (0.3, 0.4, 1.0)
    """

    def __init__(self, name: str, schedule: Callable[[Any], Any]) -> None:
        self._name, self._schedule = name, schedule
        self._begin = 0
        self._weights: list[float] = []

    def at(self, time: int) -> float:
        """Returns the weight at a time, in epochs or steps; raises as `weight_at` does."""
        position = time - self._begin
        if not 0 <= position < len(self._weights):
            self._begin, self._weights, position = time, self._block(time), 0
        return self._weights[position]

    def _block(self, time: int) -> list[float]:
        """Returns the weights from a time on, at least one."""
        if isinstance(self._schedule, Schedule):
            times = np.arange(time, time + TIMES_PER_BLOCK)
            try:
                weights = np.asarray(self._schedule(times), "float64")
            except (TypeError, ValueError):  # A subclass that takes single times only.
                weights = np.empty(0)
            if weights.shape == times.shape and np.all((weights >= 0) & (weights <= MAX_WEIGHT)):
                return np.where(weights >= MIN_WEIGHT, weights, 0.0).tolist()
        return [weight_at(self._name, self._schedule, time)]
