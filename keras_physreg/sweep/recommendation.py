"""The recommendation of a sweep: weights to train with, and for how many epochs."""

from __future__ import annotations

from dataclasses import dataclass

from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.verdict import TermVerdict


@dataclass(frozen=True)
class Recommendation:
    """The weights to train with, and for how many epochs.

    Args:
        weights: The weights of all terms of the model. Terms that do not help have 0, or on points
            alone their weight in the model. Terms that were not swept have the weight that they had
            in all trainings, and so have terms that train constants only, unless their sweep found
            a better one.
        terms: The terms that are recommended.
        verdict: The verdict on these weights; `None` where no term helps.
        epochs: The epoch at which trainings with these weights were scored, counted from 1; `None`
            where it is unknown, or no such training was finished.
        last: Whether that was the last epoch: their loss was still falling.
    """

    weights: dict[str, float]
    terms: tuple[str, ...]
    verdict: TermVerdict | None
    epochs: int | None
    last: bool


def recommend(sweep: MeasuredSweep) -> Recommendation:
    """Returns the recommendation: all terms that help, unless the best one alone is better.

    A sweep tries each term by itself, then all terms that help together. These are recommended
    together where that surely or probably helps, and gains at least as much as the best one alone,
    of those that were swept with all other swept terms off.

    Args:
        sweep: A sweep of at least one term.
    """
    combined, verdict, alone = sweep.combined, sweep.combined_verdict, _best_alone(sweep)
    if combined and verdict and verdict.helps and not _gains_less(verdict, alone):
        return _recommendation(sweep, combined.weights, verdict)
    if alone is None:
        return _recommendation(sweep, {}, None)
    return _recommendation(sweep, {alone.term: alone.recommended_weight}, alone)


def _gains_less(together: TermVerdict, alone: TermVerdict | None) -> bool:
    return alone is not None and together.gain < alone.gain


def helpful_weights(sweep: MeasuredSweep) -> dict[str, float]:
    """Returns the best weight of each term that helps, alone or on top of terms swept before."""
    return {v.term: v.recommended_weight for v in sweep.verdicts.values() if v.helps}


def _best_alone(sweep: MeasuredSweep) -> TermVerdict | None:
    """Returns the verdict with the largest gain among terms swept with all others off."""
    alone = [v for name, v in sweep.verdicts.items() if v.helps and sweep.is_off_in(name)]
    return max(alone, key=lambda verdict: verdict.gain, default=None)


def _recommendation(
    sweep: MeasuredSweep, helpful: dict[str, float], verdict: TermVerdict | None
) -> Recommendation:
    weights, epochs, last = sweep.off | helpful, None, False
    if (trained := sweep.trained_at(weights)) is not None:
        measured, weight = trained
        epochs = measured.epoch_of(weight)
        last = epochs == measured.epochs and sweep.settings.score == "best"
    return Recommendation(weights, tuple(helpful), verdict, epochs, last)
