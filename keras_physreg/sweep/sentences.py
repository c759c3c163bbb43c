"""The sentences of a report that state what a sweep says of a term."""

from __future__ import annotations

import numpy as np

from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.other_words import without_effect
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.verdict import TermVerdict, Verdict
from keras_physreg.sweep.wording import (
    on_which_rows,
    percent,
    rows_word,
    score_name,
    where_the_mean_differs,
)

AT_FLOOR = 1.5  # Up to this multiple of its floor, a term's loss counts as being at the floor.
FAR_ABOVE = 10.0  # From this multiple of its floor on, a term's loss counts as far above it.
MAX_RATIO = 1e6  # Beyond this multiple of a floor, the floor is 0 up to rounding.


def sentences(sweep: MeasuredSweep, name: str) -> str:
    """Returns a term's verdict with its numbers, and the term's loss compared with its floor."""
    verdict, settings = sweep.verdicts[name], sweep.settings
    if name in settings.constants_only:  # Its loss at the labels does not depend on the network.
        said = _verdict(verdict, settings)
        if verdict.inert:
            said = [without_effect(sweep.terms[name], settings, _no_weight(verdict))]
        return " ".join(part for part in [f"{verdict.verdict}.", *said] if part)
    parts = [
        f"{verdict.verdict}.",
        *_verdict(verdict, settings),
        _floors(sweep.terms[name], verdict),
    ]
    return " ".join(part for part in parts if part)


def together(verdict: TermVerdict, settings: SweepSettings, replaces: bool) -> str:
    """Returns the verdict on several terms together, with its numbers.

    Args:
        verdict: The verdict.
        settings: How the sweep was made.
        replaces: Whether their weights were compared with other weights, and not with 0.
    """
    if verdict.changes[0] is Verdict.DIVERGES:
        return f"{verdict.verdict}. Some trainings end in NaN or infinity."
    where = "Together"
    if not settings.has_rows:
        off = "the weights before" if replaces else f"{verdict.term} off"
        where = f"Compared with {off}"
    return f"{verdict.verdict}. {_change(verdict, settings, where)}"


def _verdict(verdict: TermVerdict, settings: SweepSettings) -> list[str]:
    if np.isnan(verdict.better).all() and Verdict.DIVERGES not in verdict.changes:
        return [_nothing_to_compare(verdict)]
    if verdict.helps:
        below = [_worse(verdict, weight, settings) for weight in verdict.harmful_below_best]
        at_best = _change(verdict, settings, f"At weight {verdict.best_weight:g}")
        return [at_best, _harm(verdict, settings), *below]
    if verdict.inert:
        return [_same(verdict, settings)]
    if verdict.verdict.harms:
        smaller = _smaller_weights(verdict, settings)
        return [_harm(verdict, settings), smaller, _advice_on_harm(verdict, settings)]
    if set(verdict.changes) == {Verdict.SAME}:
        return ["No weight has changed anything, but the trainings were cut short."]
    return [_change(verdict, settings, f"At the best weight, {verdict.best_weight:g}")]


def _change(verdict: TermVerdict, settings: SweepSettings, where: str) -> str:
    """Says how much the best weight changes the score, and how sure that is."""
    gain, low, high = verdict.gain_at(verdict.best_weight)
    falls = "falls" if gain >= 0 else "rises"
    size = percent(abs(gain))
    text = f"{where}, {score_name(settings)} {falls} by {size} %{on_which_rows(settings)}."
    if verdict.best_weight is None or np.isnan(verdict.probability):
        return text
    text += (
        f" The probability that it falls by more than {100 * settings.min_effect:g} % is "
        f"{100 * verdict.probability:.0f} %. {_interval(verdict, settings, low, high)}"
    )
    text += where_the_mean_differs(verdict, verdict.position(verdict.best_weight), settings)
    if verdict.helps and len(verdict.weights) > 1:
        text += (
            f" Expect less than {size} %: the weight was chosen on the same {rows_word(settings)}."
        )
    return text


def _interval(verdict: TermVerdict, settings: SweepSettings, low: float, high: float) -> str:
    weights = " for all weights together" if len(verdict.weights) > 1 else ""
    return (
        f"The true change lies between {_better_or_worse(low)} and {_better_or_worse(high)} "
        f"({100 * settings.confidence:g} % interval{weights})."
    )


def _same(verdict: TermVerdict, settings: SweepSettings) -> str:
    return (
        f"{_no_weight(verdict)} {score_name(settings)}{on_which_rows(settings)} by "
        f"{100 * settings.min_effect:g} % or more. Larger weights were not tried. Use `diagnose` "
        "to see whether the gradient of the term reaches the model."
    )


def _no_weight(verdict: TermVerdict) -> str:
    first, last = verdict.weights[0], verdict.weights[-1]
    if first == last:
        return f"Weight {first:g} does not change"
    return f"No weight from {first:g} to {last:g} changes"


