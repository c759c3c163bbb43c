"""Rules about one term: gradients, sizes, values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Iterator

from keras_physreg.diagnosis.finding import Finding, Severity
from keras_physreg.diagnosis.rules_few_rows import few_rows_findings
from keras_physreg.diagnosis.rules_floors import floor_findings
from keras_physreg.diagnosis.rules_labels import label_findings
from keras_physreg.diagnosis.rules_relations import explained_components, relation_findings
from keras_physreg.diagnosis.summaries import Summary
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds
from keras_physreg.terms.row_weights import NOT_NEGATIVE

PHYSICS_CURE = (
    "Look at these rows; keep the physics finite for every prediction: bound what goes into "
    "`log`, `sqrt`, powers and divisions (`keras.ops.maximum`), and clip exponents."
)
NO_HARM = " At weight 0 it does no harm yet."
DATA_CURE = "Look at these rows of the data: leave them out, or fill in what is NaN or infinite."


def term_findings(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    """Yields the findings about one term."""
    if row.here is None:
        yield from _nowhere(row)
        return
    non_finite = [*_non_finite(row)]
    if row.connection.asked:  # Its floor and its gradient are not those of the network.
        explained = explained_components(row, limits)
        yield from (*non_finite, *label_findings(row, limits, explained))
        return
    unconnected = [*_disconnected(row), *_zero_gradient(row, limits)] if row.trainable else []
    yield from (*non_finite, *unconnected)
    if row.trainable and not unconnected:
        yield from _partly_connected(row)
        if not non_finite:
            yield from floor_findings(row, limits)
            yield from _size(row, limits)
    if not (
        unconnected and row.here.trusted_loss == row.floor
    ):  # Then the output ignores the labels, too.
        yield from few_rows_findings(row)
        yield from relation_findings(row, limits)
        yield from label_findings(row, limits, explained_components(row, limits))


def _nowhere(row: TermDiagnosis) -> Iterator[Finding]:
    if row.nowhere:
        yield Finding(
            "nowhere",
            "warning",
            row.term,
            f"'{row.term}' counts in none of the {row.nowhere} rows: its `where` is false or 0 "
            "everywhere, or its physics selects no row. On such rows it trains nothing.",
            "Check the units and columns that `where` compares; or give rows on which the term is "
            "to count.",
        )


def _disconnected(row: TermDiagnosis) -> Iterator[Finding]:
    if row.connection.arrives:
        return
    # A term whose loss is the same at the labels does not use the prediction, on purpose.
    unmoved = row.floor is None or (row.here is not None and row.here.trusted_loss == row.floor)
    if row.connection.calibrates and unmoved:
        yield Finding(
            "constants-only",
            "info",
            row.term,
            f"'{row.term}' trains constants alone: its gradient reaches {row.reached} of "
            f"{row.trainable} variables, and none of the network.",
            "That is right where it compares the labels; else compute it from the `prediction`.",
        )
        return
    why = row.connection.reason
    if why:
        where, cure = f" ({why.rstrip('.')})", "Write that operation with `keras.ops` ones."
    elif row.connection.cut_before:
        where = ": the prediction that the physics takes is itself cut off from them"
        cure = (
            "Look between the network and the physics: a `stop_gradient`, frozen layers "
            "(`trainable = False`), or a prediction that is a constant."
        )
    else:
        where = ": the physics does not pass it on to the prediction"
        cure = (
            "Compute the output from the `prediction` argument with `keras.ops`: no NumPy, no "
            "prediction made outside and captured, no integer cast, no `stop_gradient`. A second "
            "derivative of a network of 'relu' is 0: take a smooth activation, such as 'tanh'."
        )
    message = (
        f"No gradient of '{row.term}' reaches the network's variables{where}. It adds "
        f"{_shown(row.weighted_loss)} to the loss, and trains {row.reached} of {row.trainable} "
        "variables."
    )
    yield Finding("disconnected", "error", row.term, message, cure)


def _zero_gradient(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    norm, loss = row.grad_norm, _largest_loss(row)
    if not row.connection.arrives or norm is None or loss is None:
        return
    if norm <= limits.zero_gradient and loss > limits.floor_tolerance:
        yield Finding(
            "zero-gradient",
            "error",
            row.term,
            f"'{row.term}' is connected, but its gradient is {norm:.3g} at a loss of {loss:.3g}: "
            "on these rows its output does not change with the prediction.",
            "Look for a `clip`, `relu` or `round` that is saturated, terms that cancel, an output "
            "computed from the inputs alone, or a network whose units are dead.",
        )


def _partly_connected(row: TermDiagnosis) -> Iterator[Finding]:
    missing, idle = row.connection.missing, row.connection.idle
    said = []
    if missing:
        said.append(f"{len(missing)} of those that feed its prediction are not reached: ")
        said[-1] += _listed(missing)
    if idle:
        said.append(f"in {len(idle)} of those it is exactly 0 on these rows: {_listed(idle)}")
    if not said:
        return
    use = row.connection.use
    message = (
        f"The gradient of '{row.term}' reaches {row.reached} of {row.trainable} trainable "
        f"variables; {', and '.join(said)}."
    )
    if use is not None and use.cut:
        message += " Its output moves with a part of the prediction that has no gradient."
    elif use is None or use.unused:
        yield Finding(
            "partly-connected",
            "info",
            row.term,
            f"{message} Its output does not move with all of the prediction."
            if use is not None
            else message,
            "That is right where it uses some of the outputs, or derivatives, which a last bias "
            "does not change; else compute it from the other parts, too.",
        )
        return
    yield Finding(
        "partly-connected",
        "warning",
        row.term,
        message,
        "Look for a `stop_gradient`, NumPy or an integer cast on the way from these variables, or "
        "between that part of the prediction and the output.",
    )


def _non_finite(row: TermDiagnosis) -> Iterator[Finding]:
    places = (
        ("", None if row.here is row.unlabelled_here else row.here),
        (" at the labels", row.labels),
        (" on the held-out rows", row.val_here),
        (" at the labels of the held-out rows", row.val_labels),
        (" on the unlabelled rows", row.unlabelled_here),
    )
    bad = [(where, seen) for where, seen in places if seen and not math.isfinite(seen.loss)]
    said: set[tuple[int, ...]] = set()
    for where, seen in bad:
        by_data = seen.bad_row_count and seen.bad_given_count == seen.bad_row_count
        if seen.bad_weight_count and not by_data:
            if seen.bad_weight_rows not in said:
                yield _bad_weights(row, where, seen)
            said.add(seen.bad_weight_rows)
            continue
        in_training = seen is row.here or seen is row.unlabelled_here
        harm, shielded = _harm(row, in_training and not by_data)
        only_floor = by_data and (seen is row.labels or seen is row.val_labels)
        yield Finding(
            "non-finite",
            "warning" if only_floor else harm,
            row.term,
            f"The loss of '{row.term}'{where} is {seen.loss:g}{_bad_rows(seen)}"
            f"{', as are the inputs or labels there' if by_data else ''}."
            f"{' Only the floor is lost.' if only_floor else shielded}",
            DATA_CURE if by_data else PHYSICS_CURE,
        )
    norm = row.grad_norm
    if not bad and norm is not None and not math.isfinite(norm):
        harm, shielded = _harm(row, True)
        yield Finding(
            "non-finite",
            harm,
            row.term,
            f"The loss of '{row.term}' is finite ({row.loss:.3g}), but its gradient is not."
            f"{shielded}",
            "Look for a derivative that is infinite where the value is not: `sqrt` or `norm` at 0, "
            "a `where` whose other branch is not finite, or rows that do not count. Move the "
            "argument away from there, or keep these rows from the physics by "
            "`PhysicsTerm(where=...)`.",
        )


def _harm(row: TermDiagnosis, in_training: bool) -> tuple[Severity, str]:
    """Returns the severity of physics that is not finite, and what a weight of 0 changes."""
    if row.weight:
        return "error", ""
    if not (in_training and row.active_sharers):
        return "warning", NO_HARM
    others = ", ".join(f"'{name}'" for name in row.active_sharers)
    return "error", (
        f" Even at weight 0 its gradient can turn the weights into NaN, as {others} comes from the "
        "same call of the physics: give each term a function of its own, by a dict of functions."
    )


def _bad_weights(row: TermDiagnosis, where: str, seen: Summary) -> Finding:
    return Finding(
        "non-finite",
        "error" if row.weight else "warning",
        row.term,
        f"The loss of '{row.term}'{where} is {seen.loss:g}: its `where` is negative or NaN in "
        f"{seen.bad_weight_count} row(s){_numbers(seen.bad_weight_count, seen.bad_weight_rows)}."
        f"{'' if row.weight else NO_HARM}",
        NOT_NEGATIVE,
    )


def _bad_rows(seen: Summary) -> str:
    if not seen.bad_row_count:
        return ""
    of = f" in component {_listed(seen.bad_components)}" if len(seen.mean) > 1 else ""
    rows = _numbers(seen.bad_row_count, seen.bad_rows)
    return f": {seen.bad_row_count} row(s) are not finite{of}{rows}"


def _numbers(count: int, numbers: tuple[int, ...]) -> str:
    shown = ", ".join(map(str, numbers)) + (", ..." if count > len(numbers) else "")
    return f" (rows {shown})" if numbers else ""


def _size(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    ratio, loss = row.grad_ratio, _largest_loss(row)
    if not row.weight or ratio is None or loss is None or not math.isfinite(ratio):
        return
    if ratio >= limits.dominates_ratio:
        cure = (
            f"Start from a weight of about {row.weight / ratio:.2g}, where both are equal, and "
            "ramp up from below it."
        )
        if row.few_rows is not None:
            cure = (
                "First see to the rows that carry the loss (`few-rows`): a weight that balances "
                "them would leave all other rows without influence."
            )
        yield Finding(
            "dominates",
            "warning",
            row.term,
            f"The weighted gradient of '{row.term}' is {ratio:.3g} times that of the data loss.",
            cure,
        )
    elif 0 < ratio < limits.negligible_ratio and loss > limits.floor_tolerance:
        yield Finding(
            "negligible",
            "info",
            row.term,
            f"The weighted gradient of '{row.term}' is {ratio:.1e} times that of the data loss.",
            f"It does nothing yet: it starts to count at a weight of about "
            f"{0.1 * row.weight / ratio:.2g} (a ratio of 0.1).",
        )


def _largest_loss(row: TermDiagnosis) -> float | None:
    """Returns the loss on the labelled or on the unlabelled rows, the larger one."""
    return None if row.loss is None else max(row.loss, row.unlabelled_loss or 0.0)


def _shown(value: float | None) -> str:
    return "nothing known" if value is None else f"{value:.3g}"


def _listed(values: tuple | list, most: int = 6) -> str:
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")
