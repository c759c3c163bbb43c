"""Names for the score, rows, splits and seeds of a sweep, shared by reports and pictures."""

from __future__ import annotations

import numpy as np

from keras_physreg.sweep.settings import ALL_TERMS, SweepSettings
from keras_physreg.sweep.verdict import TermVerdict


def score_name(settings: SweepSettings) -> str:
    """Returns the name of the score: `held-out data loss`, or the key of the log."""
    names = {"val_data_loss": "held-out data loss", ALL_TERMS: "the sum of held-out losses"}
    return names.get(settings.monitor, settings.monitor)


def count(number: int, noun: str) -> str:
    """Returns `1 seed`, `2 seeds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def these_make(epochs: int) -> str:
    """Returns `These 2 epochs make`, `This 1 epoch makes`."""
    return "This 1 epoch makes" if epochs == 1 else f"These {epochs} epochs make"


def rows_and_splits(settings: SweepSettings) -> str:
    """Returns the numbers of rows, splits and seeds.

    For example `20 labelled rows: 5 folds x 4 shuffles x 2 seeds, trained on 16 rows each`, or with
    validation data `100 labelled rows, 40 held-out rows, 8 seeds`, or without labelled rows
    `points (pde 200, walls 20 per step), held-out points (pde 100), 8 seeds`.
    """
    seeds = count(len(settings.seeds), "seed")
    if not settings.has_rows:
        return f"{_points(settings)}, {seeds}"
    if settings.labelled is None:
        return f"an unknown number of rows, {seeds}"
    rows = count(settings.labelled, "labelled row")
    if settings.splits is None:
        return f"{rows}, {count(settings.held_out or 0, 'held-out row')}, {seeds}"
    sizes = settings.trained_on
    trained = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    each = "row" if trained == "1" else "rows"
    return f"{rows}: {settings.splits.label} x {seeds}, trained on {trained} {each} each"


def _points(settings: SweepSettings) -> str:
    here, there = (
        ", ".join(f"{name} {number}" for name, number in counts.items())
        for counts in (settings.points, settings.held_out_points)
    )
    return f"points ({here} per step), held-out points ({there})"


def rows_word(settings: SweepSettings) -> str:
    """Returns what trainings are scored on: `rows`, or `points`."""
    return "points" if settings.is_scored_at_points else "rows"


def on_which_rows(settings: SweepSettings) -> str:
    """Returns ` on these 20 rows` with validation data, and nothing with splits."""
    if settings.splits is not None:
        return ""
    if settings.is_scored_at_points:
        held_out, term = settings.held_out_points, settings.scored_at
        number = sum(held_out.values()) if term is None else held_out[term]
        return f" at these {count(number, 'point')}"
    rows = "rows" if settings.held_out is None else count(settings.held_out, "row")
    return f" on {'this' if settings.held_out == 1 else 'these'} {rows}"


def percent(value: float) -> str:
    """Returns `12`, `1.2`."""
    return f"{value:.0f}" if abs(value) >= 9.95 else f"{value:.1f}"


def where_the_mean_differs(verdict: TermVerdict, position: int, settings: SweepSettings) -> str:
    """Returns a sentence on the mean score over splits, where interval and probability need it.

    The interval is that of the gain. The probability is the smaller of two, for the gain and for
    the mean score: without this sentence it may seem to contradict the interval.

    Args:
        verdict: The verdict.
        position: Position of the weight.
        settings: How the sweep was made.
    """
    gain, low, high, of_mean, better, worse = (
        float(array[position])
        for array in (
            *(verdict.gains, verdict.low, verdict.high, verdict.mean_gains),
            *(verdict.better, verdict.worse),
        )
    )
    least, confidence = 100 * settings.min_effect, settings.confidence
    differs = not low <= of_mean <= high and abs(of_mean - gain) > least
    less_sure = (low > least and better < confidence) or (high < -least and worse < confidence)
    if not np.isfinite(of_mean) or not (differs or less_sure):
        return ""
    return (
        f" In the mean over all splits, which a few rows may dominate, {score_name(settings)} "
        f"{'falls' if of_mean >= 0 else 'rises'} by {percent(abs(of_mean))} %: the smaller of the "
        "two probabilities counts."
    )
