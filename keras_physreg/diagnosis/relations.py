"""Does what the physics says go along with the labels: at all, and by the factor 1?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from keras_physreg.diagnosis.intervals import correlation_interval, t_quantile
from keras_physreg.diagnosis.row_values import RowValues


@dataclass(frozen=True)
class Relation:
    """How one component of what the physics says goes along with what it is compared with.

    Args:
        component: Its index on the last axis.
        count: Number of rows.
        r2: Squared correlation.
        r2_low: Lower end of its interval.
        r2_high: Its upper end, where that of the ranks is no higher.
        slope: By how much what the physics says grows as the other grows by 1.
        slope_low: The value of the smallest size that the slope may have.
        slope_high: That of the largest size.
        offset: What the physics says where the other is 0, by that slope.
        shift: Mean difference of both.
        shift_error: Half the interval of that mean.
        sd: Standard deviation of what the physics is compared with.
        left: Mean square difference that slope and offset leave, over what there is; of either side
            corrected, the smaller one.
        left_by_shift: The same, that the mean difference leaves.
        by_residual: Whether both were taken apart from a residual, as the part from the labels (of
            which `slope` is that of the inputs) and the part from the inputs.
    """

    component: int
    count: int
    r2: float
    r2_low: float
    r2_high: float
    slope: float
    slope_low: float
    slope_high: float
    offset: float
    shift: float
    shift_error: float
    sd: float
    left: float
    left_by_shift: float
    by_residual: bool = False


def relations(values: RowValues | None, confidence: float) -> tuple[Relation, ...]:
    """Returns how output and reference of a term go along with each other at the labels.

    Args:
        values: The term at the labels, row by row.
        confidence: Probability of the intervals.
    """
    if values is None or values.output is None or values.reference is None:
        return ()
    found = [
        relate(k, values.output[..., k], values.reference[..., k], confidence)
        for k in range(values.output.shape[-1])
    ]
    return tuple(relation for relation in found if relation is not None)


@np.errstate(all="ignore")
def relate(
    component: int, said: np.ndarray, other: np.ndarray, confidence: float
) -> Relation | None:
    """Returns how two quantities go along with each other; `None` where one does not vary.

    Both may have errors, so that the slope lies between that of the regression of one on the other
    and that of the reverse one: Frisch, "Statistical Confluence Analysis by Means of Complete
    Regression Systems" (1934). The geometric mean of both is given as the slope. Several places in
    a row count as one value in the intervals.

    Args:
        component: Which component it is.
        said: What the physics says, of shape `(rows, places)`.
        other: What it is compared with, likewise.
        confidence: Probability of the intervals.
    """
    count = len(said)
    x, y = other.astype("float64").ravel(), said.astype("float64").ravel()
    difference = y - x
    sd_x, sd_y = x.std(), y.std()
    scale = max(np.abs(x).max(), np.abs(y).max()) if len(x) else 0.0
    usable = count >= 4 and math.isfinite(scale) and min(sd_x, sd_y) > 0
    if not usable or sd_x <= 1e-6 * np.abs(x).max() or sd_y <= 1e-6 * np.abs(y).max():
        return None
    r = float(np.clip(np.mean((x - x.mean()) * (y - y.mean())) / sd_x / sd_y, -1, 1))
    low, high = correlation_interval(r, count, confidence)
    ranks = float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])
    of_ranks = correlation_interval(ranks, count, confidence, rank=True)
    slope = math.copysign(sd_y / sd_x, r)
    direct, reverse = abs(r) * sd_y / sd_x, sd_y / sd_x / max(abs(r), 1e-12)
    error = t_quantile(confidence, count - 1) * math.sqrt((1 - r * r) / max(count - 2, 1))
    spread = error / max(abs(r), 1e-12)  # Of both regressions, relative to their slopes.
    mean_square = float(np.mean(difference**2))
    corrected = float(np.var(y - slope * x)) * min(1.0, 1 / slope**2)
    return Relation(
        component=component,
        count=count,
        r2=r * r,
        r2_low=0.0 if low * high <= 0 else min(low * low, high * high),
        r2_high=max(end * end for end in (low, high, *of_ranks)),
        slope=slope,
        slope_low=math.copysign(max(direct * (1 - spread), 0.0), r),
        slope_high=math.copysign(reverse * (1 + spread), r),
        offset=float(y.mean() - slope * x.mean()),
        shift=float(difference.mean()),
        shift_error=t_quantile(confidence, count) * float(difference.std()) / math.sqrt(count),
        sd=float(sd_x),
        left=corrected / mean_square if mean_square else 1.0,
        left_by_shift=float(np.var(difference)) / mean_square if mean_square else 1.0,
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns ranks; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse.reshape(values.shape)]
