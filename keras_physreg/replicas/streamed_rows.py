"""StreamedRows: rows beside the labelled ones that are not the same in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_physreg.replicas.array_rows import ArrayRows
from keras_physreg.replicas.drawn_rows import DrawnRows
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.input_rows import Rows, beside

UNLABELLED = ""  # The name of unlabelled rows; points have the names of their terms.
MAX_BYTES_PER_CALL = 64 * 2**20  # of the drawn rows that one call of a program gets


class Streamed(NamedTuple):
    """The rows of some epochs.

    Args:
        numbers: Numbers of the rows of arrays, by name, of shape `(epochs, rows)` or, where each
            replica has its own, `(epochs, replicas, rows)`.
        drawn: Rows that samplers drew, by name, of shape `(epochs, steps, rows, ...)`.
    """

    numbers: dict[str, Any]
    drawn: dict[str, Any]


@dataclass(frozen=True)
class StreamedRows:
    """Rows that join the labelled ones, and are not the same in every step.

    Args:
        sources: Where they come from: points by term, and unlabelled rows under `UNLABELLED`.
    """

    sources: dict[str, ArrayRows | DrawnRows] = field(default_factory=dict)

    @property
    def has_unlabelled(self) -> bool:
        """Whether there are unlabelled rows."""
        return UNLABELLED in self.sources

    @property
    def tensors(self) -> dict[str, Any]:
        """The rows of arrays, by name."""
        return {name: source.tensors for name, source in self._arrays.items()}

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """The names of arrays, each with its rows per step."""
        return tuple((name, source.batch_size) for name, source in self._arrays.items())

    @property
    def specs(self) -> dict[str, Any]:
        """The specs of the rows of a step, by name."""
        return {name: source.spec for name, source in self.sources.items()}

    def of(
        self, seeds: Sequence[int], first: int, epochs: int, steps: int, shuffle: bool, own: bool
    ) -> Streamed:
        """Returns the rows of some epochs.

        Args:
            seeds: The seeds of the replicas.
            first: Number of steps before these epochs.
            epochs: Number of epochs.
            steps: Steps per epoch.
            shuffle: Whether to shuffle the rows of arrays, in each pass anew.
            own: Whether each replica has its own order of them.
        """
        some = seeds if own else seeds[:1]
        numbers = {
            name: source.orders(some, first, epochs, steps, shuffle)
            for name, source in self._arrays.items()
        }
        if not own:
            numbers = {name: order[:, 0] for name, order in numbers.items()}
        return Streamed(
            numbers,
            {name: source.of(first, epochs, steps) for name, source in self._samplers.items()},
        )

    def of_step(self, rows: Streamed, step: int) -> dict[str, Any]:
        """Returns the rows of a step by name, from those of an epoch of one replica."""
        found = {}
        for name, count in self.sizes:
            numbers = np.reshape(rows.numbers[name], -1)[step * count : (step + 1) * count]
            found[name] = arrays.gather(self._arrays[name].tensors, numbers)
        for name, drawn in rows.drawn.items():
            found[name] = keras.tree.map_structure(lambda a: a[0, step], drawn)
        return found

    def max_steps(self, limit: int) -> int:
        """Returns how many steps a call of a program may take, because of the rows it gets."""
        each = sum(source.bytes_per_step for source in self._samplers.values())
        return min(limit, max(1, MAX_BYTES_PER_CALL // each)) if each else limit

    @property
    def _arrays(self) -> dict[str, ArrayRows]:
        return {n: source for n, source in self.sources.items() if isinstance(source, ArrayRows)}

    @property
    def _samplers(self) -> dict[str, DrawnRows]:
        return {n: source for n, source in self.sources.items() if isinstance(source, DrawnRows)}


def joined(batch: Any, rows: Mapping[str, Any]) -> Any:
    """Returns a batch `(x, y, sample_weight)` with other rows beside `x`.

    Args:
        batch: The batch, with `Rows` as `x` if the training has points.
        rows: The rows that are not the same in every step, or specs, by name.
    """
    x, *others = batch
    if UNLABELLED in rows:
        x = beside(x, rows[UNLABELLED])
    points = {name: part for name, part in rows.items() if name != UNLABELLED}
    if points:
        assert isinstance(x, Rows)
        x = x._replace(points=points)
    return (x, *others)
