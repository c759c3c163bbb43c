"""ReplicaHistory: the logs of a training of replicas."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ReplicaHistory:
    """The logs of all replicas, as `keras.callbacks.History` has them for one model.

    Args:
        history: For every key that `fit` logs, an array of shape `(epochs, replicas, ...)`; NaN
            for epochs that a replica did not reach because of Ctrl-C.
        weights: For every swept term the replicas' weights, of shape `(replicas,)`, in units of
            1 / loss; NaN where a schedule changed them.
        seeds: The replicas' seeds, or `None`.
        engine: The engine that trained the replicas, the reason, and the GPUs on which it ran.
        monitor: The log by which the best epoch was found.
        best_epoch: Each replica's best epoch, counted from 0; -1 if it has none.
        epochs_done: The number of epochs that each replica finished.
        interrupted: Whether Ctrl-C ended the training.
        seconds: Seconds for compiling, and for training.
        left_out: With `rows`, the row that each replica left out to train on as many rows as
            others, of shape `(replicas,)`; -1 if it left out none. Without `rows`, `None`.
    """

    history: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    seeds: list[int] | None
    engine: str
    monitor: str
    best_epoch: np.ndarray
    epochs_done: np.ndarray
    interrupted: bool = False
    seconds: tuple[float, float] = (0.0, 0.0)
    left_out: np.ndarray | None = None

    @property
    def replicas(self) -> int:
        """The number of replicas."""
        return len(self.best_epoch)

    @property
    def epoch(self) -> list[int]:
        """The epochs, counted from 0."""
        return list(range(len(self.history["loss"])))

    @property
    def diverged_at(self) -> np.ndarray:
        """The first epoch in which each replica's loss was not finite; -1 if there is none."""
        bad = ~np.isfinite(self.history["loss"])
        if "val_loss" in self.history:
            bad |= ~np.isfinite(self.history["val_loss"])
        bad &= np.arange(len(bad))[:, np.newaxis] < self.epochs_done
        if not len(bad):
            return np.full(self.replicas, -1)
        return np.where(bad.any(axis=0), bad.argmax(axis=0), -1)

    @property
    def diverged(self) -> np.ndarray:
        """Whether each replica diverged."""
        return self.diverged_at >= 0

    def at_best(self, key: str) -> np.ndarray:
        """Returns a log at each replica's best epoch; NaN if it has none."""
        return self._at(key, self.best_epoch)

    def at_last(self, key: str) -> np.ndarray:
        """Returns a log at each replica's last epoch; NaN if it has none."""
        return self._at(key, self.epochs_done - 1)

    def _at(self, key: str, epochs: np.ndarray) -> np.ndarray:
        values = np.asarray(self.history[key], "float64")
        if not len(values):
            return np.full(self.replicas, np.nan)
        picked = values[np.maximum(epochs, 0), np.arange(self.replicas)]
        return np.where(epochs >= 0, picked, np.nan)
