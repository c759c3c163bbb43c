"""Metrics that log several values each: one metric for all keeps a training step cheap."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops


class Logged(keras.metrics.Metric):
    """A metric that a layer can hide from the logs while it cannot be updated."""

    is_logged = True


class NamedMeans(Logged):
    """Mean of each of several values over all rows seen, logged by name.

    Args:
        names: Names of the values, as in the logs.
        name: Name of the metric itself; it appears nowhere in the logs.
    """

    def __init__(self, names: Sequence[str], name: str = "means") -> None:
        super().__init__(name=name)
        self.names = tuple(names)
        shape = (len(self.names),)
        self.total = self.add_variable(shape, "zeros", name="total")
        self.rows = self.add_variable(shape, "zeros", name="rows")

    def update_state(
        self,
        values: Mapping[str, Any],
        rows: Any,
        again: bool = False,
        empty: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds one batch.

        Args:
            values: Means over the rows of the batch, by name; some names may be missing.
            rows: Number of rows of the batch.
            again: Whether the same rows were added before; the means are then summed.
            empty: Booleans by name: whether a mean is one of no rows, so that it does not count.
        """
        counts = ops.cast(rows, self.dtype)
        empty = empty or {}
        is_missing = [empty.get(n, False) if n in values else True for n in self.names]
        if any(flag is not False for flag in is_missing):
            counts = ops.where(ops.stack(is_missing), ops.zeros((), self.dtype), counts)
        self.total.assign_add(counts * self._stacked(values))
        if not again:
            self.rows.assign_add(counts)

    def result(self) -> dict[str, Any]:
        """Returns the means by name; NaN, not 0, for a value that was never computed."""
        if not self.is_logged:
            return {}
        means = ops.unstack(ops.divide(self.total, self.rows), len(self.names))
        return dict(zip(self.names, means, strict=True))

    def _stacked(self, values: Mapping[str, Any]) -> Any:
        zero = ops.zeros((), self.dtype)
        return ops.stack([ops.cast(values.get(name, zero), self.dtype) for name in self.names])


class LastValues(Logged):
    """The last of each of several values, logged by name.

    Args:
        name: Name of the metric itself; it appears nowhere in the logs.
    """

    def __init__(self, name: str = "last_values") -> None:
        super().__init__(name=name)
        self.owners: dict[str, Any] = {}
        self._groups: list[tuple[list[str], keras.Variable]] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values, as in the logs."""
        return tuple(self.owners)

    def follow(self, owners: Mapping[str, Any]) -> None:
        """Adds values to log, by name, each with the object whose value it is."""
        new = {name: owner for name, owner in owners.items() if name not in self.owners}
        if new:
            # Values and counts: Keras sums the states of several devices before it reads them.
            state = self.add_variable((2, len(new)), "zeros", name=f"values_{len(self._groups)}")
            self._groups.append((list(new), state))
            self.owners |= new

    def update_state(self, values: Mapping[str, Any]) -> None:
        """Replaces all values."""
        for names, state in self._groups:
            row = ops.stack([ops.cast(values[name], self.dtype) for name in names])
            state.assign(ops.stack([row, ops.ones_like(row)]))

    def result(self) -> dict[str, Any]:
        """Returns the values by name; NaN before the first one."""
        found: dict[str, Any] = {}
        for names, state in self._groups if self.is_logged else ():
            values = ops.unstack(ops.divide(state[0], state[1]), len(names))
            found |= dict(zip(names, values, strict=True))
        return found
