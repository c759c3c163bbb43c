"""Schedules that move from one weight to another: geometric, linear, and along a cosine."""

import math
from dataclasses import dataclass
from typing import Any

from keras.saving import register_keras_serializable

from keras_physreg.schedules import checks
from keras_physreg.schedules.schedule import Schedule, as_float, namespace, shift
from keras_physreg.terms.weights import checked_weight


@dataclass(frozen=True)
class Ramp(Schedule):
    """Weight 0 before `begin`, from `start` to `end` within `duration`, and `end` afterwards."""

    start: float
    end: float
    duration: float
    begin: float = 0

    _endpoint = staticmethod(checked_weight)

    def __post_init__(self) -> None:
        owner = type(self).__name__
        self._set(
            start=self._endpoint(owner, "start", self.start),
            end=self._endpoint(owner, "end", self.end),
            duration=checks.moment(owner, "duration", self.duration, minimum=1),
            begin=checks.moment(owner, "begin", self.begin),
        )

    def at(self, time: Any) -> Any:
        """See `Schedule.at`."""
        xp = namespace(time)
        passed = as_float(shift(time, self.begin))
        left = -as_float(shift(time, self.begin + self.duration))
        low, high = sorted((self.start, self.end))
        # Measured from the lower weight in both directions, so that no digits cancel near it.
        height = (passed if self.end == high else left) / self.duration
        weight = xp.clip(self.climb(xp, low, high, xp.clip(height, 0.0, 1.0)), low, high)
        return xp.where(passed < 0, 0.0, xp.where(left <= 0, self.end, weight))

    def climb(self, xp: Any, low: float, high: float, height: Any) -> Any:
        """Returns the weight between `low` and `high` for a height from 0 to 1."""
        raise NotImplementedError


@register_keras_serializable(package="keras_physreg")
@dataclass(frozen=True)
class GeometricRamp(Ramp):
    """A ramp in equal ratios, to raise a weight over many decades.

    With `f = (time - begin) / duration`, the weight is `start * (end / start) ** f` while
    `0 <= f < 1`, 0 before and exactly `end` afterwards. From 1e-10 to 1 each tenth of the duration
    multiplies the weight by 10. A linear ramp reaches 1e-2 after a hundredth of the duration.

    Args:
        start: Weight at `begin`, above 0.
        end: Weight from `begin + duration` on, above 0. Below `start` the ramp falls.
        duration: Length of the ramp, at least 1, in the unit of the time (epochs or steps).
        begin: Time at which the ramp begins, at least 0, in the same unit.

    Raises:
        ValueError: If `start` or `end` is not above 0, finite and within float32, `duration` is
            below 1 or `begin` below 0.

    Example:
    >>> ramp = GeometricRamp(1e-10, 1.0, duration=80, begin=80)
    >>> [float(f"{ramp(epoch):.3g}") for epoch in (0, 79, 80, 88, 120, 159, 160)]
    [0.0, 0.0, 1e-10, 1e-09, 1e-05, 0.75, 1.0]
    """

    _endpoint = staticmethod(checks.positive_weight)

    def climb(self, xp: Any, low: float, high: float, height: Any) -> Any:
        """See `Ramp.climb`."""
        # Half the exponent, twice: exp of the whole exponent overflows float32 above 38 decades.
        half = xp.exp(math.log(high / low) / 2 * height)
        return low * half * half


@register_keras_serializable(package="keras_physreg")
@dataclass(frozen=True)
class LinearRamp(Ramp):
    """A ramp in equal differences.

    With `f = (time - begin) / duration`, the weight is `start + (end - start) * f` while
    `0 <= f < 1`, 0 before and exactly `end` afterwards.

    Args:
        start: Weight at `begin`, at least 0.
        end: Weight from `begin + duration` on, at least 0. Below `start` the ramp falls.
        duration: Length of the ramp, at least 1, in the unit of the time (epochs or steps).
        begin: Time at which the ramp begins, at least 0, in the same unit.

    Raises:
        ValueError: If `start` or `end` is negative, not finite or beyond float32, `duration` is
            below 1 or `begin` below 0.

    Example:
    >>> ramp = LinearRamp(0.0, 2.0, duration=4, begin=1)
    >>> [ramp(epoch) for epoch in range(7)]
    [0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    """

    def climb(self, xp: Any, low: float, high: float, height: Any) -> Any:
        """See `Ramp.climb`."""
        return low + (high - low) * height


@register_keras_serializable(package="keras_physreg")
@dataclass(frozen=True)
class CosineRamp(Ramp):
    """A ramp along half a cosine: slow at both ends, fastest in the middle.

    With `f = (time - begin) / duration`, the weight is
    `start + (end - start) * (1 - cos(pi * f)) / 2` while `0 <= f < 1`, 0 before and exactly `end`
    afterwards.

    Args:
        start: Weight at `begin`, at least 0.
        end: Weight from `begin + duration` on, at least 0. Below `start` the ramp falls.
        duration: Length of the ramp, at least 1, in the unit of the time (epochs or steps).
        begin: Time at which the ramp begins, at least 0, in the same unit.

    Raises:
        ValueError: If `start` or `end` is negative, not finite or beyond float32, `duration` is
            below 1 or `begin` below 0.

    Example:
    >>> ramp = CosineRamp(0.0, 1.0, duration=4)
    >>> [round(ramp(epoch), 4) for epoch in range(6)]
    [0.0, 0.1464, 0.5, 0.8536, 1.0, 1.0]

    Reference: [Loshchilov and Hutter, 2017](https://arxiv.org/abs/1608.03983), equation 5, for a
    decreasing learning rate.
    """

    def climb(self, xp: Any, low: float, high: float, height: Any) -> Any:
        """See `Ramp.climb`."""
        # sin(x / 2)**2 = (1 - cos(x)) / 2, without the cancellation near 0.
        return low + (high - low) * xp.sin(math.pi / 2 * height) ** 2
