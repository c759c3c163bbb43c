"""A term row by row: its losses, those of the network under the same, and what it compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class RowValues:
    """A term on rows whose labels are to be trusted, row by row.

    Args:
        numbers: Numbers of the rows in the user's data, of shape `(rows,)`.
        losses: Loss of each row, of shape `(rows,)`.
        network: Loss of the network's predictions under the same loss and components, of shape
            `(rows,)`; `None` where the term compares with neither label nor prediction.
        output: The term's output, of shape `(rows, places, components)`; `None` where it is large.
        reference: What it is compared with, likewise.
        moved: How far the output at the prediction is from that at the label, of shape `(rows,)`.
    """

    numbers: np.ndarray
    losses: np.ndarray
    network: np.ndarray | None
    output: np.ndarray | None
    reference: np.ndarray | None
    moved: np.ndarray | None = None

    @property
    def columns(self) -> tuple[Any, ...]:
        """The arrays, in the order of the arguments."""
        return (
            *(self.numbers, self.losses, self.network),
            *(self.output, self.reference, self.moved),
        )

    def without(self, numbers: Sequence[int]) -> RowValues:
        """Returns the other rows."""
        kept = ~np.isin(self.numbers, np.asarray(numbers))

        def cut(values: np.ndarray | None) -> Any:
            return None if values is None else values[kept]

        return RowValues(*map(cut, self.columns))


@dataclass
class RowValuesGathering:
    """Gathers the rows of several batches."""

    parts: list[tuple[Any, ...]] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)

    def add(
        self,
        numbers: np.ndarray,
        kept: Any,
        losses: Any,
        weights: Any,
        network: Any,
        pairs: Any,
        moved: Any = None,
    ) -> None:
        """Adds a batch; nothing where its output has other rows than the batch.

        Args:
            numbers: Numbers of the rows.
            kept: Which of them have a label to be trusted; `None`: all.
            losses: Loss of each row.
            weights: How much each row counts in the term; `None`: all count alike.
            network: Loss of the network's prediction in each row, or `None`.
            pairs: Output and reference, or `None`.
            moved: How far the output moves from the prediction to the label, or `None`.
        """
        if losses is None or len(losses) != len(numbers):
            return
        output, reference = pairs or (None, None)
        which = np.ones(len(numbers), bool) if kept is None else kept
        if weights is not None:
            which = which & (weights > 0)
            self.weights.append(weights[which])
        self.parts.append(
            tuple(
                None if part is None or len(part) != len(numbers) else part[which]
                for part in (numbers, losses, network, output, reference, moved)
            )
        )

    def values(self) -> RowValues | None:
        """Returns all rows that count, or `None` where there are none.

        Their losses are multiplied by their weights of mean 1: a mean over rows is that of the
        term.
        """
        joined = _joined(self.parts) if self.parts else None
        if joined is None or not len(joined.numbers):
            return None
        if not self.weights:
            return joined
        weights = np.concatenate(self.weights).astype("float64")
        weights = weights / weights.mean()
        network = None if joined.network is None else joined.network * weights
        return replace(joined, losses=joined.losses * weights, network=network)


def pooled(parts: Sequence[RowValues | None]) -> RowValues | None:
    """Returns the rows of several sets together, for what is said of labels alone."""
    known = [part for part in parts if part is not None]
    if len(known) < 2:
        return known[0] if known else None
    return _joined([part.columns for part in known])


def _joined(parts: Sequence[tuple[Any, ...]]) -> RowValues:
    """Returns the rows of all parts; `None` for what one of them does not have."""
    columns: list[Any] = [
        None if any(part is None for part in column) else np.concatenate(column)
        for column in zip(*parts, strict=True)
    ]
    return RowValues(*columns)
