"""What a sweep says of one term, in a few sentences."""

from __future__ import annotations

import numpy as np

from keras_physreg.sweep.described import on_which_rows, rows_and_splits, score_name
from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.verdict import TermVerdict, Verdict

AT_FLOOR = 1.5  # times the floor: up to here a term counts as standing at it
FAR_ABOVE = 10.0  # times the floor: from here on a term has a lot to give


def sentences(sweep: MeasuredSweep, name: str) -> str:
    """Returns what the sweep says of a term: its verdict with the numbers, and its floor."""
    verdict, settings = sweep.verdicts[name], sweep.settings
    parts = [
        f"{verdict.verdict}.",
        *_verdict(verdict, settings),
        _floors(sweep.terms[name], verdict),
    ]
    return " ".join(part for part in parts if part)


def together(verdict: TermVerdict, settings: SweepSettings) -> str:
    """Returns what the sweep says of several terms together."""
    if verdict.changes[0] is Verdict.DIVERGES:
        return f"{verdict.verdict}. Some trainings end in NaN or infinity."
    return f"{verdict.verdict}. {_change(verdict, settings, 'Together')}."


def _verdict(verdict: TermVerdict, settings: SweepSettings) -> list[str]:
    if np.isnan(verdict.better).all() and Verdict.DIVERGES not in verdict.changes:
        return [_nothing_to_compare(verdict)]
    if verdict.helps:
        below = [f"At {w:g} {_worse(verdict, w, settings)}." for w in verdict.harmful_below_best]
        at_best = _change(verdict, settings, f"At {verdict.best_weight:g}") + "."
        return [at_best, f"{_sentence_case(rows_and_splits(settings))}.", _harm(verdict), *below]
    if verdict.inert:
        return [_same(verdict, settings)]
    if verdict.verdict.harms:
        return [
            _harm(verdict),
            _smaller_weights(verdict, settings),
            f"{_sentence_case(rows_and_splits(settings))}.",
            _cure(verdict),
        ]
    if set(verdict.changes) == {Verdict.SAME}:
        return ["No weight has changed anything, but the trainings were cut short."]
    best = _change(verdict, settings, f"The best weight is {verdict.best_weight:g}: there")
    return [f"{best}.", f"{_sentence_case(rows_and_splits(settings))}."]


def _change(verdict: TermVerdict, settings: SweepSettings, where: str) -> str:
    """Says how much the best weight changes the score, and how sure that is."""
    gain, low, high = verdict.gain_at(verdict.best_weight)
    falls = "falls" if gain >= 0 else "rises"
    text = f"{where}, {score_name(settings)} {falls} by {_percent(abs(gain))} %"
    text = text.replace("there,", "there") + on_which_rows(settings)
    if np.isnan(verdict.probability):
        return text
    sure = f"{100 * verdict.probability:.0f} % sure that it falls by more than "
    if gain >= 0:
        sure = f"{100 * verdict.probability:.0f} % sure that by more than "
    weights = " for all weights together" if len(verdict.weights) > 1 else ""
    notes = [
        f"{sure}{100 * settings.min_effect:g} %",
        f"{100 * settings.confidence:g} % interval{weights}: {_percent(low)} to {_percent(high)} %",
    ]
    if verdict.helps and len(verdict.weights) > 1:
        notes.append("expect less, as the weight was chosen on the same rows")
    return f"{text} ({'; '.join(notes)})"


def _same(verdict: TermVerdict, settings: SweepSettings) -> str:
    first, last = verdict.weights[0], verdict.weights[-1]
    weights = f"Weight {first:g}" if first == last else f"No weight from {first:g} to {last:g}"
    changes = "does not change" if first == last else "changes"
    return (
        f"{weights} {changes} {score_name(settings)}{on_which_rows(settings)} by "
        f"{100 * settings.min_effect:g} % or more. Larger ones were not tried. Ask `diagnose` "
        f"whether its gradient arrives. {_sentence_case(rows_and_splits(settings))}."
    )


def _harm(verdict: TermVerdict) -> str:
    """Says from which weight on it harms."""
    if verdict.hurts_from is None:
        return ""
    i = verdict.position(verdict.hurts_from)
    if verdict.changes[i] is Verdict.DIVERGES:
        return f"From {verdict.hurts_from:g} on trainings end in NaN or infinity."
    probably = "Probably worse" if verdict.changes[i] is Verdict.PROBABLY_HURTS else "Worse"
    return f"{probably} from {verdict.hurts_from:g} on (by {_percent(-verdict.gains[i])} % there)."


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
        return "What smaller weights do cannot be told."
    return (
        f"What smaller weights do cannot be told: at {weight:g} the gain is {_percent(gain)} % "
        f"({100 * settings.confidence:g} % interval: {_percent(low)} to {_percent(high)} %)."
    )


def _cure(verdict: TermVerdict) -> str:
    if verdict.verdict is Verdict.DIVERGES:
        return "Make the physics finite wherever the prediction may go, or lower the learning rate."
    return "Look at its floor and bias with `diagnose`: where do physics and labels disagree?"


def _nothing_to_compare(verdict: TermVerdict) -> str:
    if verdict.basis == "splits" or verdict.seeds >= 2 or not verdict.seeds:
        return "The baseline or all other trainings diverged or were not finished."
    return "One seed says nothing about others: give at least 2."


def _worse(verdict: TermVerdict, weight: float, settings: SweepSettings) -> str:
    i = verdict.position(weight)
    if verdict.changes[i] is Verdict.DIVERGES:
        return "trainings diverge"
    probably = "probably " if verdict.changes[i] is Verdict.PROBABLY_HURTS else ""
    return f"{score_name(settings)} {probably}rises by {_percent(-verdict.gains[i])} %"


def _floors(term: TermSweep, verdict: TermVerdict) -> str:
    """Says what the term's loss at weight 0 means, beside its floor."""
    train, held_out = (
        _ratio(term.mean(key)[0], floor)
        for key, floor in (("term_loss", term.floor), ("val_term_loss", term.val_floor))
    )
    if train is None or held_out is None:
        return ""
    if held_out < 1 / AT_FLOOR and not verdict.helps:
        return (
            f"Without it, its loss is {held_out:.3g} times its floor on held-out rows: the model "
            "fulfils it better than the labels do."
        )
    if train <= AT_FLOOR and held_out >= FAR_ABOVE:
        return (
            "Without it, its loss stands at its floor on the training rows and "
            f"{held_out:.0f} times above it on held-out rows: the model has memorised the labelled "
            "rows, and the term has most to give on rows without a label."
        )
    if train <= AT_FLOOR and held_out <= AT_FLOOR and not verdict.helps:
        return "Without it, its loss stands at its floor already."
    return (
        f"Without it, its loss is {train:.3g} times its floor on training rows and "
        f"{held_out:.3g} times on held-out rows."
    )


def _ratio(loss: float, floor: float | None) -> float | None:
    return float(loss / floor) if floor and np.isfinite(loss) else None


def _percent(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]
