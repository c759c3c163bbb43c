"""The course of a refinement: what was evaluated, the best of it, and its logs."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import keras
import numpy as np

from keras_physreg.refinement.full_batch import FullBatch, Point

MAX_KEPT_POINTS = 16  # A line search ends at one of its last points.
RISE = 10.0  # A loss that is not finite counts as this many times the largest one before.


@dataclass(frozen=True)
class RefineHistory:
    """The logs of a refinement, as `keras.callbacks.History` has them for a training.

    Args:
        history: Lists of `loss`, `data_loss` and `<term>_loss`: at the start, and after each
            iteration.
        loss: Total loss of the weights that the model has at the end.
        evaluations: How often the loss and its gradient were computed.
        stopped: Why the refinement stopped.
        method: `"ssbfgs"` or `"lbfgs"`.
        precision: Type in which loss and gradient were computed; in brackets, why it is not
            `"float64"`.
    """

    history: dict[str, list[float]]
    loss: float
    evaluations: int
    stopped: str
    method: str
    precision: str

    @property
    def epoch(self) -> list[int]:
        """The iterations, counted from 0, the start."""
        return list(range(len(self.history["loss"])))

    def __str__(self) -> str:
        return (
            f"loss {self.history['loss'][0]:.4g} to {self.loss:.4g} in {len(self.epoch) - 1} "
            f"iterations ({self.evaluations} evaluations in {self.precision}, method "
            f"'{self.method}'): {self.stopped}"
        )


class Course:
    """Evaluates points for a minimiser, remembers the best one, and shows the progress.

    Args:
        batch: What to evaluate.
        iterations: Most iterations.
        verbose: Whether to show a progress bar.
    """

    def __init__(self, batch: FullBatch, iterations: int, verbose: int) -> None:
        self.best, self.evaluations = batch.start, 1
        self.history: dict[str, list[float]] = {}
        self._batch, self._worst = batch, batch.start.loss
        self._points: OrderedDict[bytes, Point] = OrderedDict()
        self._keep(batch.start)
        self._log(batch.start)
        self._bar = keras.utils.Progbar(
            iterations, verbose=verbose, stateful_metrics=list(self.history), unit_name="iteration"
        )

    def evaluate(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the loss and its gradient; a large number and 0 where they are not finite."""
        point = self._at(weights)
        if point.is_finite:
            return point.loss, point.gradient
        return self._worst + RISE * abs(self._worst) + 1.0, np.zeros_like(weights)

    def accept(self, weights: np.ndarray) -> None:
        """Logs the end of an iteration."""
        self._log(self._at(weights))
        self.show()

    def show(self, ended: bool = False) -> None:
        """Updates the progress bar."""
        logs = [(name, values[-1]) for name, values in self.history.items()]
        self._bar.update(len(self.history["loss"]) - 1, logs, finalize=ended)

    def _at(self, weights: np.ndarray) -> Point:
        known = self._points.get(weights.tobytes())
        if known is not None:
            return known
        point = self._batch.at(np.array(weights))
        self.evaluations += 1
        self._keep(point)
        if point.is_finite:
            self._worst = max(self._worst, point.loss)
            self.best = min(self.best, point, key=lambda each: each.loss)
        return point

    def _keep(self, point: Point) -> None:
        self._points[point.weights.tobytes()] = point
        if len(self._points) > MAX_KEPT_POINTS:
            self._points.popitem(last=False)

    def _log(self, point: Point) -> None:
        for name, value in {"loss": point.loss, **point.parts}.items():
            self.history.setdefault(name, []).append(value)
