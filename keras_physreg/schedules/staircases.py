"""Schedules that hold each weight for some time: listed weights, or equal ratios."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras.saving import register_keras_serializable

from keras_physreg._utils.errors import received, sequence
from keras_physreg.schedules import checks
from keras_physreg.schedules.schedule import Schedule, as_float, namespace, shift
from keras_physreg.terms.weights import checked_weight

MAX_STEPS = 10_000  # Of a GeometricStaircase: each step is compared with each time.


@register_keras_serializable(package="keras_physreg")
@dataclass(frozen=True)
class Staircase(Schedule):
    """A list of weights, each held for `every`; the last one stays.

    The weight is `values[i]` with `i = floor((time - begin) / every)`, 0 before `begin`, and the
    last value after the end of the list.

    Args:
        values: List or 1-D array of weights, each at least 0.
        every: Duration of each weight, at least 1, in the unit of the time (epochs or steps).
        begin: Time at which the first weight begins, at least 0, in the same unit.

    Raises:
        ValueError: If a value is negative, not finite or beyond float32, the list is empty,
            `every` is below 1 or `begin` below 0.

    Example:
    >>> stairs = Staircase([0.0, 1e-3, 1.0], every=2)
    >>> [stairs(epoch) for epoch in range(7)]
    [0.0, 0.0, 0.001, 0.001, 1.0, 1.0, 1.0]
    """

    values: Sequence[float]
    every: float
    begin: float = 0

    def __post_init__(self) -> None:
        values = sequence("Staircase", "values", self.values)
        self._set(
            values=tuple(
                checked_weight("Staircase", f"values[{i}]", value) for i, value in enumerate(values)
            ),
            every=checks.moment("Staircase", "every", self.every, minimum=1),
            begin=checks.moment("Staircase", "begin", self.begin),
        )

    def at(self, time: Any) -> Any:
        """See `Schedule.at`."""
        return _stairs(shift(time, self.begin), self.values, self.every)


@register_keras_serializable(package="keras_physreg")
@dataclass(frozen=True)
class GeometricStaircase(Schedule):
    """Steps in equal ratios, each long enough for the losses to settle.

    There are `steps` weights from `start` to `end`, both included, each held for `every`. The
    weight is 0 before `begin`, and exactly `end` after the last step.

    Args:
        start: First weight, above 0.
        end: Last weight, above 0. Below `start` the staircase falls.
        steps: Number of weights, at least 2.
        every: Duration of each weight, at least 1, in the unit of the time (epochs or steps).
        begin: Time at which the first weight begins, at least 0, in the same unit.

    Raises:
        ValueError: If `start` or `end` is not above 0, finite and within float32, `steps` is not
            an integer from 2 to 10000, `every` is below 1 or `begin` below 0.

    Example:
    One decade every 10 epochs, from 1e-10 to 1:

    >>> stairs = GeometricStaircase(1e-10, 1.0, steps=11, every=10)
    >>> [float(f"{stairs(epoch):.3g}") for epoch in (0, 9, 10, 55, 99, 100, 500)]
    [1e-10, 1e-10, 1e-09, 1e-05, 0.1, 1.0, 1.0]
    """

    start: float
    end: float
    steps: int
    every: float
    begin: float = 0

    def __post_init__(self) -> None:
        owner = "GeometricStaircase"
        self._set(
            start=checks.positive_weight(owner, "start", self.start),
            end=checks.positive_weight(owner, "end", self.end),
            steps=checks.moment(owner, "steps", self.steps, minimum=2),
            every=checks.moment(owner, "every", self.every, minimum=1),
            begin=checks.moment(owner, "begin", self.begin),
        )
        if not isinstance(self.steps, int) or self.steps > MAX_STEPS:
            raise ValueError(
                f"{owner}: `steps` must be an integer, at most {MAX_STEPS}. "
                + received("steps", self.steps)
            )

    def at(self, time: Any) -> Any:
        """See `Schedule.at`."""
        values = np.geomspace(self.start, self.end, self.steps)
        return _stairs(shift(time, self.begin), values, self.every)


def _stairs(passed: Any, values: Any, every: int | float) -> Any:
    """Returns the value at `floor(passed / every)`, by comparisons: a division would round."""
    xp = namespace(passed)
    edges = every * np.arange(len(values))
    if isinstance(every, float):
        passed, edges = as_float(passed), edges.astype("float32")
    climbed = xp.sum(xp.greater_equal(xp.expand_dims(passed, -1), edges), axis=-1)
    levels = np.concatenate([[0.0], values])
    return xp.take(levels if xp is np else levels.astype("float32"), climbed)
