"""Thresholds: the limits beyond which a number becomes a finding."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real

from keras_physreg._utils.errors import received


@dataclass(frozen=True)
class Thresholds:
    """The limits beyond which a number becomes a finding.

    A loss is at its floor from `below_factor` to `floor_factor` times the floor; of a mean and a
    median, both must be. Gradients are compared as `diagnose` shows them: the ratio is the
    weighted norm over that of the data gradient.

    Args:
        floor_factor: Times the floor up to which a loss is at its floor.
        below_factor: Times the floor under which a loss is below its floor.
        floor_tolerance: Loss, in the term's own units, that counts as zero: it is allowed on top
            of every floor, and a floor under it means that physics and labels agree; so does a
            mean square residual under it, per component.
        memorised_factor: Times the floor from which a held-out loss is far above it.
        bias_ratio: Mean residual at the labels over its standard deviation, per component.
        bias_z: The same mean over its standard error, so that few rows cannot look biased: of a
            normal variable; of few rows as many as are as improbable by Student's t.
        bias_rows: Least number of rows from which a bias is told.
        confidence: Probability of the intervals by which correlations, shares, and physics against
            the network are judged.
        few_rows_share: Share of a loss that few rows carry.
        few_rows_part: Most of the rows that are few.
        few_rows_count: Least number of rows from which this is told.
        few_rows_floor: Least floor, over the loss at the prediction, at which it matters.
        unrelated: Least share of the variance that the physics does not explain, by the interval's
            end, from which it is unrelated to the labels.
        rescaled: Least factor between physics and labels, or its inverse, by the interval's end.
        rescaled_offset: Least offset between them, over the standard deviation of what the physics
            is compared with.
        violated: Least share of the labels that break an inequality, by the interval's end.
        zero_gradient: Gradient norm up to which a gradient is zero.
        conflict_cosine: Cosine down from which two gradients fight.
        conflict_ratio: Least ratio at which a fight matters.
        balance: Norm of the whole gradient over that of the data gradient up to which the gradients
            cancel, as they do where training has converged.
        dominates_ratio: Ratio from which a term drowns the data.
        negligible_ratio: Ratio under which the data drown a term.
        bound_room: Distance of a constant to its bound, over that of its initial value, down from
            which it is near.
        collinear_index: Condition index of the derivatives by the constants from which they cannot
            be told apart: of two constants, a cosine of 0.9978.

    Raises:
        ValueError: If a threshold is not finite, negative (but the cosine), or contradicts another.

    Example:
    >>> import keras_physreg as kp
    >>> kp.Thresholds(dominates_ratio=100.0).dominates_ratio
    100.0
    """

    floor_factor: float = 1.5
    below_factor: float = 0.5
    floor_tolerance: float = 1e-6
    memorised_factor: float = 5.0
    bias_ratio: float = 0.3
    bias_z: float = 2.58
    bias_rows: int = 5
    confidence: float = 0.95
    few_rows_share: float = 0.9
    few_rows_part: float = 0.05
    few_rows_count: int = 40
    few_rows_floor: float = 0.1
    unrelated: float = 0.7
    rescaled: float = 1.25
    rescaled_offset: float = 1.0
    violated: float = 0.05
    zero_gradient: float = 0.0
    conflict_cosine: float = -0.3
    conflict_ratio: float = 0.1
    balance: float = 0.1
    dominates_ratio: float = 10.0
    negligible_ratio: float = 1e-3
    bound_room: float = 0.01
    collinear_index: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(
                    f"`{field.name}` must be a finite number. {received(field.name, value)}"
                )
            if value < 0 and field.name != "conflict_cosine":
                raise ValueError(
                    f"`{field.name}` must not be negative. Received: {field.name}={value!r}"
                )
        if not -1 <= self.conflict_cosine <= 0:
            raise ValueError(
                "`conflict_cosine` must be from -1 to 0. "
                f"Received: conflict_cosine={self.conflict_cosine!r}"
            )
        for name in ("confidence", "few_rows_share", "few_rows_part", "unrelated", "violated"):
            if not getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be smaller than 1. Received: {name}={getattr(self, name)!r}"
                )
        if self.rescaled < 1:
            raise ValueError(
                "`rescaled` must be a factor of at least 1; its inverse counts, too. "
                f"Received: rescaled={self.rescaled!r}"
            )
        self._check_order("below_factor", "floor_factor")
        self._check_order("floor_factor", "memorised_factor")
        self._check_order("negligible_ratio", "dominates_ratio")

    def _check_order(self, low: str, high: str) -> None:
        if not getattr(self, low) < getattr(self, high):
            raise ValueError(
                f"`{low}` must be smaller than `{high}`. "
                f"Received: {low}={getattr(self, low)!r}, {high}={getattr(self, high)!r}"
            )
