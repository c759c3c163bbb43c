"""The rules about floors: is there anything left to gain, on rows seen and unseen?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.summaries import Summary
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds

Place = Literal["below", "at", "above"]
Places = list[tuple[str, Summary, Summary]]


def floor_findings(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    """Yields what there is to say of a term against its floor."""
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
            f"'{row.term}' has reached its floor: {_said(places)}.",
            "This is the value at the true labels: a lower one means predictions that differ from "
            "them. Whether more weight pays all the same, only the held-out data loss can tell "
            "(`keras_physreg.sanity_sweep`); better physics or labels would lower the floor."
            f"{unseen if len(places) == 1 else ''}",
        )
    elif len(places) == 2 and here.trusted_loss <= limits.floor_factor * labels.loss + (
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

    if far(here.trusted_loss, labels.loss) and far(here.median, labels.median):
        yield Finding(
            "memorised",
            "warning",
            row.term,
            f"'{row.term}' has nothing left to gain on the given rows, and much on others: "
            f"{_said(places)}.",
            "The model has memorised the labelled rows: before giving the term more weight on "
            "them, apply label-free terms to inputs without labels, or get more labelled rows.",
        )


def _places(row: TermDiagnosis) -> Places:
    pairs = (
        ("on the given rows", row.here, row.labels),
        ("on the held-out rows", row.val_here, row.val_labels),
    )
    found = [(where, here, labels) for where, here, labels in pairs if here and labels]
    return found if found and found[0][1] is row.here else []


def _against_floor(here: Summary, labels: Summary, limits: Thresholds) -> Place:
    """Says where a loss stands; where mean and median differ, the higher one counts."""
    pairs = [(here.trusted_loss, labels.loss)]
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
        f"{here.trusted_loss:.3g} against {labels.loss:.3g} at the labels {where}"
        f"{_medians(here, labels)}"
        for where, here, labels in places
    )


def _medians(here: Summary, labels: Summary) -> str:
    if here.median is None or labels.median is None:
        return ""
    return f" (medians {here.median:.3g} and {labels.median:.3g})"
