"""Which weight each replica has at each step, and in which order it sees the rows."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.errors import received
from keras_physreg.inspection import check_known, find_terms
from keras_physreg.replicas.clock import Clock
from keras_physreg.schedules.values import weight_at
from keras_physreg.terms.term import check_weight


class WeightTable:
    """The weights of all replicas: numbers, or schedules of the time.

    Args:
        model: The model whose terms they weigh.
        weights: `{term: sequence of one weight or schedule per replica}`.
        seeds: One seed per replica, or `None`.
        unit: What schedules count: `"epoch"` or `"step"`.
    """

    def __init__(
        self, model: keras.Model, weights: dict[str, Any], seeds: Any, unit: str = "epoch"
    ) -> None:
        if unit not in ("epoch", "step"):
            raise ValueError(f"`unit` must be 'epoch' or 'step'. Received: unit={unit!r}")
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
        """Returns one weight per replica for each term; NaN where a schedule moves it."""
        return {
            name: np.array([np.nan if callable(v) else v for v in values], "float64")
            for name, values in self.entries.items()
        }

    def steps(
        self,
        first_epoch: int,
        epochs: int,
        steps: int,
        clock: Clock | None = None,
        replicas: Sequence[int] | np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns the weights of some epochs, of shape `(epochs, steps, replicas, terms)`.

        Args:
            first_epoch: The first of these epochs, counted from 0.
            epochs: Number of epochs.
            steps: Steps in an epoch.
            clock: What a step of `unit="step"` is; by default a batch, from 0 on.
            replicas: The positions of the replicas; `None`: all.
        """
        times = first_epoch + np.repeat(np.arange(epochs), steps)
        if self.unit == "step":
            times = (clock or Clock()).times(first_epoch, epochs, steps)
        some = range(self.replicas) if replicas is None else replicas
        table = np.empty((len(times), len(some), len(self.entries)), "float32")
        for column, (name, values) in enumerate(self.entries.items()):
            known: dict[int, np.ndarray] = {}
            for position, replica in enumerate(some):
                value = values[replica]
                if id(value) not in known:
                    known[id(value)] = _course(name, value, times)
                table[:, position, column] = known[id(value)]
        return table.reshape((epochs, steps, len(some), len(self.entries)))

    def at(self, replica: int, time: int) -> list[float]:
        """Returns the weights of one replica at a time, an epoch or step, in the terms' order."""
        values = [(name, entries[replica]) for name, entries in self.entries.items()]
        return [weight_at(n, v, time) if callable(v) else v for n, v in values]


def _course(name: str, value: Any, times: np.ndarray) -> np.ndarray:
    if not callable(value):
        return np.full(len(times), value)
    unique, inverse = np.unique(times, return_inverse=True)
    return np.array([weight_at(name, value, int(t)) for t in unique])[inverse]


def _entries(model: keras.Model, name: str, values: Any) -> list[float | Callable]:
    check_known(model, name, list(find_terms(model)))
    if isinstance(values, str) or not hasattr(values, "__len__") or np.ndim(values) != 1:
        raise ValueError(
            f"`weights` of term '{name}' must be a list or 1-D array with one weight or schedule "
            f"per replica. Received: {values!r} (of type {type(values)})"
        )
    return [v if callable(v) else check_weight(name, _number(v)) for v in values]


def _number(value: Any) -> Any:
    # The decimal that a float32 stands for: 1e-10, not 1.00000001335e-10.
    return float(str(value)) if isinstance(value, np.floating) else value


def _count(entries: dict[str, list], seeds: Any) -> int:
    lengths = {name: len(values) for name, values in entries.items()}
    if seeds is not None:
        lengths["seeds"] = len(seeds)
    if not lengths:
        raise ValueError("Give `weights`, `seeds` or both: without them there are no replicas.")
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"`weights` and `seeds` need one entry per replica, all as many. Received: {lengths}"
        )
    count = next(iter(lengths.values()))
    if not count:
        raise ValueError(f"There are no replicas to train. Received: {lengths}")
    return count
