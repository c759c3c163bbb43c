"""Rules about labels: a systematic residual, an inequality that labels break."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.intervals import improbable, share_interval, t_quantile
from keras_physreg.diagnosis.summaries import Summary
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds
from keras_physreg.terms.references import root

MAX_LISTED = 3  # components in a message


def label_findings(
    row: TermDiagnosis, limits: Thresholds, explained: frozenset[int]
) -> Iterator[Finding]:
    """Yields findings about a term at the labels.

    Args:
        row: The numbers of the term.
        limits: The limits beyond which a number becomes a finding.
        explained: Components whose residual another finding explains.
    """
    seen = row.pooled_labels
    if seen is None or not seen.loss > limits.floor_tolerance or seen.rows < 2:
        return
    inequalities = [k for k in range(len(seen.mean)) if is_inequality(row, k)]
    if inequalities:
        yield from _violated(row, seen, inequalities, limits)
    others = [
        k
        for k in range(len(seen.mean))
        if k not in explained
        and k not in inequalities
        and k not in row.one_sided
        and seen.mean[k] ** 2 + seen.sd[k] ** 2 > limits.floor_tolerance
    ]
    yield from _biased(row, seen, others, limits)


def is_inequality(row: TermDiagnosis, component: int) -> bool:
    """Returns whether an output is one-sided and exactly 0 in some rows, as `relu` is.

    An estimate of the label may look like one, too high by day and exact at night, but is none.
    """
    if root(row.reference) == "target":
        return False
    parts = [
        seen
        for seen in (row.here, row.labels, row.val_here, row.val_labels)
        if seen is not None and len(seen.positive) > component
    ]
    positive = sum(seen.positive[component] for seen in parts)
    negative = sum(seen.negative[component] for seen in parts)
    zero = sum(seen.count[component] for seen in parts) - positive - negative
    return zero > 0 and (not positive or not negative)


def _biased(
    row: TermDiagnosis, seen: Summary, components: Sequence[int], limits: Thresholds
) -> Iterator[Finding]:
    ratios = {k: _ratio(seen.mean[k], seen.sd[k], seen.count[k]) for k in components}
    large = [k for k in components if abs(ratios[k]) >= limits.bias_ratio]
    sure = [k for k in large if _is_sure(ratios[k], seen, k, limits, len(seen.mean))]
    if sure and seen.rows >= limits.bias_rows:
        sure.sort(key=lambda k: -abs(ratios[k]))
        listed = [f"{seen.mean[k]:+.3g} with sd {seen.sd[k]:.3g}{_of(k, seen)}" for k in sure]
        more = ", ..." if len(sure) > MAX_LISTED else ""
        yield Finding(
            "biased",
            "warning",
            row.term,
            f"At the labels the residual of '{row.term}' has a systematic sign: mean "
            f"{', '.join(listed[:MAX_LISTED])}{more}, over {_counted(seen, sure[0])}."
            f"{_all_of_one_sign(row, seen, sure[0])}",
            _cure_of_bias(row),
        )
    elif large and all(map(math.isfinite, ratios.values())):
        k = max(large, key=lambda k: abs(ratios[k]))
        half = t_quantile(limits.confidence, max(_rows(seen, k), 2)) / math.sqrt(_rows(seen, k))
        yield Finding(
            "too-few-rows",
            "info",
            row.term,
            f"Too few rows to tell whether '{row.term}' is biased at the labels: the mean residual "
            f"is {ratios[k]:+.2f} of its sd{_of(k, seen)}, and {seen.rows} rows leave "
            f"{ratios[k] - half:+.2f} to {ratios[k] + half:+.2f} "
            f"({100 * limits.confidence:g} % interval).",
            "Give more labelled rows, as `validation_data` too: the bias is a property of the "
            "labels, so rows of both kinds count.",
        )


def _all_of_one_sign(row: TermDiagnosis, seen: Summary, k: int) -> str:
    if row.reference is not None or max(seen.positive[k], seen.negative[k]) < seen.count[k]:
        return ""
    return " All of them have it: if this is an inequality, every label breaks it."


def _ratio(mean: float, sd: float, count: int) -> float:
    """Returns a mean over the standard deviation that an unbiased estimate has."""
    sd = sd * math.sqrt(count / (count - 1)) if count > 1 else 0.0
    return mean / sd if sd else math.copysign(math.inf, mean) if mean else 0.0


def _is_sure(ratio: float, seen: Summary, component: int, limits: Thresholds, tests: int) -> bool:
    rows = _rows(seen, component)
    return improbable(ratio * math.sqrt(rows), rows, limits.bias_z, tests)


def _rows(seen: Summary, component: int) -> int:
    """Returns the number of independent values: those of one row are alike."""
    return min(seen.rows, seen.count[component])


def _cure_of_bias(row: TermDiagnosis) -> str:
    if row.connection.constants:
        names = ", ".join(f"'{name}'" for name in row.connection.constants)
        return (
            f"Its trainable constants ({names}) have not taken it up: train on, look at their "
            "bounds and learning rate, or correct the physics, the sensor or the labels."
        )
    return (
        "Correct the physics, the sensor or the labels, or let a trainable constant of a physics "
        "layer take up the offset; a weight can only trade it against the labels."
    )


def _violated(
    row: TermDiagnosis, seen: Summary, components: Sequence[int], limits: Thresholds
) -> Iterator[Finding]:
    for k in components:
        hits, count = max(seen.positive[k], seen.negative[k]), seen.count[k]
        rows = _rows(seen, k)
        low, high = share_interval(round(hits * rows / count), rows, limits.confidence)
        interval = f"({100 * limits.confidence:g} % interval {100 * low:.2g} to {100 * high:.2g} %)"
        if low < limits.violated <= hits / count:
            yield Finding(
                "too-few-rows",
                "info",
                row.term,
                f"Too few rows to tell how many labels break the inequality '{row.term}'"
                f"{_of(k, seen)}: {hits} of {count} values do {interval}.",
                "Give more labelled rows, as `validation_data` too.",
            )
        if low >= limits.violated:
            yield Finding(
                "violated",
                "warning",
                row.term,
                f"{100 * hits / count:.2g} % of the labels break the inequality "
                f"'{row.term}'{_of(k, seen)}, by up to {seen.largest[k]:.3g}: {hits} of {count} "
                f"values {interval}.",
                "Look at these labels and at the bound: its sign, its unit, or noise that needs "
                "room. More weight pulls the predictions away from labels that break it.",
            )


def _of(component: int, seen: Summary) -> str:
    return f" in component {component}" if len(seen.mean) > 1 else ""


def _counted(seen: Summary, k: int) -> str:
    return f"{seen.count[k]} values" + (
        "" if seen.count[k] == seen.rows else f" in {seen.rows} rows"
    )
