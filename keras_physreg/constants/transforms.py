"""Smooth maps from a dimensionless variable, 0 at the initial value, to a bounded constant."""

from typing import Any

import numpy as np
from keras import ops

MAX_RAW = 1e6  # A variable of this size gives the end of the constant's range.
# Slope of softplus where its value is 1, which is the initial value of the constant.
_SOFTPLUS_SLOPE = 1.0 - np.exp(-1.0)


class Transform:
    """Maps a dimensionless variable `u` to a constant, and `u = 0` exactly to its initial value.

    With `i` the initial value and `v = u * scale / s`, where `s` is the slope of the map at
    `v = 0` (so that the slope by `u` is `scale` there), the constant is:

    - no bound: `i + v`;
    - one bound `low`, at the distance `d = i - low`: `low + d * softplus(v + log(e - 1))`, and
      mirrored for `high`;
    - two bounds: `low + (high - low) * sigmoid(v + logit((i - low) / (high - low)))`.

    With `log`, the same maps act on the logarithm of the constant. The code computes differences
    from the initial value, so that no digits cancel if a bound is far away.

    Sources: Stan Reference Manual, "Constraint Transforms" (logit); Dugas et al., "Incorporating
    Second-Order Functional Knowledge for Better Option Pricing", 2000 (softplus).

    Args:
        initial: Array of initial values.
        low: Array of the same shape, or `None`.
        high: Array of the same shape, or `None`.
        log: Whether to act on the logarithm.
        scale: Array of slopes at the initial value, or `None` for the default of `Constant`.
        dtype: Floating dtype of the tensors.
    """

    def __init__(
        self, initial: np.ndarray, low: Any, high: Any, log: bool, scale: Any, dtype: str
    ) -> None:
        self._log, self._dtype = log, dtype
        self._initial, self._low, self._high = initial, low, high
        self._below = None if low is None else self._distance(initial, low)
        self._above = None if high is None else self._distance(high, initial)
        factor = initial if log else np.ones_like(initial)
        step = self._default_step() if scale is None else scale / factor
        self.scale = step * factor
        self._speed = step / self._slope()

    def __call__(self, raw: Any) -> Any:
        """Returns the constant at a value of the variable: a tensor of its shape and dtype."""
        moved = self._displacement(self._tensor(self._speed) * raw)
        initial = self._tensor(self._initial)
        value = initial * ops.exp(moved) if self._log else initial + moved
        if self._low is None and self._high is None:
            return value
        # Rounding may exceed a bound slightly. The value is clipped, the gradient is not.
        return self._clip(value + ops.stop_gradient(self._clip(value) - value))

    def position(self, value: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Returns the distances of a value to the bounds, as shares of the initial distances."""
        below = None if self._below is None else self._distance(value, self._low) / self._below
        above = None if self._above is None else self._distance(self._high, value) / self._above
        return below, above

    def nearest_to_zero(self) -> np.ndarray:
        """Returns the variable at which the constant is as close to 0 as its bounds allow."""
        low, high = (np.full(self._initial.shape, raw, self._dtype) for raw in (-MAX_RAW, MAX_RAW))
        for _ in range(80):
            middle = (low + high) / 2
            positive = ops.convert_to_numpy(self(ops.convert_to_tensor(middle))) > 0
            low, high = np.where(positive, low, middle), np.where(positive, middle, high)
        return low.astype(self._dtype)

    def _displacement(self, v: Any) -> Any:
        """Returns the difference of the constant, or its logarithm, from the initial value."""
        if self._below is None and self._above is None:
            return v
        if self._below is None or self._above is None:
            sign = 1.0 if self._above is None else -1.0
            return sign * self._one_sided(sign * v)
        ahead = v >= 0
        decay = ops.expm1(ops.where(ahead, -v, v))
        share = self._below / (self._below + self._above)
        turned = ops.where(ahead, -decay, decay)
        bend = ops.where(ahead, self._tensor(share - 1.0), self._tensor(share))
        return self._tensor(self._slope()) * turned / (1.0 + bend * turned)

    def _one_sided(self, v: Any) -> Any:
        ahead = v >= 0
        decay = ops.expm1(ops.where(ahead, -v, v))
        bend = ops.where(ahead, 1.0 - _SOFTPLUS_SLOPE, _SOFTPLUS_SLOPE)
        bend = ops.cast(bend, self._dtype)
        ahead_by = ops.where(ahead, v, ops.zeros_like(v))
        return self._tensor(self._single_distance()) * (ahead_by + ops.log1p(bend * decay))

    def _slope(self) -> np.ndarray:
        if self._below is None and self._above is None:
            return np.ones_like(self._initial)
        if self._below is None or self._above is None:
            return self._single_distance() * _SOFTPLUS_SLOPE
        return self._below * self._above / (self._below + self._above)

    def _default_step(self) -> np.ndarray:
        """Returns the default scale, of the logarithm with `log`; see `Constant`."""
        size = np.ones_like(self._initial) if self._log else np.abs(self._initial)
        rooms = [np.where(size > 0, size, np.inf)]
        if self._below is not None and self._above is not None:
            rooms.append(self._slope())
        elif self._below is not None or self._above is not None:
            rooms.append(self._single_distance())
        step = np.min(rooms, axis=0)
        return np.where(np.isfinite(step), step, 1.0)

    def _single_distance(self) -> np.ndarray:
        distance = self._above if self._below is None else self._below
        assert distance is not None
        return distance

    def _distance(self, high: Any, low: Any) -> np.ndarray:
        return np.log(high / low) if self._log else high - low

    def _clip(self, value: Any) -> Any:
        if self._low is not None:
            value = ops.maximum(value, self._tensor(self._low))
        return value if self._high is None else ops.minimum(value, self._tensor(self._high))

    def _tensor(self, array: Any) -> Any:
        return ops.convert_to_tensor(np.asarray(array, self._dtype))
