"""The report of a sweep as text: a table, sentences per term, and how to train."""

from __future__ import annotations

import numpy as np

from keras_physreg._utils.text_table import text_table
from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.notes import notes
from keras_physreg.sweep.other_words import listed, others_note
from keras_physreg.sweep.recipe import recipe
from keras_physreg.sweep.recommendation import Recommendation
from keras_physreg.sweep.sentences import sentences, together
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.verdict import TermVerdict
from keras_physreg.sweep.wording import rows_and_splits


def report(sweep: MeasuredSweep, recommended: Recommendation) -> str:
    """Returns the table, notes on its limits, the sentences and the recipe."""
    settings = sweep.settings
    head = (
        f"Sanity sweep of {rows_and_splits(settings)}; {settings.epochs} epochs, score "
        f"{settings.monitor} at the {settings.score} epoch, {settings.seconds:.0f} s"
    )
    parts = [head, *filter(None, [others_note(settings)]), _table(sweep), _legend(settings)]
    parts += notes(sweep)
    parts += [f"{name}: {sentences(sweep, name)}" for name in sweep.terms]
    if sweep.combined is not None and sweep.combined_verdict is not None:
        said = together(sweep.combined_verdict, settings, bool(sweep.combined.before))
        parts.append(f"{listed(sweep.combined_weights)}: {said}")
    return "\n\n".join([*parts, recipe(sweep, recommended)])


def _table(sweep: MeasuredSweep) -> str:
    header = (
        "term",
        "weight",
        "epoch",
        "score",
        "gain %",
        "interval %",
        "better %",
        "worse %",
        "term loss",
        "held out",
        "verdict",
    )
    rows: list[tuple[str, ...]] = []
    for name, term in sweep.terms.items():
        rows += _rows(name, term, sweep.verdicts[name])
    return "\n".join(text_table(header, rows))


def _legend(settings: SweepSettings) -> str:
    """Says how to read the columns of the table."""
    rules = settings.rules
    both = ": the smaller of two, for the gain and for the mean score over all splits"
    return (
        "gain: how much lower the score is than with the weight off; negative: higher.\n"
        f"interval: with {100 * rules.confidence:g} % confidence, the true gains of all weights of "
        "a term lie in their intervals.\n"
        f"better, worse: probability that the score falls, or rises, by more than "
        f"{100 * rules.min_effect:g} %{both if settings.splits is not None else ''}.\n"
        f"verdict: helps, hurts or same beyond a probability of {100 * rules.sure:g} %, probably "
        f"beyond {100 * rules.probable:g} %, else cannot tell.\n"
        f"{_of_losses(settings)}"
    )


def _of_losses(settings: SweepSettings) -> str:
    text = "term loss, held out: the unweighted loss of the term "
    if not settings.has_rows:
        return f"{text}at training and at held-out points."
    return f"{text}on training and on held-out rows; floor: the same at the true labels."


def _rows(name: str, term: TermSweep, verdict: TermVerdict) -> list[tuple[str, ...]]:
    means = {key: term.mean(key) for key in ("score", "term_loss", "val_term_loss")}
    rows = []
    for i, weight in enumerate(term.weights.tolist()):
        *judged, word = ("", "", "", "", "baseline") if i == 0 else _judged(verdict, i - 1)
        score, loss, held_out = (_number(mean[i]) for mean in means.values())
        off = f"{weight:g}" if weight else "off"
        rows.append(
            (name, off, str(term.epoch_of(weight) or ""), score, *judged, loss, held_out, word)
        )
    floors = [_number(term.floor), _number(term.val_floor)]
    if not any(floors):
        return rows
    return [*rows, (name, "floor", "", "", "", "", "", "", *floors, "")]


def _judged(verdict: TermVerdict, i: int) -> tuple[str, ...]:
    gain, low, high = (
        round(float(values[i]), 1) + 0.0  # Turns -0.0 into 0.0.
        for values in (verdict.gains, verdict.low, verdict.high)
    )
    interval = f"{low:.1f} to {high:.1f}" if np.isfinite([low, high]).all() else ""
    sure = [
        f"{100 * p:.0f}" if np.isfinite(p) else "" for p in (verdict.better[i], verdict.worse[i])
    ]
    return (f"{gain:.1f}" if np.isfinite(gain) else "", interval, *sure, str(verdict.changes[i]))


def _number(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.4g}"
