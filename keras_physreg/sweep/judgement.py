"""The judgement of the trainings of one term, by paired comparison with the baseline.

All settings are trained on the same splits of the rows with the same seeds. The difference of a
weight to the baseline is averaged over the seeds of each split. The spread of the differences over
splits, corrected for the rows that splits share, gives the probability that the weight changes the
score by more than the smallest effect that matters. This probability decides the verdict. The
intervals, which hold for all weights together, are for information: they are too wide to decide.

Splits are compared by the logs of their losses: the change of the loss on typical held-out rows. A
verdict must hold for the mean loss over all splits, too: where a few rows carry the loss, a term
can help on all others and still raise the mean. Each probability is the smaller of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_physreg.sweep.intervals import (
    Evidence,
    evidence_of_means,
    evidence_of_splits,
    with_rows,
)
from keras_physreg.sweep.row_resampling import covariance_of_rows
from keras_physreg.sweep.search_range import first, search_range
from keras_physreg.sweep.split_checks import ADVISED_SPLITS
from keras_physreg.sweep.verdict import TermVerdict, Verdict


@dataclass(frozen=True)
class Rules:
    """The thresholds of verdicts.

    Args:
        min_effect: Smallest relative change of the score that matters.
        confidence: Probability that all intervals of a term hold together.
        sure: Probability beyond which a weight "helps", "hurts" or is the "same".
        probable: Probability beyond which it "probably helps" or "probably hurts".
    """

    min_effect: float = 0.01
    confidence: float = 0.95
    sure: float = 0.95
    probable: float = 0.8

    def word(self, better: float, worse: float, same: float) -> Verdict:
        """Returns the verdict on a weight with these probabilities."""
        if np.isnan(better):
            return Verdict.CANNOT_TELL
        for sure, probable, probability in (
            (Verdict.HELPS, Verdict.PROBABLY_HELPS, better),
            (Verdict.HURTS, Verdict.PROBABLY_HURTS, worse),
        ):
            if probability > self.probable:
                return sure if probability > self.sure else probable
        return Verdict.SAME if same > self.sure else Verdict.CANNOT_TELL


@dataclass(frozen=True)
class Scores:
    """The scores of one term's trainings.

    Args:
        values: Scores, smaller is better, with weight 0 (the baseline) first, of shape `(weights,
            splits, seeds)`; NaN where a training was not finished.
        diverged: Whether a training diverged, of the same shape.
        ratio: Held-out rows per training row, the mean over splits; `None` for one held-out set,
            and so one split.
        rows: With one held-out set, the loss of each of its rows, averaged over seeds, of shape
            `(weights, rows)`. It is a multiple of the loss of all rows, or of the baseline's size
            where scores are not above 0. `None` where unknown.
    """

    values: np.ndarray
    diverged: np.ndarray
    ratio: float | None = None
    rows: np.ndarray | None = None

    @property
    def units(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores and divergence by unit (split, or else seed): `(weights, units, trainings)`."""
        if self.ratio is not None:
            return self.values, self.diverged
        return np.swapaxes(self.values, 1, 2), np.swapaxes(self.diverged, 1, 2)


def judge(
    term: str, weights: np.ndarray, scores: Scores, rules: Rules | None = None
) -> TermVerdict:
    """Compares the scores at each weight with the baseline's.

    A split is left out for all weights if a training of its baseline diverged or was not finished.
    A weight with a diverged training "diverges", and has no probabilities.

    Args:
        term: Name of the term.
        weights: Weights tried, without the baseline's 0, ascending, of shape `(weights,)`.
        scores: The scores; their arrays have one more weight, the baseline's.
        rules: The thresholds of verdicts.

    Returns:
        The verdict.

    Raises:
        ValueError: If there is only one split.

    Example:
    >>> baseline = np.array([1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 1.05, 0.95]).reshape(4, 2)
    >>> values = np.stack([baseline, baseline, 0.8 * baseline + 0.01 * baseline**2])
    >>> scores = Scores(values, np.zeros(values.shape, bool), ratio=1 / 3)
    >>> verdict = judge("z", np.array([0.1, 1.0]), scores)
    >>> print(verdict.verdict, verdict.onset, round(verdict.gain, 1))
    helps 1.0 19.0
    """
    rules = rules or Rules()
    if scores.ratio is not None and scores.values.shape[1] < 2:
        raise ValueError(
            "One split does not show how much the result depends on the rows: give at least 2 "
            f"splits; {ADVISED_SPLITS} are advised. "
            f"Received: scores of shape {scores.values.shape}, (weights, splits, seeds)"
        )
    values, diverging = scores.units
    usable = np.array([not bad.any() for bad in ~np.isfinite(values[0]) | diverging[0]], bool)
    diverged = np.array([bad[usable].any() for bad in diverging[1:]], bool)
    values = values[:, usable]
    scale = _Scale.of(values, rules.min_effect)
    differences = scale.differences(values)
    judged = np.flatnonzero(np.isfinite(differences).all(axis=1) & ~diverged)
    mean = differences.sum(axis=1) / (differences.shape[1] or np.nan)
    low, high, better, worse, same, of_means = np.full((6, len(weights)), np.nan)
    if usable.sum() >= 2 and len(judged):
        evidence = _evidence(differences, judged, scores, scale)
        low[judged], high[judged] = evidence.intervals(rules.confidence)
        readings = [evidence, *_of_means(values, judged, scores, scale)]
        better[judged], worse[judged], same[judged] = _least(readings, scale.smallest)
        of_means[judged] = readings[-1].mean
    changes = tuple(
        Verdict.DIVERGES if bad else rules.word(*probabilities)
        for bad, *probabilities in zip(diverged, better, worse, same, strict=True)
    )
    best = _best(changes, mean)
    hurts = first(changes, "harms", after=-1 if best is None or not changes[best].helps else best)
    compared = int(usable.sum())
    return TermVerdict(
        term=term,
        verdict=_word_of_term(changes, best, hurts),
        weights=weights,
        gains=scale.percent(mean),
        low=scale.percent(high),
        high=scale.percent(low),
        better=better,
        worse=worse,
        changes=changes,
        onset=_at(weights, first(changes, "helps", "harms")),
        best_weight=_at(weights, best),
        hurts_from=_at(weights, hurts),
        search_range=search_range(weights, changes, best, hurts),
        basis=_basis(scores),
        splits=compared if scores.ratio is not None else 1,
        seeds=compared if scores.ratio is None else values.shape[-1],
        mean_gains=scale.percent(of_means),
    )


