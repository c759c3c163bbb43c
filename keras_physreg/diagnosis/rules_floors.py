"""Rules about floors: is there anything left to gain, on given and on held-out rows?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from keras_physreg.diagnosis.finding import Finding
from keras_physreg.diagnosis.summaries import Summary
from keras_physreg.diagnosis.teacher import Teacher
from keras_physreg.diagnosis.term_diagnosis import TermDiagnosis
from keras_physreg.diagnosis.thresholds import Thresholds

Place = Literal["below", "at", "above"]
Places = list[tuple[str, Summary, Summary]]


def floor_findings(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    """Yields findings about a term and its floor."""
    places = _places(row)
    if not places:
        return
    _, here, labels = places[0]
    kinds = {_against_floor(seen, floor, limits) for _, seen, floor in places}
    if labels.loss > limits.floor_tolerance and kinds <= {"at", "below"}:
        below = kinds == {"below"}
        if not below or _has_a_say(row, limits):
            yield _at_or_below(row, places, below, limits)
    elif len(places) == 2 and here.trusted_loss <= limits.floor_factor * labels.loss + (
        limits.floor_tolerance
    ):
        if _is_memorised(places, limits):
            yield _memorised(row, places, limits)
        elif labels.loss > limits.floor_tolerance:
            yield from _teacher(row, limits)
    else:
        yield from _teacher(row, limits)


def _teacher(row: TermDiagnosis, limits: Thresholds) -> Iterator[Finding]:
    verdict = _verdict(row, limits)
    if verdict is not None and row.teacher is not None:
        said, cure = _decided(row, row.teacher)
        yield Finding(f"{verdict}-teacher", "info", row.term, said, cure)


def _verdict(row: TermDiagnosis, limits: Thresholds) -> str | None:
    """Returns who is the better teacher, `None` where that is not known.

    In physics that takes the prediction, errors of the network may cancel, as those of DNI and DHI
    do in their sum: then a smaller floor than the network's error is not enough. On measured data
    more weight paid where the predictions obey the physics on the given rows and break it on
    others, and nowhere else; see `tests/benchmarks/README.md`.
    """
    teacher = row.teacher
    if teacher is None or teacher.verdict != "better" or teacher.independent:
        return None if teacher is None else teacher.verdict
    return "better" if _obeys_on_given_rows_alone(row, limits) else None


def _obeys_on_given_rows_alone(row: TermDiagnosis, limits: Thresholds) -> bool:
    places = _places(row)
    if len(places) < 2:
        return False
    (_, here, floor), (_, unseen, unseen_floor) = places
    factor, more = limits.memorised_factor, limits.floor_tolerance
    obeys = here.trusted_loss <= factor * floor.loss + more
    return obeys and unseen.trusted_loss > factor * unseen_floor.loss + more


def _has_a_say(row: TermDiagnosis, limits: Thresholds) -> bool:
    """Returns whether the term itself can have brought the model below its floor."""
    return row.weight > 0 and (row.grad_ratio is None or row.grad_ratio >= limits.negligible_ratio)


def _at_or_below(row: TermDiagnosis, places: Places, below: bool, limits: Thresholds) -> Finding:
    """Returns the finding for a term at or below its floor.

    The floor says where physics and labels disagree, not whether more weight pays: where the
    network misses unseen labels by more, the physics is the better teacher all the same.
    """
    if below:
        message = f"The model fits '{row.term}' better than the labels do: {_said(places)}."
    else:
        message = f"'{row.term}' has reached its floor: {_said(places)}."
    teacher, verdict = row.teacher, _verdict(row, limits)
    if teacher is None or verdict is None:
        said, cure = _undecided(row, len(places) == 2)
    else:
        said, cure = _decided(row, teacher)
    harms = below and verdict == "worse"
    return Finding(
        "below-floor" if below else "at-floor",
        "warning" if harms else "info",
        row.term,
        f"{message} {said}",
        cure,
    )


def _of_teacher(row: TermDiagnosis, limits: Thresholds) -> str:
    decided = _verdict(row, limits) is not None
    return f" {_decided(row, row.teacher)[0]}" if decided and row.teacher else ""


def _decided(row: TermDiagnosis, teacher: Teacher) -> tuple[str, str]:
    better = teacher.verdict == "better"
    said = (
        f"On the {teacher.rows} held-out rows the physics of '{row.term}' misses the labels by "
        f"{teacher.floor:.3g} and the network by {teacher.network:.3g}, under the loss of this "
        f"term: there the physics is the {'better' if better else 'worse'} teacher."
    )
    if better:
        return said, (
            f"More weight than {row.weight:g} can pay: raise it in steps while the held-out data "
            "loss falls (`keras_physreg.sanity_sweep`)."
        )
    less = f"Try less weight than {row.weight:g}, and 0:" if row.weight else "At a weight above 0"
    return said, (
        f"{less} the physics takes the network away from what it knows; better physics or labels "
        "would lower the floor. The held-out data loss decides (`keras_physreg.sanity_sweep`)."
    )


def _undecided(row: TermDiagnosis, unseen: bool) -> tuple[str, str]:
    teacher, more = row.teacher, ""
    if teacher is not None and teacher.verdict is not None:
        said = (
            f"On the {teacher.rows} held-out rows the physics misses the labels by "
            f"{teacher.floor:.3g} and the network by {teacher.network:.3g}, under the loss of this "
            "term; but the physics takes the prediction, so that errors of the network may cancel "
            "in it: that does not tell who is the better teacher."
        )
    elif teacher is not None:
        said = (
            f"Too few rows to tell which is the better teacher: on the {teacher.rows} held-out "
            f"rows the physics misses the labels by {teacher.floor:.3g} and the network by "
            f"{teacher.network:.3g}, under the loss of this term."
        )
    else:
        said = (
            "The floor is where physics and labels disagree: less loss than that means "
            "predictions that differ from the labels, for better or worse."
        )
    if not unseen:
        more = " Give `validation_data` to see how the network does on other rows."
    return said, (
        "The held-out data loss decides whether more or less weight pays "
        f"(`keras_physreg.sanity_sweep`); better physics or labels would lower the floor.{more}"
    )


def _is_memorised(places: Places, limits: Thresholds) -> bool:
    _, here, labels = places[1]

    def far(value: float | None, floor: float | None) -> bool:
        if value is None or floor is None:
            return True
        return value > limits.memorised_factor * floor + limits.floor_tolerance

    return far(here.trusted_loss, labels.loss) and far(here.median, labels.median)


def _memorised(row: TermDiagnosis, places: Places, limits: Thresholds) -> Finding:
    return Finding(
        "memorised",
        "warning",
        row.term,
        f"'{row.term}' has nothing left to gain on the given rows, and much on others: "
        f"{_said(places)}.{_of_teacher(row, limits)}",
        "The model has memorised the labelled rows: before giving the term more weight on them, "
        "apply label-free terms to inputs without labels, or get more labelled rows.",
    )


def _places(row: TermDiagnosis) -> Places:
    pairs = (
        ("given", row.here, row.labels),
        ("held-out", row.val_here, row.val_labels),
    )
    found = [(kind, here, labels) for kind, here, labels in pairs if here and labels]
    return found if found and found[0][1] is row.here else []


def _against_floor(here: Summary, labels: Summary, limits: Thresholds) -> Place:
    """Says where a loss stands; where mean and median differ, the higher one counts."""
    pairs = [(here.trusted_loss, labels.loss)]
    if here.median is not None and labels.median is not None:
        # Heavy tails: a few rows make up the mean, which says little about the others.
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
        f"{here.trusted_loss:.3g} against {labels.loss:.3g} at the labels on the {labels.rows} "
        f"{kind} rows{_medians(here, labels)}"
        for kind, here, labels in places
    )


def _medians(here: Summary, labels: Summary) -> str:
    if here.median is None or labels.median is None:
        return ""
    return f" (medians {here.median:.3g} and {labels.median:.3g})"
