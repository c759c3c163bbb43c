"""Rules about constants: near a bound, not identifiable, and terms that they make trivial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from keras_physreg.diagnosis.constant_diagnosis import ConstantDiagnosis
from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.sensitivities import Sensitivities
from keras_physreg.diagnosis.thresholds import Thresholds

VANISHED = 1e-8
NOT_APART = (
    "Fix one of them (`trainable=False`, or leave it out), give rows that vary in another way, or "
    "a term that tells them apart; the sum of their effects may still be right."
)


def constant_findings(
    rows: Sequence[ConstantDiagnosis], gramian: np.ndarray, limits: Thresholds
) -> Iterator[Finding]:
    """Yields findings about the constants; `gramian` has the trainable ones, in order."""
    for row in rows:
        yield from _non_finite(row)
        yield from _near_bound(row, limits)
        yield from _without_gradient(row, limits)
    yield from _collinear([row for row in rows if row.trainable], gramian, limits)


def trivial_terms(found: Sensitivities) -> Iterator[Finding]:
    """Yields a finding for each term that is exactly zero at every value of its constants.

    A satisfied inequality is zero too, and healthy: hence `info`. A constant that no other term
    tells anything about has a finding of its own, `unidentified`.
    """
    for name, losses in found.tried.items():
        still = not np.diagonal(found.gramians[name]).any()  # NaN, not known, is no 0.
        if any(found.connected[name]) and still and not losses.any():
            yield Finding(
                "trivial",
                "info",
                name,
                f"The loss of '{name}' is 0 at the present and at {len(losses) - 1} other values "
                "of its constants: on these rows it tells nothing about them.",
                "That is right for an inequality that holds. In any other term, look for parts "
                "that cancel, or a constant that multiplies something that is already zero.",
            )


def trivial_solutions(found: Sensitivities, limits: Thresholds) -> Iterator[Finding]:
    """Yields a finding for each term that vanishes, whatever the prediction, by a constant."""
    for name, losses in found.escapes.items():
        present = losses["present"]
        if not (limits.floor_tolerance < present < math.inf):
            continue
        ways = [w for w, loss in losses.items() if 0 <= loss <= VANISHED * present]
        if ways:
            yield Finding(
                "trivial-solution",
                "warning",
                name,
                f"'{name}' can be brought to zero without any physics, by moving {ways[0]}: with "
                f"the predictions of other rows its loss is {present:.3g} now, and "
                f"{losses[ways[0]]:.3g} there.",
                "Bound the constant away from there, divide the output by something of its size "
                "that the constant does not change, or add a term that determines the constant.",
            )


def _non_finite(row: ConstantDiagnosis) -> Iterator[Finding]:
    if not math.isfinite(row.value):
        yield Finding(
            "non-finite",
            "error",
            row.constant,
            f"The constant '{row.constant}' is {row.value:g}.",
            "A gradient that was not finite caused this: go back to earlier weights, use "
            "`TerminateOnNonFinite`, and keep the physics finite for every value of the constant.",
        )


def _near_bound(row: ConstantDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    for which, bound, room in (
        ("lower", row.low, row.room_below),
        ("upper", row.high, row.room_above),
    ):
        if bound is not None and room is not None and room <= limits.bound_room:
            yield Finding(
                "near-bound",
                "warning",
                row.constant,
                f"The constant '{row.constant}' stands at {_shown(row, row.value)}, near its "
                f"{which} bound {_shown(row, bound)}: {100 * room:.2g} % is left of the distance "
                "that it had at its initial value.",
                "If the bound is no law of nature, widen it; else look for what the physics leaves "
                "out and this constant makes up for, or for a learning rate that threw it there "
                "(start again from inside the bounds).",
            )


def _without_gradient(row: ConstantDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    # A NaN says that it is not known.
    if row.sensitivity is None or not row.sensitivity <= limits.zero_gradient:
        return
    if row.data_grad_norm:
        return
    if row.terms:
        message = (
            f"'{row.constant}' cannot be identified: {_listed(row.terms)} is computed from it, but "
            f"does not change with it on these rows (sensitivity {row.sensitivity:.2g})."
        )
        cure = (
            "Look for a factor that is 0 or a `relu` or `clip` that is saturated on all rows, "
            "parts that cancel, or a constant that was thrown against its bound."
        )
    else:
        message = (
            f"'{row.constant}' cannot be identified: no term is computed from it, so that its "
            f"gradient is 0 and it stays at {_shown(row, row.value)}."
        )
        cure = (
            "Use the tensor that calling it returns, as in `self.gain()`, with `keras.ops`: no "
            "`.value`, no NumPy, no `stop_gradient`; or leave it out."
        )
    yield Finding("unidentified", "error", row.constant, message, cure)


def _collinear(
    rows: Sequence[ConstantDiagnosis], gramian: np.ndarray, limits: Thresholds
) -> Iterator[Finding]:
    """Yields sets of constants that the rows cannot tell apart.

    The derivatives by the constants are scaled to unit length; from a condition index of
    `collinear_index` on, those constants are named that have more than half of their variance in
    that direction: Belsley, Kuh and Welsch, "Regression Diagnostics" (1980), section 3.2.
    """
    alive = [i for i, row in enumerate(rows) if row.sensitivity and math.isfinite(row.sensitivity)]
    if len(alive) < 2:
        return
    lengths = np.sqrt(np.diagonal(gramian)[alive])
    scaled = gramian[np.ix_(alive, alive)] / np.outer(lengths, lengths)
    squares, directions = np.linalg.eigh(scaled)
    # Derivatives are known to about 1e-7, their squares to its square.
    squares = np.maximum(squares, 1e-14)
    indices = np.sqrt(squares.max() / squares)
    variances = directions**2 / squares
    shares = variances / variances.sum(axis=1, keepdims=True)
    for k in np.flatnonzero(indices >= limits.collinear_index):
        names = [rows[alive[j]].constant for j in np.flatnonzero(shares[:, k] > 0.5)]
        if len(names) > 1:
            yield Finding(
                "collinear",
                "warning",
                names[0],
                f"{_listed(names)} cannot be told apart on these rows: what one of them does to "
                f"the terms, the other{'s' * (len(names) > 2)} can undo (condition index "
                f"{indices[k]:.3g}{_correlation(rows, alive, scaled, names)}).",
                NOT_APART,
            )


def _correlation(
    rows: Sequence[ConstantDiagnosis], alive: list[int], scaled: np.ndarray, names: list[str]
) -> str:
    if len(names) != 2:
        return ""
    i, j = ([rows[k].constant for k in alive].index(name) for name in names)
    return f", cosine of their derivatives {scaled[i, j]:+.5f}"


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _shown(row: ConstantDiagnosis, value: float) -> str:
    return f"{value:.6g}" + (f" {row.unit}" if row.unit else "")
