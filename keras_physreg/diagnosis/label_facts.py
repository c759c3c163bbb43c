"""What the labels show about each term: physics or network, few rows, units."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import keras

from keras_physreg.diagnosis.few_rows import FewRows, find_few_rows
from keras_physreg.diagnosis.probe_rows import Rows
from keras_physreg.diagnosis.relations import Relation, relations
from keras_physreg.diagnosis.row_values import pooled
from keras_physreg.diagnosis.rules_labels import is_inequality
from keras_physreg.diagnosis.separation import Separated, separate_residuals
from keras_physreg.diagnosis.summaries import Measurement
from keras_physreg.diagnosis.teacher import compare_with_network
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds


def label_facts(
    model: keras.Model,
    terms: Sequence[TermDiagnosis],
    rows: Rows,
    seen: Measurement,
    held_out: Measurement,
    without_floor: Collection[str],
    limits: Thresholds,
    points: Mapping[str, Rows],
) -> tuple[TermDiagnosis, ...]:
    """Returns the terms with what the labels show about them.

    Args:
        model: A built model.
        terms: The numbers of each term.
        rows: The given rows.
        seen: The terms on the given rows.
        held_out: The terms on the held-out rows.
        without_floor: Names of terms that have no floor.
        limits: The limits beyond which a number becomes a finding.
        points: Rows by term, of the terms that are not judged on the given rows.
    """
    few = {row.term: _few_rows(row, rows, points.get(row.term), seen, limits) for row in terms}
    of_rows = [each for name, each in few.items() if each and name not in points]
    left_out = frozenset(n for each in of_rows for n in each.numbers)
    residuals: dict[str, Separated] = {}
    if any(row.reference is None and row.labels is not None for row in terms):
        residuals = separate_residuals(model, rows, left_out, limits.confidence, frozenset(points))
    return tuple(
        replace(
            row,
            teacher=compare_with_network(held_out.rows_at_labels.get(row.term), limits.confidence),
            few_rows=few[row.term],
            one_sided=residuals.get(row.term, Separated()).one_sided,
            relations=()
            if row.term in without_floor
            else _relations(row, few[row.term], seen, held_out, residuals, limits),
        )
        for row in terms
    )


def _few_rows(
    row: TermDiagnosis, rows: Rows, points: Rows | None, seen: Measurement, limits: Thresholds
) -> FewRows | None:
    """Returns the rows that carry a floor that matters; without one, those that carry the loss."""
    at_labels = row.labels is not None
    summary = row.labels or row.here
    if summary is None or row.here is None or not summary.loss > limits.floor_tolerance:
        return None
    if any(is_inequality(row, k) for k in range(len(summary.mean))):
        return None
    if at_labels and summary.loss < limits.few_rows_floor * row.here.trusted_loss:
        return None
    values = (seen.rows_at_labels if at_labels else seen.rows_at_prediction).get(row.term)
    if points is None:
        return find_few_rows(values, rows.x, at_labels, limits)
    return find_few_rows(values, points.x, at_labels, limits, f"points[{row.term!r}]")


def _relations(
    row: TermDiagnosis,
    few: FewRows | None,
    seen: Measurement,
    held_out: Measurement,
    residuals: dict[str, Separated],
    limits: Thresholds,
) -> tuple[Relation, ...]:
    if row.reference is None:
        found = residuals.get(row.term, Separated()).relations
    else:
        values = seen.rows_at_labels.get(row.term)
        if values is not None and few is not None:
            values = values.without(few.numbers)
        others = held_out.rows_at_labels.get(row.term)
        found = relations(pooled([values, others]), limits.confidence)
    return tuple(each for each in found if not is_inequality(row, each.component))
