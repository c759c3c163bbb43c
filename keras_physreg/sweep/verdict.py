"""Verdict, the words of a sweep, and TermVerdict, its verdict on one term."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

import numpy as np

from keras_physreg._utils.serialization import as_json


class Verdict(str, Enum):
    """The verdict on a weight or a term: a string, which also equals its words of version 0.1.

    The verdict on a weight follows from the probability that it changes the score by more than the
    smallest effect that matters. A term has the verdict of its recommended weight, or else that of
    the worst harm. `HELPS_THEN_HURTS` reads "helps", but weights from `TermVerdict.hurts_from` on
    hurt.

    Example:
    >>> print(Verdict.PROBABLY_HELPS)
    probably helps
    >>> Verdict.SAME == "same", Verdict.SAME == "inert", Verdict("inert") is Verdict.SAME
    (True, True, True)
    >>> Verdict.HELPS_THEN_HURTS == "helps", Verdict.HELPS_THEN_HURTS == "helps-then-hurts"
    (True, True)
    """

    former: tuple[str, ...]

    HELPS = "helps", "better"
    HURTS = "hurts", "worse"
    SAME = "same", "inert"
    CANNOT_TELL = "cannot tell", "unclear"
    DIVERGES = ("diverges",)
    PROBABLY_HELPS = "probably helps", "unclear"
    PROBABLY_HURTS = "probably hurts", "unclear"
    HELPS_THEN_HURTS = "helps", "helps-then-hurts"

    def __new__(cls, word: str, *former: str) -> Verdict:
        """Returns a member whose text is its word."""
        member = str.__new__(cls, word)
        member._value_ = word if word not in cls._value2member_map_ else former[0]
        member.former = former
        return member

    @classmethod
    def _missing_(cls, value: object) -> Verdict | None:
        return next((member for member in cls if value in member.former), None)

    def __eq__(self, other: object) -> bool:
        equal = isinstance(other, str) and str.__eq__(self, other)
        return equal or (not isinstance(other, Verdict) and other in self.former)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__
    __str__ = str.__str__

    @property
    def helps(self) -> bool:
        """Whether the verdict is "helps" or "probably helps"."""
        return self in (Verdict.HELPS, Verdict.PROBABLY_HELPS)

    @property
    def harms(self) -> bool:
        """Whether the verdict is "hurts", "probably hurts" or "diverges"."""
        return self in (Verdict.HURTS, Verdict.PROBABLY_HURTS, Verdict.DIVERGES)


@dataclass(frozen=True)
class TermVerdict:
    """The verdict of a sweep on one term; weights in units of 1 / loss, gains in percent.

    A gain is how much smaller the score (by default the held-out data loss) is than that of the
    baseline with the same rows and seeds. A negative gain means that the score is larger. Arrays
    have one value per weight.

    Args:
        term: Name of the term.
        verdict: The `Verdict` on the recommended weight. Where there is none: that of the worst
            harm; else "same" if all weights are; else "cannot tell".
        weights: The weights tried, ascending.
        gains: The mean gain at each weight: that of the geometric mean over splits, where all
            scores are above 0.
        low: Lower ends of the gains' intervals, which hold for all weights together.
        high: Upper ends of these intervals.
        better: The probability that a weight makes the score smaller by more than the smallest
            effect that matters. With `cv` and scores above 0, it is the smaller of two: for the
            mean over splits of the logs of the scores, and for the log of their mean, which a few
            rows may dominate.
        worse: The probability that a weight makes the score larger by more than that, likewise.
        changes: The `Verdict` on each weight.
        onset: The first weight that surely or probably helps or hurts, or diverges; or `None`.
        best_weight: The recommended weight. Where there is none: the weight of the largest mean
            gain, or `None` if no weight can be compared.
        hurts_from: The first weight above the best one that hurts, surely or probably, or diverges.
            Where none helps: the first such weight of all. `None` if there is none.
        search_range: The range `(low, high)` that is worth tuning, without harmful weights; `None`
            if tuning is not worth it.
        basis: The source of the uncertainty: differences between `"splits"`, between the `"rows"`
            of one held-out set (and between seeds), or between `"seeds"` alone.
        splits: The number of splits compared. A split is left out if a training of its baseline
            diverged or was not finished.
        seeds: The number of seeds compared in each split.
        mean_gains: With `cv`, the gain of the mean score over splits at each weight, which a few
            rows may dominate; else the same as `gains`.
    """

    term: str
    verdict: Verdict
    weights: np.ndarray
    gains: np.ndarray
    low: np.ndarray
    high: np.ndarray
    better: np.ndarray
    worse: np.ndarray
    changes: tuple[Verdict, ...]
    onset: float | None
    best_weight: float | None
    hurts_from: float | None
    search_range: tuple[float, float] | None
    basis: str
    splits: int
    seeds: int
    mean_gains: np.ndarray

    @property
    def helps(self) -> bool:
        """Whether some weight helps, surely or probably."""
        return self.verdict.helps

    @property
    def inert(self) -> bool:
        """Whether no weight changes the score by more than the smallest effect that matters."""
        return self.verdict is Verdict.SAME

    @property
    def recommended_weight(self) -> float:
        """The weight to train with: the best one if it helps, else 0."""
        return self.best_weight if self.helps and self.best_weight is not None else 0.0

    @property
    def seeds_needed(self) -> None:
        """Always `None`: the uncertainty comes from the rows, and more seeds do not reduce it."""
        return None

    @property
    def undecided(self) -> list[float]:
        """The weights below the first harmful one with the verdict "cannot tell"."""
        upper = np.inf if self.hurts_from is None else self.hurts_from
        return [w for w in self.weights_that(Verdict.CANNOT_TELL) if w < upper]

    @property
    def harmful_below_best(self) -> list[float]:
        """The weights below the best one that hurt, surely or probably, or diverge."""
        upper = -np.inf if self.best_weight is None else self.best_weight
        harms = (Verdict.PROBABLY_HURTS, Verdict.HURTS, Verdict.DIVERGES)
        return [weight for weight in self.weights_that(*harms) if weight < upper]

    @property
    def gain(self) -> float:
        """The mean gain at the best weight, in percent."""
        return self.gain_at(self.best_weight)[0]

    @property
    def gain_interval(self) -> tuple[float, float]:
        """The interval of the gain at the best weight, in percent."""
        return self.gain_at(self.best_weight)[1:]

    @property
    def probability(self) -> float:
        """The probability that the best weight gains more than the smallest effect that matters."""
        if self.best_weight is None:
            return np.nan
        return float(self.better[self.position(self.best_weight)])

    def weights_that(self, *words: Verdict) -> list[float]:
        """Returns the weights with one of these verdicts."""
        tried = zip(self.weights.tolist(), self.changes, strict=True)
        return [weight for weight, change in tried if change in words]

    def position(self, weight: float) -> int:
        """Returns the position of one of the weights tried."""
        return self.weights.tolist().index(weight)

    def gain_at(self, weight: float | None) -> tuple[float, float, float]:
        """Returns the gain at one of the weights tried, and its interval, in percent."""
        if weight is None:
            return (np.nan, np.nan, np.nan)
        i = self.position(weight)
        return float(self.gains[i]), float(self.low[i]), float(self.high[i])

    def to_dict(self) -> dict[str, Any]:
        """Returns the verdict as JSON holds it; numbers that are not finite as `None`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = as_json(values)
        return plain | {"verdict": str(self.verdict), "changes": [str(c) for c in self.changes]}
