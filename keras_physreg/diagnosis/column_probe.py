"""Which parts of the prediction a term does not use, and which it uses without a gradient."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg.diagnosis.constant_trials import scope_of
from keras_physreg.diagnosis.graphs import compiled, gradient_or_none, new_tape
from keras_physreg.diagnosis.observation import call_unnoticed, unweighted_step
from keras_physreg.diagnosis.probe_rows import Rows
from keras_physreg.layers.evaluation import Evaluation

MAX_COLUMNS = 16
SHIFT = 0.1  # Of a column, over 1 plus its largest value.
ROUNDING = 1e-6


@dataclass(frozen=True)
class ColumnUse:
    """How a term uses the columns of its prediction.

    Args:
        unused: Whether some column may be shifted without moving the output: it is not used, or
            by its derivative alone.
        cut: Whether some column moves the output and has no gradient.
    """

    unused: bool
    cut: bool


def column_use(
    model: keras.Model,
    rows: Rows,
    batch_size: int,
    names: Collection[str],
    skipped: frozenset[str] = frozenset(),
) -> dict[str, ColumnUse]:
    """Returns how terms use the columns of their predictions, by shifting one after the other.

    Args:
        model: A built model.
        rows: The rows, of which the first batch is looked at.
        batch_size: Rows in a batch.
        names: The terms to look at.
        skipped: Terms of a `PhysicsModel` that are not computed on these rows.

    Returns:
        What is known, by the term's name: not of predictions with many columns, or where the
        physics does not run on shifted ones.
    """
    names = set(names) - skipped
    if not names:
        return {}
    batch = next(rows.batches(batch_size))
    try:
        look = compiled(model, _Look(model, names, skipped).look, rows, batch_size)
        found = look(batch.x, batch.y, batch.sample_weight)
    except Exception:  # The user's physics may run at the model's own predictions alone.
        return {}
    use: dict[str, ColumnUse] = {}
    for name, (moved, alive) in found.items():
        moves, has_gradient = (np.asarray(ops.convert_to_numpy(flags)) for flags in (moved, alive))
        use[name] = ColumnUse(bool((~moves).any()), bool((moves & ~has_gradient).any()))
    return use


class _Look:
    def __init__(self, model: keras.Model, names: Collection[str], skipped: frozenset[str]) -> None:
        self._model, self._names, self._skipped = model, names, skipped

    def look(self, x: Any, y: Any, sample_weight: Any) -> dict[str, tuple[Any, Any]]:
        """Returns of each term which columns move its output, and which have a gradient."""
        del y, sample_weight
        # In the scope no variable is assigned, that of a random state neither.
        with scope_of([], []), unweighted_step(self._model, self._skipped) as step:
            with new_tape() as tape:
                call_unnoticed(self._model, x, False)
            return self._use(list(step.evaluations), tape)

    def _use(self, evaluations: list[Evaluation], tape: Any) -> dict[str, tuple[Any, Any]]:
        found: dict[str, tuple[Any, Any]] = {}
        for evaluation in evaluations:
            names = [name for name in evaluation.outputs if name in self._names]
            leaves = keras.tree.flatten(evaluation.prediction)
            columns = [(k, c) for k, leaf in enumerate(leaves) for c in range(_width(leaf))]
            if names and 0 < len(columns) <= MAX_COLUMNS:
                shifted = [self._shifted(evaluation, leaves, k, c) for k, c in columns]
                for name in names:
                    output = evaluation.outputs[name]
                    moved = [_moved(output, other[name]) for other in shifted]
                    gradients = gradient_or_none(tape, output, leaves) or [None] * len(leaves)
                    alive = [_alive(gradients[k], c) for k, c in columns]
                    found[name] = ops.stack(moved), ops.stack(alive)
        return found

    def _shifted(self, evaluation: Evaluation, leaves: list[Any], k: int, c: int) -> dict[str, Any]:
        leaf, width = leaves[k], _width(leaves[k])
        # The same for all rows, so that no derivative by the inputs feels it.
        size = SHIFT * (1 + ops.stop_gradient(ops.max(ops.abs(leaf))))
        row = ops.one_hot(c, width, dtype=leaf.dtype) if len(leaf.shape) > 1 else 1.0
        others = [leaf + size * row if i == k else each for i, each in enumerate(leaves)]
        prediction = keras.tree.pack_sequence_as(evaluation.prediction, others)
        return evaluation.layer.evaluate_again(evaluation, prediction).outputs


def _width(leaf: Any) -> int:
    if len(leaf.shape) < 2:
        return 1
    return leaf.shape[-1] or MAX_COLUMNS + 1


def _moved(output: Any, other: Any) -> Any:
    largest = ops.max(ops.abs(output), initial=0.0)
    return ops.any(ops.abs(other - output) > ROUNDING * largest)


def _alive(gradient: Any, column: int) -> Any:
    if gradient is None:
        return ops.convert_to_tensor(False)
    return ops.any((gradient if len(gradient.shape) < 2 else gradient[..., column]) != 0)