@dataclass(frozen=True)
class _Scale:
    """The scale of differences: logarithms if all scores are positive, else the baseline's size."""

    logarithms: bool
    size: float
    smallest: float

    @classmethod
    def of(cls, values: np.ndarray, min_effect: float) -> _Scale:
        known = values[np.isfinite(values)]
        if (known > 0).all():
            return cls(True, 1.0, float(np.log1p(min_effect)))
        return cls(False, float(np.abs(np.mean(values[0]))) or 1.0, min_effect)

    def differences(self, values: np.ndarray) -> np.ndarray:
        """Returns setting minus baseline, the mean over trainings, of shape `(weights, units)`."""
        scaled = np.log(values) if self.logarithms else values / self.size
        return (scaled[1:] - scaled[:1]).mean(axis=-1)

    def percent(self, difference: np.ndarray) -> np.ndarray:
        """Returns the gain in percent, positive where the score falls."""
        with np.errstate(over="ignore"):
            return -100.0 * (np.expm1(difference) if self.logarithms else difference)


def _evidence(
    differences: np.ndarray, judged: np.ndarray, scores: Scores, scale: _Scale
) -> Evidence:
    found = evidence_of_splits(differences[judged], scores.ratio or 0.0)
    if scores.rows is None:
        return found
    losses = scores.rows[[0, *(1 + judged)]]
    return with_rows(found, covariance_of_rows(losses, scale.logarithms), losses.shape[1])


def _of_means(
    values: np.ndarray, judged: np.ndarray, scores: Scores, scale: _Scale
) -> list[Evidence]:
    """Returns the evidence of the mean losses, where splits are compared by logarithms."""
    if scores.ratio is None or not scale.logarithms:
        return []
    return [evidence_of_means(values[[0, *(1 + judged)]].mean(axis=-1), scores.ratio)]


def _least(readings: list[Evidence], smallest: float) -> np.ndarray:
    """Returns the smallest probabilities of better, worse and the same over some evidence."""
    found = [evidence.probabilities(smallest) for evidence in readings]
    return np.min([(better, worse, 1 - better - worse) for better, worse in found], axis=0)


def _best(changes: tuple[Verdict, ...], mean: np.ndarray) -> int | None:
    """Returns the position of the weight with the best mean, among those that help if any do."""
    compared = [
        i for i, c in enumerate(changes) if c is not Verdict.DIVERGES and ~np.isnan(mean[i])
    ]
    pool = [i for i in compared if changes[i].helps] or compared
    return min(pool, key=lambda i: mean[i]) if pool else None


def _word_of_term(changes: tuple[Verdict, ...], best: int | None, hurts: int | None) -> Verdict:
    if best is not None and changes[best].helps:
        then_hurts = changes[best] is Verdict.HELPS and hurts is not None
        return Verdict.HELPS_THEN_HURTS if then_hurts else changes[best]
    for word in (Verdict.HURTS, Verdict.DIVERGES, Verdict.PROBABLY_HURTS):
        if word in changes:
            return word
    return Verdict.SAME if changes and set(changes) == {Verdict.SAME} else Verdict.CANNOT_TELL


def _basis(scores: Scores) -> str:
    if scores.ratio is not None:
        return "splits"
    return "seeds" if scores.rows is None else "rows"


def _at(weights: np.ndarray, position: int | None) -> float | None:
    return None if position is None else float(weights[position])
