"""WeightTable: the term weights of each replica at each step."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import received
from keras_physreg.inspection import check_known, find_terms
from keras_physreg.replicas.step_counter import StepCounter
from keras_physreg.schedules.values import weight_at
from keras_physreg.terms.term import check_weight


class WeightTable:
    """The term weights of all replicas: numbers, or schedules.

    Args:
        model: The model with the terms.
        weights: `{term: sequence of one weight or schedule per replica}`.
        seeds: One seed per replica, or `None`.
        unit: What schedules count: `"epoch"` or `"step"`.
    """

    def __init__(
        self, model: keras.Model, weights: dict[str, Any], seeds: Any, unit: str = "epoch"
    ) -> None:
        if unit not in ("epoch", "step"):
            raise ValueError(f"`unit` must be 'epoch' or 'step'. {received('unit', unit)}")
        if not isinstance(weights, dict):
            raise TypeError(
                "`weights` must be a dict `{term: one weight per replica}`. "
                f"{received('weights', weights)}"
            )
        self.unit = unit
        self.entries = {name: _entries(model, name, values) for name, values in weights.items()}
        self.replicas = _count(self.entries, seeds)

    @property
    def terms(self) -> list[str]:
        """The names of the terms."""
        return list(self.entries)

    def constants(self) -> dict[str, np.ndarray]:
        """Returns one weight per replica for each term; NaN where it follows a schedule."""
        return {
            name: np.array([np.nan if callable(v) else v for v in values], "float64")
            for name, values in self.entries.items()
        }

    def steps(
        self,
        first_epoch: int,
        epochs: int,
        steps: int,
        step_counter: StepCounter | None = None,
        replicas: Sequence[int] | np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns the weights of some epochs, of shape `(epochs, steps, replicas, terms)`.

        Args:
            first_epoch: The first of these epochs, counted from 0.
            epochs: Number of epochs.
            steps: Steps per epoch.
            step_counter: Counts the steps for `unit="step"`; by default batches, from 0.
            replicas: Positions of the replicas; `None` for all.
        """
        times = first_epoch + np.repeat(np.arange(epochs), steps)
        if self.unit == "step":
            times = (step_counter or StepCounter()).times(first_epoch, epochs, steps)
        some = range(self.replicas) if replicas is None else replicas
        table = np.empty((len(times), len(some), len(self.entries)), "float32")
        for column, (name, values) in enumerate(self.entries.items()):
            known: dict[int, np.ndarray] = {}
            for position, replica in enumerate(some):
                value = values[replica]
                if id(value) not in known:
                    known[id(value)] = _weights_at(name, value, times)
                table[:, position, column] = known[id(value)]
        return table.reshape((epochs, steps, len(some), len(self.entries)))

    def at(self, replica: int, time: int) -> list[float]:
        """Returns the weights of one replica at an epoch or step, in the order of `terms`."""
        values = [(name, entries[replica]) for name, entries in self.entries.items()]
        return [weight_at(n, v, time) if callable(v) else v for n, v in values]


def _weights_at(name: str, value: Any, times: np.ndarray) -> np.ndarray:
    if not callable(value):
        return np.full(len(times), value)
    unique, inverse = np.unique(times, return_inverse=True)
    return np.array([weight_at(name, value, int(t)) for t in unique])[inverse]


def _entries(model: keras.Model, name: str, values: Any) -> list[float | Callable]:
    check_known(model, name, list(find_terms(model)))
    if isinstance(values, str) or not hasattr(values, "__len__") or not _is_flat(values):
        raise ValueError(
            f"`weights` of term '{name}' must be a list or 1-D array with one weight or schedule "
            "per replica. For a schedule of one weight per epoch give "
            f"`keras_physreg.Staircase(weights, every=1)`. {received('weights', values)}"
        )
    return [v if callable(v) else check_weight(name, _number(v)) for v in values]


def _is_flat(values: Any) -> bool:
    try:
        return np.ndim(values) == 1
    except ValueError:  # Numbers beside lists.
        return False


def _number(value: Any) -> Any:
    # Reads the decimal of a float32: 1e-10, not 1.00000001335e-10.
    return float(str(value)) if isinstance(value, np.floating) else value


def _count(entries: dict[str, list], seeds: Any) -> int:
    lengths = {name: len(values) for name, values in entries.items()}
    if seeds is not None:
        lengths["seeds"] = len(seeds)
    if not lengths:
        raise ValueError(
            "Give `weights`, `seeds` or both: without them there are no replicas. Received: "
            "weights={}, seeds=None"
        )
    if len(set(lengths.values())) > 1:
        raise ValueError(
            "`weights` and `seeds` must have one entry per replica, and so equal lengths. "
            f"Received: {lengths}"
        )
    count = next(iter(lengths.values()))
    if not count:
        raise ValueError(
            f"There are no replicas to train: give at least one weight or seed. Received: {lengths}"
        )
    return count