def _harm(verdict: TermVerdict, settings: SweepSettings) -> str:
    """Says from which weight on the term harms."""
    if verdict.hurts_from is None:
        return ""
    i = verdict.position(verdict.hurts_from)
    start = f"From weight {verdict.hurts_from:g} on"
    if verdict.changes[i] is Verdict.DIVERGES:
        return f"{start}, trainings end in NaN or infinity."
    probably = "probably " if verdict.changes[i] is Verdict.PROBABLY_HURTS else ""
    at = f"by {_loss(verdict, i)} % at {verdict.hurts_from:g}"
    return f"{start}, {score_name(settings)} {probably}rises ({at})."


def _smaller_weights(verdict: TermVerdict, settings: SweepSettings) -> str:
    """Says what the weights below the first harmful one do, where none helps."""
    assert verdict.hurts_from is not None
    count = verdict.position(verdict.hurts_from)
    if not count:
        return "No smaller weight was tried."
    if not verdict.undecided:
        return "Smaller weights change nothing that matters."
    weight = max(verdict.undecided, key=lambda w: verdict.gain_at(w)[0])
    gain, low, high = verdict.gain_at(weight)
    if np.isnan(low):
        return "The effect of smaller weights cannot be told."
    return (
        f"The effect of smaller weights cannot be told: at {weight:g}, {score_name(settings)} "
        f"{'falls' if gain >= 0 else 'rises'} by {percent(abs(gain))} %. "
        f"{_interval(verdict, settings, low, high)}"
        f"{where_the_mean_differs(verdict, verdict.position(weight), settings)}"
    )


def _advice_on_harm(verdict: TermVerdict, settings: SweepSettings) -> str:
    if verdict.verdict is Verdict.DIVERGES:
        return "Make the physics finite for every prediction, or lower the learning rate."
    if not settings.has_rows:
        return (
            "The other terms lose more by it than it gains: look at the losses of all terms, and "
            "at their units (`scale`)."
        )
    return "Use `diagnose` to see where physics and labels disagree: its floor and its bias."


def _nothing_to_compare(verdict: TermVerdict) -> str:
    if verdict.basis == "splits" or verdict.seeds >= 2 or not verdict.seeds:
        return (
            "There is nothing to compare: the baseline or all other trainings diverged or were not "
            "finished."
        )
    return "One seed does not show how much the result depends on the seed: give at least 2."


def _worse(verdict: TermVerdict, weight: float, settings: SweepSettings) -> str:
    """Says what a harmful weight below the best one does."""
    i = verdict.position(weight)
    if verdict.changes[i] is Verdict.DIVERGES:
        return f"At {weight:g}, trainings end in NaN or infinity."
    probably = "probably " if verdict.changes[i] is Verdict.PROBABLY_HURTS else ""
    return f"At {weight:g}, {score_name(settings)} {probably}rises by {_loss(verdict, i)} %."


def _floors(term: TermSweep, verdict: TermVerdict) -> str:
    """Compares the term's loss at weight 0 with its floor."""
    train, held_out = (
        _ratio(term.mean(key)[0], floor)
        for key, floor in (("term_loss", term.floor), ("val_term_loss", term.val_floor))
    )
    if train is None or held_out is None:
        return ""
    if min(train, held_out) > MAX_RATIO:
        here, there = (term.mean(key)[0] for key in ("term_loss", "val_term_loss"))
        return (
            f"With its weight off, its loss is {here:.3g} on training rows and {there:.3g} on "
            "held-out rows. Its floor is 0: the true labels satisfy this physics exactly."
        )
    if held_out < 1 / AT_FLOOR and not verdict.helps:
        return (
            f"With its weight off, its loss on held-out rows is {held_out:.3g} times its floor: "
            "the predictions satisfy this physics better than the true labels do."
        )
    if train <= AT_FLOOR and held_out >= FAR_ABOVE:
        return (
            "With its weight off, its loss is at its floor on the training rows and "
            f"{held_out:.0f} times the floor on held-out rows: the model has memorised the "
            "labelled rows, and the term can help most on rows without labels."
        )
    if train <= AT_FLOOR and held_out <= AT_FLOOR and not verdict.helps:
        return "With its weight off, its loss is at its floor already."
    return (
        f"With its weight off, its loss is {train:.3g} times its floor on training rows and "
        f"{held_out:.3g} times on held-out rows."
    )


def _ratio(loss: float, floor: float | None) -> float | None:
    return float(loss / floor) if floor and np.isfinite(loss) else None


def _loss(verdict: TermVerdict, position: int) -> str:
    return percent(-verdict.gains[position])


def _better_or_worse(gain: float) -> str:
    return f"{percent(abs(gain))} % {'better' if gain >= 0 else 'worse'}"
