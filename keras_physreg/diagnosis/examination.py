"""Measures a model in every way, and collects the findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np

from keras_physreg.constants.constant import find_constants
from keras_physreg.diagnosis.column_probe import ColumnUse, column_use
from keras_physreg.diagnosis.connections import connection
from keras_physreg.diagnosis.constant_diagnosis import (
    ConstantDiagnosis,
    constant_rows,
    joint_gramian,
)
from keras_physreg.diagnosis.finding import SEVERITIES, Finding
from keras_physreg.diagnosis.gradient_products import DATA, Gradients
from keras_physreg.diagnosis.gradients import GradientMeter
from keras_physreg.diagnosis.label_facts import label_facts
from keras_physreg.diagnosis.labels import with_columns
from keras_physreg.diagnosis.measured import DiagnosisData
from keras_physreg.diagnosis.output_columns import output_columns
from keras_physreg.diagnosis.physics_probe import probe_physics
from keras_physreg.diagnosis.probe_rows import Rows, sets_of_rows
from keras_physreg.diagnosis.rules_conflicts import conflicts
from keras_physreg.diagnosis.rules_constants import (
    constant_findings,
    trivial_solutions,
    trivial_terms,
)
from keras_physreg.diagnosis.rules_physics import physics_findings
from keras_physreg.diagnosis.rules_terms import term_findings
from keras_physreg.diagnosis.sensitivities import sensitivities
from keras_physreg.diagnosis.summaries import Measurement, measure
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds
from keras_physreg.inspection import find_terms, get_term_weights
from keras_physreg.layers.groups import sharing_with
from keras_physreg.layers.physics_regularization import PhysicsRegularization

NO_FLOOR = (
    "no floor: with the labels in place of the prediction its physics still depends on the "
    "network, which it calls itself or gets its `inputs` from"
)


def examine(
    model: keras.Model,
    rows: Rows,
    held_out_rows: Rows | None,
    unlabelled_rows: Rows | None,
    batch_size: int,
    training: bool,
    limits: Thresholds,
    points: Mapping[str, Rows] | None = None,
    unlabelled_share: float | None = None,
) -> DiagnosisData:
    """Measures a model on rows, and derives the findings.

    Args:
        model: A built model with physics terms.
        rows: The rows to look at.
        held_out_rows: Rows that the model was not trained on, or `None`.
        unlabelled_rows: Rows without labels, on which the terms that need none train too.
        batch_size: Rows in a batch.
        training: Whether dropout and batch normalisation work as in training.
        limits: The limits beyond which a number becomes a finding.
        points: Rows by term, on which that term is judged in place of all others. A term whose
            points are the given rows themselves is judged there.
        unlabelled_share: Factor of the mean over unlabelled rows in the gradients of terms that
            need no label; `None`: all rows count alike.
    """
    apart = {name: own for name, own in (points or {}).items() if own is not rows}
    elsewhere = frozenset(apart)
    with with_columns(output_columns(model, rows, elsewhere)):
        meter = GradientMeter(model, training, in_full=True)
        seen = measure(meter, rows, batch_size, elsewhere)
        seen = with_points(model, meter, seen, apart, batch_size)
        notes = dict(meter.notes)
        unlabelled = Measurement(0, None, {}, {})
        if unlabelled_rows is not None:
            meter.begin_part()
            unlabelled = measure(meter, unlabelled_rows, batch_size, elsewhere)
        held_out = _held_out(model, held_out_rows, batch_size, elsewhere)
        gradients = meter.result(unlabelled_share)
        sets = sets_of_rows(model, rows, apart)
        probes = [probe_physics(model, own, batch_size, skipped) for own, skipped in sets]
        needs_network = frozenset(name for probe in probes for name in probe.needs_network)
        notes = {**notes, **dict.fromkeys(needs_network, NO_FLOOR)}
        for floors in (
            *(seen.at_labels, held_out.at_labels),
            *(seen.rows_at_labels, held_out.rows_at_labels),
        ):
            for name in needs_network:
                floors.pop(name, None)
        nowhere = {
            name: len(apart[name].numbers) if name in apart else seen.rows + unlabelled.rows
            for name in seen.without_values
            if name not in unlabelled.at_prediction
        }
        notes = {**dict.fromkeys(nowhere, "no loss: it counts in none of the rows"), **notes}
        terms = tuple(
            replace(
                _row(model, layer, name, seen, held_out, unlabelled, gradients, notes.get(name)),
                nowhere=nowhere.get(name, 0),
            )
            for name, layer in find_terms(model).items()
        )
        terms = _with_use(model, terms, sets, batch_size)
        terms = label_facts(model, terms, rows, seen, held_out, needs_network, limits, apart)
    found = [*_weightless(rows), *_data_findings(seen.data_loss, gradients)]
    found += [finding for row in terms for finding in term_findings(row, limits)]
    found += [finding for probe in probes for finding in physics_findings(probe)]
    found += conflicts(terms, gradients, limits)
    constants, of_constants = _look_at_constants(model, rows, batch_size, gradients, limits, apart)
    found += of_constants
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return DiagnosisData(
        model=model.name,
        rows=seen.rows,
        val_rows=held_out.rows,
        data_loss=seen.data_loss,
        data_grad_norm=gradients.norm(DATA),
        terms=terms,
        findings=tuple(found),
        gradients=gradients,
        thresholds=limits,
        constants=constants,
        unlabelled_rows=unlabelled.rows,
        unlabelled_share=unlabelled_share,
    )


def _with_use(
    model: keras.Model,
    terms: tuple[TermDiagnosis, ...],
    sets: Sequence[tuple[Rows, frozenset[str]]],
    batch_size: int,
) -> tuple[TermDiagnosis, ...]:
    """Looks at how terms use their prediction that do not reach all that feeds it."""
    partly = {row.term for row in terms if row.connection.missing or row.connection.idle}
    use: dict[str, ColumnUse] = {}
    for own, skipped in sets:
        use |= column_use(model, own, batch_size, partly, skipped)
    return tuple(
        replace(row, connection=replace(row.connection, use=use.get(row.term))) for row in terms
    )


def with_points(
    model: keras.Model,
    meter: GradientMeter,
    seen: Measurement,
    points: Mapping[str, Rows],
    batch_size: int,
) -> Measurement:
    """Returns a measurement in which terms are judged on their points.

    Args:
        model: The model.
        meter: Its meter.
        seen: The other terms, on the given rows.
        points: Rows by term, of the terms that are not judged on the given rows.
        batch_size: Rows in a batch.
    """
    every, without = frozenset(find_terms(model)), list(seen.without_values)
    found, by_row = dict(seen.at_prediction), dict(seen.rows_at_prediction)
    for name, own in points.items():
        there = measure(meter, own, batch_size, every - {name})
        found |= there.at_prediction
        by_row |= there.rows_at_prediction
        without += there.without_values
    return replace(
        seen, at_prediction=found, without_values=tuple(without), rows_at_prediction=by_row
    )


def _held_out(
    model: keras.Model, rows: Rows | None, batch_size: int, skipped: frozenset[str]
) -> Measurement:
    if rows is None:
        return Measurement(0, None, {}, {})
    meter = GradientMeter(model, in_full=True, differentiate=False)
    return measure(meter, rows, batch_size, skipped)


def _row(
    model: keras.Model,
    layer: PhysicsRegularization,
    name: str,
    seen: Measurement,
    held_out: Measurement,
    unlabelled: Measurement,
    gradients: Gradients,
    note: str | None,
) -> TermDiagnosis:
    weights = get_term_weights(model)
    weight, sharers = weights[name], sharing_with(name, layer.functions, layer.terms)
    norm, data_norm = gradients.norm(name), gradients.norm(DATA)
    return TermDiagnosis(
        term=name,
        weight=weight,
        grad_norm=norm,
        grad_ratio=weight * norm / data_norm if norm is not None and data_norm else None,
        grad_cosine=gradients.cosine(DATA, name),
        reached=sum(gradients.connected[name]),
        trainable=len(gradients.variables),
        connection=connection(model, layer, name, gradients),
        here=seen.at_prediction.get(name, unlabelled.at_prediction.get(name)),
        labels=seen.at_labels.get(name),
        val_here=held_out.at_prediction.get(name),
        val_labels=held_out.at_labels.get(name),
        note=note,
        unlabelled_here=unlabelled.at_prediction.get(name),
        reference=next(term.reference for term in layer.terms if term.name == name),
        active_sharers=tuple(other for other in sharers if weights[other] > 0),
    )


def _look_at_constants(
    model: keras.Model,
    rows: Rows,
    batch_size: int,
    gradients: Gradients,
    limits: Thresholds,
    points: Mapping[str, Rows],
) -> tuple[tuple[ConstantDiagnosis, ...], list[Finding]]:
    constants = sorted(find_constants(model), key=lambda constant: not constant.trainable)
    learned = [constant for constant in constants if constant.trainable]
    moved = sensitivities(model, learned, rows, batch_size, points) if learned else None
    gramian = np.zeros((0, 0)) if moved is None else joint_gramian(moved, get_term_weights(model))
    table = constant_rows(model, constants, gradients, moved, gramian)
    found = [*constant_findings(table, gramian, limits)]
    if moved is not None:
        found += [*trivial_terms(moved), *trivial_solutions(moved, limits)]
    return table, found


def _weightless(rows: Rows) -> list[Finding]:
    weights = [w for w in keras.tree.flatten(rows.sample_weight) if w is not None]
    if not weights or any(w[rows.numbers].any() for w in weights):
        return []
    return [
        Finding(
            "weightless",
            "warning",
            DATA,
            f"All {len(rows.numbers)} rows have `sample_weight` 0: the data loss, and each term "
            "that compares with the label, is 0 whatever the model predicts.",
            "Give rows whose labels count, or leave `sample_weight` out.",
        )
    ]


def _data_findings(loss: float | None, gradients: Gradients) -> list[Finding]:
    norm = gradients.norm(DATA)
    if loss is None or norm is None or (math.isfinite(loss) and math.isfinite(norm)):
        return []
    return [
        Finding(
            "non-finite",
            "error",
            DATA,
            f"The data loss is {loss:.3g} and the norm of its gradient {norm:.3g}.",
            "Look for NaN in the inputs, the labels and the weights of the model.",
        )
    ]
