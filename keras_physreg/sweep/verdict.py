"""TermVerdict: what a sweep says of one term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

SAME, BETTER, WORSE, DIVERGES, UNCLEAR = "same", "better", "worse", "diverges", "unclear"


@dataclass(frozen=True)
class TermVerdict:
    """What a sweep says of one term; weights in units of 1 / loss, gains in percent.

    A gain is by how much the score (by default the validation data loss) is smaller than that of
    the baseline with the same seed; a negative gain is a loss.

    Args:
        term: Name of the term.
        verdict: `"inert"`, `"helps"`, `"hurts"`, `"helps-then-hurts"`, `"diverges"` or
            `"cannot tell"`.
        weights: The weights tried, ascending.
        gains: The mean gain at each weight.
        low: Lower ends of the gains' intervals, which hold for all weights together.
        high: Upper ends.
        changes: At each weight `"same"` (surely less than the smallest relevant effect),
            `"better"`, `"worse"`, `"diverges"` or `"unclear"`.
        onset: The first weight with a real change, or `None`.
        best_weight: The weight of the largest mean gain, or `None` where none was finished.
        hurts_from: The first weight above the best one that makes it worse or diverges; where none
            helps, the first of all.
        search_range: `(low, high)` worth tuning, with no harmful weight between; `None`: leave the
            weight at 0.
        seeds: The number of seeds compared: those whose baseline was finished and did not diverge.
        seeds_needed: How many would decide, if the differences seen are the real ones, where it
            cannot be told whether a weight helps.
    """

    term: str
    verdict: str
    weights: np.ndarray
    gains: np.ndarray
    low: np.ndarray
    high: np.ndarray
    changes: tuple[str, ...]
    onset: float | None
    best_weight: float | None
    hurts_from: float | None
    search_range: tuple[float, float] | None
    seeds: int
    seeds_needed: int | None

    @property
    def helps(self) -> bool:
        """Whether some weight surely makes it better."""
        return self.verdict.startswith("helps")

    @property
    def inert(self) -> bool:
        """Whether no weight changes anything that matters."""
        return self.verdict == "inert"

    @property
    def undecided(self) -> list[float]:
        """The weights below the first harmful one of which it cannot be told what they do."""
        upper = np.inf if self.hurts_from is None else self.hurts_from
        tried = zip(self.weights.tolist(), self.changes, strict=True)
        return [weight for weight, change in tried if change == UNCLEAR and weight < upper]

    @property
    def harmful_below_best(self) -> list[float]:
        """The weights below the best one that make it worse or diverge."""
        upper = -np.inf if self.best_weight is None else self.best_weight
        tried = zip(self.weights.tolist(), self.changes, strict=True)
        return [w for w, change in tried if change in (WORSE, DIVERGES) and w < upper]

    @property
    def gain(self) -> float:
        """The mean gain at the best weight, in percent."""
        return self.gain_at(self.best_weight)[0]

    @property
    def gain_interval(self) -> tuple[float, float]:
        """The interval of the gain at the best weight, in percent."""
        return self.gain_at(self.best_weight)[1:]

    def gain_at(self, weight: float | None) -> tuple[float, float, float]:
        """Returns the gain at one of the weights tried, and its interval, in percent."""
        if weight is None:
            return (np.nan, np.nan, np.nan)
        i = list(self.weights).index(weight)
        return float(self.gains[i]), float(self.low[i]), float(self.high[i])

    def to_dict(self) -> dict[str, Any]:
        """Returns the verdict as plain Python values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in values.items()}
