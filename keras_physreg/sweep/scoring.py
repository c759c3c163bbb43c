"""The epoch at which trainings are scored, and the logs at that epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

QUANTITIES = ("score", "train_score", "term_loss", "val_term_loss")


@dataclass(frozen=True)
class ScoredLogs:
    """The logs at the scored epochs.

    Args:
        values: An array of shape `(settings, splits, seeds)` for each of `QUANTITIES`; NaN where a
            training was not finished.
        diverged: Whether a training diverged, of the same shape.
        epochs: The epoch at which each setting is scored, counted from 1; 0 where there is none.
    """

    values: dict[str, np.ndarray]
    diverged: np.ndarray
    epochs: np.ndarray


def compared_epochs(epochs_done: np.ndarray) -> int:
    """Returns the number of epochs after which trainings are compared.

    After Ctrl-C some trainings have more epochs than others, but all must be compared after the
    same number of epochs. It is the number that uses the most epochs over all trainings. Trainings
    with fewer epochs are left out, and so are those whose baseline has fewer.

    Args:
        epochs_done: The epochs that each training finished, with settings (baseline first) along
            the first axis.
    """

    def counted(epochs: int) -> int:
        return epochs * int(np.sum((epochs_done >= epochs) & (epochs_done[0] >= epochs)))

    return int(max(epochs_done.ravel(), key=counted))


@dataclass(frozen=True)
class Curves:
    """Logs of trainings over the epochs.

    Args:
        logs: For each of `QUANTITIES` and `"loss"` (on training rows) an array of shape
            `(settings, splits, seeds, epochs)`.
        epochs_done: The epochs that each training finished, of shape `(settings, splits, seeds)`.
    """

    logs: dict[str, np.ndarray]
    epochs_done: np.ndarray

    def of(self, settings: list[int]) -> Curves:
        """Returns the curves of some of the settings."""
        logs = {key: log[settings] for key, log in self.logs.items()}
        return Curves(logs, self.epochs_done[settings])

    def finished(self, epochs: int) -> np.ndarray:
        """Returns whether each training finished this number of epochs."""
        return (self.epochs_done >= epochs) & (epochs > 0)

    def diverged(self, epochs: int) -> np.ndarray:
        """Returns whether each training that finished this number of epochs diverged.

        The score and the training loss decide. Physics that is NaN on held-out rows only does not
        make a training diverge.
        """
        both = [self.logs[key][..., :epochs] for key in ("score", "loss")]
        return self.finished(epochs) & ~np.isfinite(both).all(axis=(0, -1))


def comparable(baseline: Curves, epochs: int, by_split: bool) -> np.ndarray:
    """Returns which trainings can be compared: those whose baseline was finished and is finite.

    Args:
        baseline: Curves of the baseline, the first setting.
        epochs: The epochs to look at.
        by_split: Whether a split is left out as a whole, or each training on its own.

    Returns:
        Booleans of shape `(splits, seeds)`.
    """
    good = baseline.finished(epochs)[0] & ~baseline.diverged(epochs)[0]
    return np.broadcast_to(good.all(axis=1, keepdims=True), good.shape) if by_split else good


def measure(curves: Curves, epochs: int, score: str, kept: np.ndarray) -> ScoredLogs:
    """Reads the logs at one epoch per setting, the same for all its splits and seeds.

    Args:
        curves: The trainings.
        epochs: The epochs to look at; a training that finished fewer has NaN.
        score: `"best"` or `"last"`: which epoch is scored.
        kept: What `comparable` returned.
    """
    finished, diverged = curves.finished(epochs), curves.diverged(epochs)
    scores = curves.logs["score"][..., :epochs]
    good = finished & ~diverged
    pairs = zip(scores, good, strict=True)
    chosen = np.array([scored_epoch(s[kept], g[kept], score) for s, g in pairs], int)
    if not epochs:
        nothing = np.full(finished.shape, np.nan)
        return ScoredLogs(dict.fromkeys(QUANTITIES, nothing), diverged, chosen)
    at = np.maximum(chosen - 1, 0)[:, np.newaxis, np.newaxis, np.newaxis]
    usable = finished & (chosen > 0)[:, np.newaxis, np.newaxis]
    values = {}
    for key in QUANTITIES:
        read = np.take_along_axis(curves.logs[key], at, axis=-1)[..., 0]
        values[key] = np.where(usable & np.isfinite(read), read, np.nan)
    return ScoredLogs(values, diverged, chosen)


def scored_epoch(scores: np.ndarray, good: np.ndarray, score: str = "best") -> int:
    """Returns the epoch at which all trainings of a setting are scored, from 1; 0 if there is none.

    The best epoch is the one with the smallest mean of the logarithms of the scores, or of the
    scores themselves where some are not above 0. Only epochs at which all trainings are finite
    count. Where there is no such epoch, the finished trainings that did not diverge decide.

    Args:
        scores: The trainings' scores, of shape `(trainings, epochs)`.
        good: Which trainings were finished and did not diverge, of shape `(trainings,)`.
        score: `"best"` or `"last"`.

    Example:
    >>> scored_epoch(np.array([[3.0, 1.0, 2.0], [4.0, 3.0, 1.0]]), np.array([True, True]))
    3
    """
    if not np.isfinite(scores).all(axis=0).any():
        scores = scores[good]
    counts = np.isfinite(scores).all(axis=0)
    if not len(scores) or not counts.any():
        return 0
    if score == "last":
        return len(counts)
    curves = scores[:, counts]
    mean = np.log(curves).mean(axis=0) if (curves > 0).all() else curves.mean(axis=0)
    return int(np.flatnonzero(counts)[mean.argmin()]) + 1
