"""How the trainings of one term are judged: its scores against the baseline's, seed by seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_physreg.sweep.intervals import Intervals, fewest_seeds, simultaneous_intervals
from keras_physreg.sweep.verdict import BETTER, DIVERGES, SAME, UNCLEAR, WORSE, TermVerdict

HARMFUL = (WORSE, DIVERGES)


def judge(
    term: str,
    weights: np.ndarray,
    baseline: np.ndarray,
    scores: np.ndarray,
    diverged: np.ndarray,
    min_effect: float = 0.01,
    confidence: float = 0.95,
) -> TermVerdict:
    """Compares the scores at each weight with the baseline's, seed by seed.

    Args:
        term: Name of the term.
        weights: Weights tried, ascending, of shape `(weights,)`.
        baseline: Scores at weight 0, smaller is better, of shape `(seeds,)`; a seed with NaN is
            left out of all comparisons.
        scores: Scores of shape `(weights, seeds)`; NaN where a training was not finished.
        diverged: Whether a training diverged, of shape `(weights, seeds)`.
        min_effect: Smallest relative change of the score that matters.
        confidence: Probability that all intervals hold together.

    Returns:
        The verdict.

    Example:
    >>> baseline = np.array([1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 1.05, 0.95])
    >>> scores = np.stack([baseline, 0.8 * baseline + 0.01 * baseline**2])
    >>> verdict = judge("z", np.array([0.1, 1.0]), baseline, scores, np.zeros((2, 8), bool))
    >>> verdict.verdict, verdict.onset, round(verdict.gain, 1)
    ('helps', 1.0, 19.0)
    """
    usable = np.isfinite(baseline)
    steps = _Steps.of(baseline[usable], scores[:, usable], min_effect)
    found = simultaneous_intervals(steps.differences, confidence)
    changes = _changes(found, np.any(diverged, axis=1), steps.smallest)
    positions = _Positions.of(changes, found.mean)
    verdict = _verdict(changes, positions)
    return TermVerdict(
        term=term,
        verdict=verdict,
        weights=weights,
        gains=steps.percent(found.mean),
        low=steps.percent(found.high),
        high=steps.percent(found.low),
        changes=changes,
        onset=_at(weights, positions.onset),
        best_weight=_at(weights, positions.best),
        hurts_from=_at(weights, positions.hurts),
        search_range=_search_range(verdict, weights, changes, positions),
        seeds=int(usable.sum()),
        seeds_needed=(
            _seeds_needed(found, changes[: positions.hurts], steps, confidence)
            if positions.helps is None
            else None
        ),
    )


@dataclass(frozen=True)
class _Steps:
    """Paired differences: of logarithms where all scores are positive, else relative ones."""

    differences: np.ndarray
    smallest: float
    logarithms: bool

    @classmethod
    def of(cls, baseline: np.ndarray, scores: np.ndarray, min_effect: float) -> _Steps:
        known = np.concatenate([baseline, scores[np.isfinite(scores)]])
        if (known > 0).all():
            return cls((np.log(scores) - np.log(baseline)).T, np.log1p(min_effect), True)
        scale = np.abs(np.mean(baseline)) or 1.0 if len(baseline) else 1.0
        return cls(((scores - baseline) / scale).T, min_effect, False)

    def percent(self, difference: np.ndarray) -> np.ndarray:
        """Returns the gain in percent, positive where the score falls."""
        with np.errstate(over="ignore"):
            return -100.0 * (np.expm1(difference) if self.logarithms else difference)


@dataclass(frozen=True)
class _Positions:
    """Positions of weights that say something; `None` where there is none."""

    onset: int | None
    helps: int | None
    best: int | None
    hurts: int | None

    @classmethod
    def of(cls, changes: tuple[str, ...], mean: np.ndarray) -> _Positions:
        helps = [i for i, change in enumerate(changes) if change == BETTER]
        pool = helps or [i for i, c in enumerate(changes) if c != DIVERGES and np.isfinite(mean[i])]
        best = min(pool, key=lambda i: mean[i]) if pool else None
        return cls(
            onset=_first(changes, (BETTER, *HARMFUL)),
            helps=helps[0] if helps else None,
            best=best,
            hurts=_first(changes, HARMFUL, after=best if helps and best is not None else -1),
        )


def _changes(found: Intervals, diverged: Any, smallest: float) -> tuple[str, ...]:
    def change(low: float, high: float, diverges: bool) -> str:
        if diverges:
            return DIVERGES
        if -smallest <= low and high <= smallest:
            return SAME
        return BETTER if high < 0 else WORSE if low > 0 else UNCLEAR

    return tuple(map(change, found.low, found.high, diverged))


def _verdict(changes: tuple[str, ...], positions: _Positions) -> str:
    if positions.helps is not None:
        return "helps" if positions.hurts is None else "helps-then-hurts"
    if WORSE in changes:
        return "hurts"
    if DIVERGES in changes:
        return "diverges"
    return "inert" if changes and set(changes) == {SAME} else "cannot tell"


def _search_range(
    verdict: str, weights: np.ndarray, changes: tuple[str, ...], positions: _Positions
) -> tuple[float, float] | None:
    """Returns from one step below the first helpful weight to the last one before it hurts.

    Between the two nothing hurts, and the best weight is among them.
    """
    if verdict == "cannot tell" and len(weights):
        return float(weights[0]), float(weights[-1])
    if positions.helps is None or positions.best is None:
        return None
    best = positions.best
    harmful = [i for i, change in enumerate(changes) if change in HARMFUL and i < best]
    lowest = harmful[-1] + 1 if harmful else 0
    low = max(lowest, min(i for i in range(lowest, best + 1) if changes[i] == BETTER) - 1)
    high = len(weights) - 1 if positions.hurts is None else positions.hurts - 1
    if low < high:
        return float(weights[low]), float(weights[high])
    # One weight alone helps: half a step, of a factor of 10 at the ends, to both sides.
    padded = [weights[0] / 10, *weights, weights[-1] * 10]
    below, above = np.sqrt([padded[best] * weights[best], weights[best] * padded[best + 2]])
    return float(f"{below:.3g}"), float(f"{above:.3g}")


def _seeds_needed(
    found: Intervals, changes: tuple[str, ...], steps: _Steps, confidence: float
) -> int | None:
    """Returns how many seeds would decide, if the present means and errors are the real ones."""
    seeds = len(steps.differences)
    if not np.isfinite(found.mean).any():
        return None
    if not np.isfinite(found.critical):
        return fewest_seeds(confidence) + 2
    open_ = [i for i, change in enumerate(changes) if change == UNCLEAR and found.error[i] > 0]
    if not open_:
        return None
    width, distance = found.critical * found.error[open_], np.abs(found.mean[open_])
    # Either one weight's interval leaves 0 behind, or all shrink to less than the smallest effect.
    with np.errstate(divide="ignore"):
        change = np.min(width / distance)
        none = np.max(width / np.maximum(steps.smallest - distance, 0))
    return int(np.ceil(seeds * min(change, none) ** 2)) + 1


def _first(changes: tuple[str, ...], kinds: tuple[str, ...], after: int = -1) -> int | None:
    return next((i for i, change in enumerate(changes) if i > after and change in kinds), None)


def _at(weights: np.ndarray, position: int | None) -> float | None:
    return None if position is None else float(weights[position])
