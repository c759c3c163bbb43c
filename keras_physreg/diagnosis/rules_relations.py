"""Rules: is the physics unrelated to the labels, or related by another unit?"""

from __future__ import annotations

from collections.abc import Iterator

from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.relations import Relation
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds
from keras_physreg.diagnosis.units import known_factor, name_of_offset, near
from keras_physreg.terms.references import root

# Share of the mean square difference that a correction may leave, to be worth its finding.
MAX_LEFT = 0.5
OTHERS = {"target": "the label", "input": "the input", "prediction": "the label"}


def relation_findings(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    """Yields findings on whether the physics of a term goes along with the labels."""
    floor = row.pooled_labels
    if floor is None or not floor.loss > limits.floor_tolerance:
        return
    for relation in row.relations:
        if relation.r2_high <= 1 - limits.unrelated:
            said = _unrelated(row, relation, limits)
            yield Finding("unrelated", "warning", row.term, *said)
        elif is_rescaled(relation, limits):
            yield Finding("rescaled", "warning", row.term, *_rescaled(row, relation, limits))
        elif relation.r2 <= 1 - limits.unrelated and relation.r2_high < 1:
            said = _undecided(row, relation, limits)
            yield Finding("too-few-rows", "info", row.term, *said)


def explained_components(row: TermDiagnosis, limits: Thresholds) -> frozenset[int]:
    """Returns the components whose residual `unrelated` or `rescaled` explains."""
    return frozenset(
        relation.component
        for relation in row.relations
        if relation.r2_high <= 1 - limits.unrelated or is_rescaled(relation, limits)
    )


def is_rescaled(relation: Relation, limits: Thresholds) -> bool:
    """Returns whether both go along, but by another factor than 1 or with an offset.

    Errors in either of both leave a factor of 1 between the two regressions, however large they
    are: a factor is told wherever they go along, unless they are `unrelated`.
    """
    if _has_factor(relation, limits):
        return relation.r2_low > 0 and relation.left <= MAX_LEFT
    if relation.r2_low < 1 - limits.unrelated:
        return False
    return _has_offset(relation, limits) and relation.left_by_shift <= MAX_LEFT


def _has_factor(relation: Relation, limits: Thresholds) -> bool:
    low, high = relation.slope_low, relation.slope_high
    return high <= 1 / limits.rescaled or low >= limits.rescaled


def _has_offset(relation: Relation, limits: Thresholds) -> bool:
    # The mean of a residual is not known part by part: `biased` covers it.
    large = limits.rescaled_offset * relation.sd
    return not relation.by_residual and abs(relation.shift) - relation.shift_error >= large


def _unrelated(row: TermDiagnosis, relation: Relation, limits: Thresholds) -> tuple[str, str]:
    said, other = _names(row, relation)
    return (
        f"In '{row.term}' {said} does not go along with {other}{_of(row, relation)}: at the labels "
        f"it leaves {100 * (1 - relation.r2):.3g} % of the variance unexplained (at least "
        f"{100 * (1 - relation.r2_high):.2g} %, {_rows(relation, limits)}).",
        "Look for a wrong column, another order of the rows, another time or place of the "
        "measurement, or noise that is larger than the signal. As long as the physics does not "
        "know the labels, more weight on it pulls the predictions away from them.",
    )


def _undecided(row: TermDiagnosis, relation: Relation, limits: Thresholds) -> tuple[str, str]:
    said, other = _names(row, relation)
    return (
        f"Too few rows to tell whether in '{row.term}' {said} goes along with {other}"
        f"{_of(row, relation)}: at the labels it explains {100 * relation.r2:.2g} % of the "
        f"variance, and up to {100 * relation.r2_high:.2g} % are possible "
        f"({_rows(relation, limits)}).",
        "Give more labelled rows, as `validation_data` too, and look at the columns and at the "
        "order of the rows.",
    )


def _rescaled(row: TermDiagnosis, relation: Relation, limits: Thresholds) -> tuple[str, str]:
    said, other = _names(row, relation)
    has_factor = _has_factor(relation, limits)
    law, between, hint = (_by_factor if has_factor else _by_offset)(relation, other)
    left = relation.left if has_factor else relation.left_by_shift
    along = "Both go along" if relation.r2 >= 0.5 else "Both go along in part"
    return (
        f"In '{row.term}' {said} is {law}{_of(row, relation)} ({between}, "
        f"{_rows(relation, limits)}){hint} {along} (r2 {relation.r2:.2f}); corrected, "
        f"{100 * left:.2g} % of the mean square at the labels would be left.",
        "Bring both into one unit: look for a conversion, a sign, or a scaling that is done on one "
        "side only (labels standardised and the physics in physical units, or the reverse).",
    )


def _by_factor(relation: Relation, other: str) -> tuple[str, str, str]:
    """Returns the law, the interval of its factor and what it may come from."""
    between = f"{relation.slope_low:.4g} to {relation.slope_high:.4g}"
    known = known_factor(relation.slope, relation.slope_low, relation.slope_high)
    is_near = known is not None and near(known[0], relation.slope)
    law = f"{_times(known[0] if known and is_near else relation.slope)} {other}"
    spread = abs(relation.slope) * relation.sd
    if not relation.by_residual and abs(relation.offset) > 0.1 * spread:
        law += f" {'+' if relation.offset > 0 else '-'} {abs(relation.offset):.4g}"
    return law, between, ": a sign?" if relation.slope < 0 else f": {known[1]}?" if known else "."


def _by_offset(relation: Relation, other: str) -> tuple[str, str, str]:
    """Returns the law, the interval of its offset and what it may come from."""
    low, high = (relation.shift + sign * relation.shift_error for sign in (-1, 1))
    units = name_of_offset(relation.shift, relation.shift_error)
    law = f"{other} {relation.shift:+.4g}"
    return law, f"{low:+.4g} to {high:+.4g}", f": {units}?" if units else "."


def _times(slope: float) -> str:
    if abs(slope + 1) < 0.02:
        return "minus"
    return f"{slope:.4g} times"


def _names(row: TermDiagnosis, relation: Relation) -> tuple[str, str]:
    if relation.by_residual:
        return "the part from the labels", "the part from the inputs"
    return "the output", OTHERS.get(root(row.reference) or "", "its reference")


def _of(row: TermDiagnosis, relation: Relation) -> str:
    several = row.labels is not None and len(row.labels.mean) > 1
    return f" in component {relation.component}" if several else ""


def _rows(relation: Relation, limits: Thresholds) -> str:
    return f"{100 * limits.confidence:g} % interval, {relation.count} rows"
