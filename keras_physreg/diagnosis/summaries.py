"""Gathers what the batches show: means and medians over rows, residuals, non-finite rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_physreg.diagnosis.gradient_products import DATA
from keras_physreg.diagnosis.probe_rows import Rows
from keras_physreg.diagnosis.row_values import RowValues, RowValuesGathering

if TYPE_CHECKING:
    from keras_physreg.diagnosis.gradients import GradientMeter

MAX_ROWS_NAMED = 10


@dataclass(frozen=True)
class Summary:
    """A term over all rows, at the prediction or at the labels.

    Args:
        loss: The term's loss: mean over the batches, each by what counts in it.
        trusted_loss: The same over the rows whose labels are to be trusted, as the floor is;
            NaN where there are none.
        median: Median of these rows' losses; `None` where rows have no loss of their own.
        rows: Number of these rows.
        count: Number of residuals, per component.
        mean: Mean residual (output - reference), per component.
        sd: Standard deviation of the residual, per component.
        bad_rows: Numbers of the first rows, in the user's data, that are not finite.
        bad_row_count: How many rows are not finite.
        bad_given_count: In how many of them an input or label is not finite itself.
        bad_components: Components that are not finite in some row.
        bad_weight_rows: Numbers of the first rows in which a weight of `where` is negative or NaN.
        bad_weight_count: How many rows have such a weight.
        positive: Number of residuals above 0, per component.
        negative: Number of residuals below 0, per component.
        largest: Size of the largest residual, per component.
    """

    loss: float
    trusted_loss: float
    median: float | None
    rows: int
    count: tuple[int, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    bad_rows: tuple[int, ...]
    bad_row_count: int
    bad_given_count: int
    bad_components: tuple[int, ...]
    positive: tuple[int, ...] = ()
    negative: tuple[int, ...] = ()
    largest: tuple[float, ...] = ()
    bad_weight_rows: tuple[int, ...] = ()
    bad_weight_count: int = 0


@dataclass(frozen=True)
class Measurement:
    """All terms over all rows, and the data loss."""

    rows: int
    data_loss: float | None
    at_prediction: dict[str, Summary]
    at_labels: dict[str, Summary]
    without_values: tuple[str, ...] = ()
    rows_at_prediction: dict[str, RowValues] = field(default_factory=dict)
    rows_at_labels: dict[str, RowValues] = field(default_factory=dict)


def measure(
    meter: GradientMeter, rows: Rows, batch_size: int, skipped: frozenset[str] = frozenset()
) -> Measurement:
    """Runs all batches through a meter and gathers what they show.

    Args:
        meter: The meter.
        rows: The rows.
        batch_size: Rows in a batch.
        skipped: Terms of a `PhysicsModel` that are not computed on these rows.
    """
    data, here, there = _Average(), _Gatherings(), _Gatherings()
    for batch in rows.batches(batch_size):
        seen = meter.update(batch, skipped)
        if DATA in seen["losses"]:
            data.add(seen["losses"][DATA], len(batch.numbers))
        here.add(batch.numbers, seen["here"])
        there.add(batch.numbers, seen["labels"])
    floors = {
        name: replace(labels, loss=labels.trusted_loss)
        for name, labels in there.summaries().items()
        if labels.rows
    }
    found = here.summaries()
    return Measurement(
        len(rows.numbers),
        data.value,
        found,
        floors,
        tuple(n for n in here.names if n not in found),
        here.row_values(),
        there.row_values(),
    )


@np.errstate(all="ignore")
def pooled_summary(a: Summary | None, b: Summary | None) -> Summary | None:
    """Returns a term on two sets of rows together, for what is said of the labels alone.

    Medians and rows that are not finite stay those of the first set.

    Args:
        a: A term at the labels of the given rows.
        b: The same at those of the held-out rows.
    """
    if a is None or b is None or len(a.mean) != len(b.mean) or not (a.rows and b.rows):
        return a if b is None or (a and a.rows) else b
    first, second = (
        (np.array(each.count, float), np.array(each.mean), np.square(each.sd) * each.count)
        for each in (a, b)
    )
    names = ("count", "mean", "squares")
    count, mean, squares = _merge(first, dict(zip(names, second, strict=True)))
    weights = np.array([a.rows, b.rows]) / (a.rows + b.rows)
    return replace(
        a,
        loss=float(weights @ [a.loss, b.loss]),
        rows=a.rows + b.rows,
        count=tuple(int(n) for n in count),
        mean=tuple(float(m) for m in mean),
        sd=tuple(float(s) for s in np.sqrt(squares / np.maximum(count, 1))),
        positive=tuple(map(sum, zip(a.positive, b.positive, strict=True))),
        negative=tuple(map(sum, zip(a.negative, b.negative, strict=True))),
        largest=tuple(map(max, zip(a.largest, b.largest, strict=True))),
    )


class _Average:
    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0.0

    def add(self, value: float, count: float) -> None:
        if count:
            self._sum += float(value) * count
            self._count += count

    @property
    def value(self) -> float | None:
        return self._sum / self._count if self._count else None


class _Gatherings:
    def __init__(self) -> None:
        self._terms: dict[str, _Gathering] = {}

    def add(self, numbers: np.ndarray, observed: dict[str, Any]) -> None:
        for name, values in observed.items():
            self._terms.setdefault(name, _Gathering()).add(numbers, **values)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._terms)

    def summaries(self) -> dict[str, Summary]:
        found = {name: term.summary() for name, term in self._terms.items()}
        return {name: summary for name, summary in found.items() if summary is not None}

    def row_values(self) -> dict[str, RowValues]:
        found = {name: term.by_row.values() for name, term in self._terms.items()}
        return {name: values for name, values in found.items() if values is not None}


@dataclass
class _Gathering:
    average: _Average = field(default_factory=_Average)
    trusted_average: _Average = field(default_factory=_Average)
    row_count: int = 0
    rows: list[np.ndarray] = field(default_factory=list)
    by_row: RowValuesGathering = field(default_factory=RowValuesGathering)
    moments: tuple[Any, Any, Any] = (0.0, 0.0, 0.0)
    signs: Any = 0.0
    largest: Any = 0.0
    bad_rows: list[int] = field(default_factory=list)
    bad_row_count: int = 0
    bad_given_count: int = 0
    bad_components: set[int] = field(default_factory=set)
    bad_weight_rows: list[int] = field(default_factory=list)
    bad_weight_count: int = 0

    def add(
        self,
        numbers: np.ndarray,
        loss: Any,
        has_values: Any,
        rows: Any,
        weights: Any,
        trusted: Any,
        finite: Any,
        given: Any,
        moments: Any,
        kept: Any,
        network: Any,
        pairs: Any,
        moved: Any = None,
    ) -> None:
        if not has_values:
            return
        self.by_row.add(numbers, kept, rows, weights, network, pairs, moved)
        if weights is not None:
            self._note_bad_weights(numbers, weights)
        if rows is not None and len(rows) != len(numbers):
            rows = None  # Physics whose output has other rows than the batch.
        if rows is None or weights is None:
            weights = np.ones(len(numbers))
        counted, weights = weights > 0, weights.astype("float64")
        self.average.add(loss, weights.sum())
        if rows is not None and trusted is not None:
            counted = counted & trusted
            # A label-free term weighs no rows, but where a label is not to be trusted it has no
            # floor.
            if counted.any():
                mean = np.average(rows[counted], weights=weights[counted])
                self.trusted_average.add(mean, weights[counted].sum())
        else:
            self.trusted_average.add(loss, weights.sum())
        self.row_count += int(counted.sum())
        if rows is not None and counted.any():
            self.rows.append(rows[counted])
        self.moments = _merge(self.moments, moments)
        self.largest = np.maximum(self.largest, moments["largest"])
        self.signs = self.signs + np.stack([moments["positive"], moments["negative"]])
        self._note_bad(numbers, finite, given)

    @np.errstate(all="ignore")
    def summary(self) -> Summary | None:
        if self.average.value is None:
            return None
        count, mean, squares = self.moments
        sd = np.sqrt(squares / np.maximum(count, 1))
        return Summary(
            loss=self.average.value,
            trusted_loss=_or_nan(self.trusted_average.value),
            median=float(np.median(np.concatenate(self.rows))) if self.rows else None,
            rows=self.row_count,
            count=tuple(int(n) for n in count),
            mean=tuple(float(m) for m in mean),
            sd=tuple(float(s) for s in sd),
            bad_rows=tuple(self.bad_rows),
            bad_row_count=self.bad_row_count,
            bad_given_count=self.bad_given_count,
            bad_components=tuple(sorted(self.bad_components)),
            positive=tuple(int(n) for n in self.signs[0]),
            negative=tuple(int(n) for n in self.signs[1]),
            largest=tuple(float(m) for m in self.largest),
            bad_weight_rows=tuple(self.bad_weight_rows),
            bad_weight_count=self.bad_weight_count,
        )

    def _note_bad_weights(self, numbers: np.ndarray, weights: np.ndarray) -> None:
        bad = np.flatnonzero(np.isnan(weights))
        self.bad_weight_count += len(bad)
        if len(weights) == len(numbers):
            self.bad_weight_rows += _first(numbers[bad], self.bad_weight_rows)

    def _note_bad(self, numbers: np.ndarray, finite: np.ndarray, given: list[np.ndarray]) -> None:
        if len(finite) != len(numbers) or finite.all():
            return
        rows, components = np.nonzero(~finite)
        bad = numbers[np.unique(rows)]
        self.bad_row_count += len(bad)
        ok = np.all([np.ones(len(numbers), bool), *(g for g in given if len(g) == len(numbers))], 0)
        self.bad_given_count += int((~ok[np.unique(rows)]).sum())
        self.bad_rows += _first(bad, self.bad_rows)
        self.bad_components |= {int(c) for c in components}


def _first(numbers: np.ndarray, known: list[int]) -> list[int]:
    """Returns those numbers that are still to be named beside the known ones."""
    return [int(n) for n in numbers[: MAX_ROWS_NAMED - len(known)]]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


@np.errstate(all="ignore")
def _merge(a: tuple[Any, Any, Any], moments: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Joins counts, means and sums of squares as Chan, Golub and LeVeque (1983), eq. 2.1."""
    count_a, mean_a, squares_a = a
    count_b, mean_b, squares_b = moments["count"], moments["mean"], moments["squares"]
    count = count_a + count_b
    share = np.divide(count_b, count, out=np.zeros_like(count), where=count > 0)
    delta = mean_b - mean_a
    return count, mean_a + delta * share, squares_a + squares_b + delta**2 * count_a * share
