"""The rules: which numbers of a term are worth a finding, in which words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.statistics import Summary
from keras_physreg.diagnosis.term import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds

Places = list[tuple[str, Summary, Summary]]


def term_findings(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    """Yields what there is to say of one term."""
    if row.here is None:
        return
    non_finite = [*_non_finite(row)]
    yield from non_finite
    if row.trainable:
        unconnected = [*_disconnected(row), *_zero_gradient(row, limits)]
        yield from unconnected
        if not unconnected:
            yield from _partly_connected(row)
            if not non_finite:
                yield from _floor(row, limits)
                yield from _size(row, limits)
    yield from _biased(row, limits)


def _disconnected(row: TermDiagnosis) -> Iterator[Finding]:
    if row.connection.arrives:
        return
    why = row.connection.reason
    if why:
        where, cure = f" ({why.rstrip('.')})", "Write that operation with `keras.ops` ones."
    elif row.connection.at_prediction:
        where = ": it reaches the prediction that the physics takes, and stops before the variables"
        cure = (
            "Look between the prediction and the network's variables: a `stop_gradient`, frozen "
            "layers (`trainable = False`), or a prediction that is a constant."
        )
    else:
        where = ": none reaches the prediction that the physics takes"
        cure = (
            "Compute the output from the `prediction` argument with `keras.ops`: no NumPy, no "
            "prediction made outside and captured, no integer cast, no `stop_gradient`."
        )
    message = f"No gradient of '{row.term}' reaches the network's variables{where}."
    yield Finding("disconnected", "error", row.term, message, cure)


def _zero_gradient(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    norm, loss = row.grad_norm, row.loss
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
    missing = row.connection.missing
    if missing:
        yield Finding(
            "partly-connected",
            "warning",
            row.term,
            f"The gradient of '{row.term}' reaches {row.reached} of {row.trainable} trainable "
            f"variables; {len(missing)} of those that feed its prediction are not reached: "
            f"{_listed(missing)}.",
            "Use the parts of the prediction that come from them, or look for a `stop_gradient` on "
            "the way; if the physics is not about them, leave them out of its `prediction`.",
        )


def _non_finite(row: TermDiagnosis) -> Iterator[Finding]:
    severity = "error" if row.weight else "warning"
    shielded = "" if row.weight else " At weight 0 it does no harm yet."
    places = (
        ("", row.here),
        (" at the labels", row.labels),
        (" on the held-out rows", row.val_here),
        (" at the labels of the held-out rows", row.val_labels),
    )
    bad = [(where, seen) for where, seen in places if seen and not math.isfinite(seen.loss)]
    cure = (
        "Look at these rows; keep the physics finite for every prediction: bound what goes into "
        "`log`, `sqrt`, powers and divisions (`keras.ops.maximum`), and clip exponents."
    )
    for where, seen in bad:
        yield Finding(
            "non-finite",
            severity,
            row.term,
            f"The loss of '{row.term}'{where} is {seen.loss:g}{_bad_rows(seen)}.{shielded}",
            cure,
        )
    norm = row.grad_norm
    if not bad and norm is not None and not math.isfinite(norm):
        yield Finding(
            "non-finite",
            severity,
            row.term,
            f"The loss of '{row.term}' is finite ({row.loss:.3g}), but its gradient is not."
            f"{shielded}",
            "Look for a derivative that is infinite where the value is not: `sqrt` or `norm` at 0, "
            "or a `where` whose other branch is not finite; move the argument away from there.",
        )


def _bad_rows(seen: Summary) -> str:
    if not seen.bad_row_count:
        return ""
    of = f" in component {_listed(seen.bad_components)}" if len(seen.mean) > 1 else ""
    more = ", ..." if seen.bad_row_count > len(seen.bad_rows) else ""
    rows = ", ".join(map(str, seen.bad_rows)) + more
    return f": {seen.bad_row_count} row(s) are not finite{of} (rows {rows})"


def _floor(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    places = _places(row)
    if not places:
        return
    _, here, labels = places[0]
    kinds = {_against_floor(seen, floor, limits) for _, seen, floor in places}
    if labels.loss > limits.floor_tolerance and kinds == {"below"}:
        yield from _below_floor(row, places, limits)
    elif labels.loss > limits.floor_tolerance and kinds <= {"at", "below"}:
        unseen = " Give `validation_data` to see whether other rows stand there too."
        yield Finding(
            "at-floor",
            "info",
            row.term,
            f"'{row.term}' stands at its floor: {_said(places)}.",
            "Do not raise the weight for it: this is the value at the true labels, and more "
            "weight only pulls away from them; better physics or labels would lower the floor."
            f"{unseen if len(places) == 1 else ''}",
        )
    elif len(places) == 2 and here.loss <= limits.floor_factor * labels.loss + (
        limits.floor_tolerance
    ):
        yield from _memorised(row, places, limits)


def _below_floor(row: TermDiagnosis, places: Places, limits: Thresholds) -> Iterator[Finding]:
    ratio = row.grad_ratio
    if row.weight and (ratio is None or ratio >= limits.negligible_ratio):
        yield Finding(
            "below-floor",
            "warning",
            row.term,
            f"The model fits '{row.term}' better than the labels do: {_said(places)}.",
            f"Lower the weight ({row.weight:g}) until the held-out data loss stops falling; only "
            "where the labels are noisy and the physics is exact is it right to stand here.",
        )


def _memorised(row: TermDiagnosis, places: Places, limits: Thresholds) -> Iterator[Finding]:
    _, here, labels = places[1]

    def far(value: float | None, floor: float | None) -> bool:
        if value is None or floor is None:
            return True
        return value > limits.memorised_factor * floor + limits.floor_tolerance

    if far(here.loss, labels.loss) and far(here.median, labels.median):
        yield Finding(
            "memorised",
            "warning",
            row.term,
            f"'{row.term}' has nothing left to gain on the given rows, and much on others: "
            f"{_said(places)}.",
            "The model has memorised the labelled rows: apply label-free terms to inputs without "
            "labels, or get more labelled rows; more weight on these rows does little.",
        )


def _biased(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    seen = row.labels
    if seen is None or not seen.loss > limits.floor_tolerance:
        return
    biased = [
        k
        for k, (bias, count) in enumerate(zip(row.biases, seen.count, strict=True))
        if abs(bias) >= limits.bias_ratio and abs(bias) * math.sqrt(count) >= limits.bias_z
    ]
    if biased:
        biased.sort(key=lambda k: -abs(row.biases[k]))
        listed = [f"{seen.mean[k]:+.3g} with sd {seen.sd[k]:.3g}{_of(k, seen)}" for k in biased]
        yield Finding(
            "biased",
            "warning",
            row.term,
            f"At the labels the residual of '{row.term}' has a systematic sign: mean "
            f"{_listed(listed, 3)}, over {seen.count[biased[0]]} values.",
            "Correct the physics, the sensor or the labels, or let a trainable constant of a "
            "physics layer take up the offset; a weight can only trade it against the labels.",
        )


def _of(component: int, seen: Summary) -> str:
    return f" in component {component}" if len(seen.mean) > 1 else ""


def _size(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    ratio, loss = row.grad_ratio, row.loss
    if not row.weight or ratio is None or loss is None or not math.isfinite(ratio):
        return
    if ratio >= limits.dominates_ratio:
        yield Finding(
            "dominates",
            "warning",
            row.term,
            f"The weighted gradient of '{row.term}' is {ratio:.3g} times that of the data loss.",
            f"Start from a weight of about {row.weight / ratio:.1e}, where both are equal, and "
            "ramp up from below it.",
        )
    elif 0 < ratio < limits.negligible_ratio:
        yield Finding(
            "negligible",
            "info",
            row.term,
            f"The weighted gradient of '{row.term}' is {ratio:.1e} times that of the data loss.",
            f"It does nothing yet: it starts to count at a weight of about "
            f"{0.1 * row.weight / ratio:.1e} (a ratio of 0.1).",
        )


def _places(row: TermDiagnosis) -> Places:
    pairs = (
        ("on the given rows", row.here, row.labels),
        ("on the held-out rows", row.val_here, row.val_labels),
    )
    found = [(where, here, labels) for where, here, labels in pairs if here and labels]
    return found if found and found[0][1] is row.here else []


def _against_floor(here: Summary, labels: Summary, limits: Thresholds) -> str:
    """Says `"below"`, `"at"` or `"above"`; where mean and median differ, the higher one counts."""
    pairs = [(here.loss, labels.loss)]
    if here.median is not None and labels.median is not None:
        # Heavy tails: a few rows make the mean, and say little of the others.
        pairs.append((here.median, labels.median))
    if all(_below(loss, floor, limits) for loss, floor in pairs):
        return "below"
    if all(loss <= limits.floor_factor * f + limits.floor_tolerance for loss, f in pairs):
        return "at"
    return "above"


def _below(loss: float, floor: float, limits: Thresholds) -> bool:
    return loss < limits.below_factor * floor or loss <= floor <= limits.floor_tolerance


def _said(places: Places) -> str:
    return ", and ".join(
        f"{here.loss:.3g} against {labels.loss:.3g} at the labels {where}{_medians(here, labels)}"
        for where, here, labels in places
    )


def _medians(here: Summary, labels: Summary) -> str:
    if here.median is None or labels.median is None:
        return ""
    return f" (medians {here.median:.3g} and {labels.median:.3g})"


def _listed(values: tuple | list, most: int = 6) -> str:
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")
