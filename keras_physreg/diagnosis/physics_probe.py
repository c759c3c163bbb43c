"""What the physics does with another row, with another network, and to the network in training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg.diagnosis.constant_trials import scope_of
from keras_physreg.diagnosis.graphs import broadcasts_rows, compiled, gradient_or_none, new_tape
from keras_physreg.diagnosis.labels import labels_as_prediction
from keras_physreg.diagnosis.network import network_variables
from keras_physreg.diagnosis.observation import call_unnoticed, in_a_layer, unweighted_step
from keras_physreg.diagnosis.probe_rows import Rows
from keras_physreg.layers.evaluation import Evaluation
from keras_physreg.layers.physics_regularization import physics_layers
from keras_physreg.layers.row_weights import row_weights
from keras_physreg.terms.loss import term_reference

ROUNDING = 1e-6  # What two runs of one program may differ by, relative to the largest value.
NETWORK_MOVE = 0.1  # How far the network is moved, relative to each weight plus 1.


@dataclass(frozen=True)
class PhysicsProbe:
    """What the physics does; without the terms that do not run in any other way than in a step.

    Args:
        rows: Number of rows that were looked at.
        moved_rows: Of each term with one output per row, how many outputs of the other rows move
            as the first row changes.
        broadcasts: Of each term, whether its output is computed by way of `(rows,)` broadcast
            against `(rows, 1)`; `None` where that cannot be seen.
        needs_network: The terms that still depend on the network with the labels as prediction.
        updates: Of each physics layer, under its first term on these rows, which variables of the
            network it moves in training.
    """

    rows: int = 0
    moved_rows: dict[str, int] = field(default_factory=dict)
    broadcasts: dict[str, bool | None] = field(default_factory=dict)
    needs_network: frozenset[str] = frozenset()
    updates: dict[str, tuple[str, ...]] = field(default_factory=dict)


def probe_physics(
    model: keras.Model, rows: Rows, batch_size: int, skipped: frozenset[str] = frozenset()
) -> PhysicsProbe:
    """Calls a model on one batch a few times; nothing in it changes.

    Args:
        model: A built model.
        rows: The rows, of which the first batch is looked at.
        batch_size: Rows in a batch.
        skipped: Terms of a `PhysicsModel` that are not computed on these rows.
    """
    batch, looks = next(rows.batches(batch_size)), _Looks(model, skipped)
    stay, move = np.float32(0), np.float32(NETWORK_MOVE)
    calls = [(batch.x, stay), (batch.x, stay), (_with_another_row(batch.x), stay), (batch.x, move)]
    try:
        look = compiled(model, looks.look, rows, batch_size, stay)
        found = [look(x, batch.y, batch.sample_weight, moved) for x, moved in calls]
    except Exception:  # The user's physics may run on some values, and in a step, only.
        return PhysicsProbe(updates=looks.updates)
    first, again, other_row, moved = keras.tree.map_structure(ops.convert_to_numpy, found)
    moved_rows = {
        name: _moved_rows(first[name], again[name], other_row[name], len(batch.numbers))
        for name in first
    }
    return PhysicsProbe(
        len(batch.numbers),
        {name: count for name, count in moved_rows.items() if count is not None},
        looks.broadcasts,
        frozenset(
            name
            for name in first
            if name in looks.differentiates
            or _any_moved(first[name], again[name], moved[name], "at_labels")
        ),
        looks.updates,
    )


class _Looks:
    """Calls of one model; what is known by the time that they are traced is in the attributes."""

    def __init__(self, model: keras.Model, skipped: frozenset[str]) -> None:
        self.broadcasts: dict[str, bool | None] = {}
        self.differentiates: set[str] = set()  # Terms with a gradient by the network at the labels.
        self.updates: dict[str, tuple[str, ...]] = {}
        self._model, self._skipped = model, skipped
        networks = [
            network_variables(model, layer, model.trainable_variables)
            for layer in physics_layers(model)
        ]
        self._network = list({id(v): v for network in networks for v in network}.values())

    def look(self, x: Any, y: Any, sample_weight: Any, move: Any) -> dict[str, dict[str, list]]:
        """Returns each term's output, which of its values count, and what it gets and compares.

        `counts` is empty where all values count; `at_labels` is what is compared at the labels.

        Args:
            x: Inputs.
            y: Labels, or `None`.
            sample_weight: Not used.
            move: How far to move the network's variables, each in a direction of its own.
        """
        del sample_weight
        found = {}
        values = [_moved_by(move, v, seed) for seed, v in enumerate(self._network)]
        with unweighted_step(self._model, self._skipped) as step, new_tape() as tape:
            tape.watch(values)
            with scope_of(self._network, values):
                y_pred = call_unnoticed(self._model, x, False)
                for evaluation in list(step.evaluations):
                    given = keras.tree.flatten((evaluation.inputs, evaluation.prediction))
                    at_labels = _at_labels(evaluation, y, y_pred)
                    for term in evaluation.layer.terms:
                        if term.name in evaluation.outputs:
                            output = evaluation.outputs[term.name]
                            self.broadcasts[term.name] = broadcasts_rows(output, given)
                            weights = row_weights(term, evaluation)
                            found[term.name] = {
                                "output": [output],
                                "counts": [] if weights is None else [weights != 0],
                                "given": given,
                                "at_labels": at_labels.get(term.name, []),
                            }
            for evaluation in list(step.evaluations):
                if evaluation.computed:
                    self._note_updates(evaluation)
        for name, parts in found.items():
            gradient = gradient_or_none(tape, parts["at_labels"], values) or []
            if any(part is not None for part in gradient):
                self.differentiates.add(name)
        return found

    def _note_updates(self, evaluation: Evaluation) -> None:
        layer = evaluation.layer
        parts = (evaluation.inputs, evaluation.prediction, evaluation.targets)
        with scope_of([], []) as scope:
            in_a_layer(lambda _: layer.evaluate_physics(*parts).outputs, parts[1], training=True)
        state = network_variables(self._model, layer, self._model.non_trainable_variables)
        moved = [v.path for v in state if scope.get_current_value(v) is not None]
        if moved:
            self.updates[evaluation.computed[0]] = tuple(moved)


def _at_labels(evaluation: Evaluation, y: Any, y_pred: Any) -> dict[str, list]:
    """Returns what each term compares with the labels in place of the prediction."""
    labels = labels_as_prediction(evaluation, y, y_pred)
    if labels is None:
        return {}
    layer, found = evaluation.layer, {}
    try:
        again = layer.evaluate_again(evaluation, labels)
        for name, there in layer.evaluations(again, y).items():
            term = next(term for term in layer.terms if term.name == name)
            output = there.outputs[name]
            found[name] = [output, term_reference(term, output, there.roots(y))]
    except Exception:  # Then there is no floor.
        return {}
    return found


def _moved_by(move: Any, variable: keras.Variable, seed: int) -> Any:
    value = ops.copy(variable)
    noise = keras.random.normal(variable.shape, dtype=variable.dtype, seed=seed)
    return value + ops.cast(move, variable.dtype) * noise * (1 + ops.abs(value))


def _with_another_row(x: Any) -> Any:
    """Returns inputs whose first row is that of the row which differs most from it."""
    leaves = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
    distance = np.zeros(len(leaves[0]))
    for leaf in leaves:
        others = leaf.reshape(len(leaf), -1)
        distance += np.mean(others != others[:1], axis=1)
        if leaf.dtype.kind in "iuf":
            gaps = np.abs(others.astype("float64") - others[:1]).mean(axis=1)
            gaps = np.nan_to_num(gaps, posinf=0.0)
            distance += gaps / max(gaps.max(), 1e-30)
    other = int(np.argmax(distance))

    def replaced(leaf: Any) -> Any:
        return None if leaf is None else np.concatenate([leaf[other : other + 1], leaf[1:]])

    return keras.tree.map_structure(replaced, x)


def _moved_rows(first: dict, again: dict, other: dict, rows: int) -> int | None:
    """Returns how many outputs that count move, the first aside; `None` where rows have none."""
    if len(np.atleast_1d(first["output"][0])) != rows or not np.ndim(first["output"][0]):
        return None
    parts = zip(first["given"], again["given"], other["given"], strict=True)
    if any(_moved(*part)[1:].any() for part in parts if np.ndim(part[0])):
        return 0  # It is not the physics that couples them.
    moved = _moved(first["output"][0], again["output"][0], other["output"][0])
    for counts in first["counts"]:  # A row that does not count may be a copy of the first row.
        moved = moved & counts.reshape(counts.shape + (1,) * (moved.ndim - counts.ndim))
    return int(moved.reshape(rows, -1)[1:].any(axis=1).sum())


def _any_moved(first: dict, again: dict, other: dict, key: str) -> bool:
    parts = zip(first[key], again[key], other[key], strict=True)
    return any(_moved(*part).any() for part in parts)


def _moved(first: Any, again: Any, other: Any) -> np.ndarray:
    """Returns which values have moved; none, where they move though nothing has changed."""
    moved = _differ(first, other)
    return moved & ~_differ(first, again).any()


@np.errstate(all="ignore")
def _differ(first: Any, other: Any) -> np.ndarray:
    first, other = np.asarray(first, "float64"), np.asarray(other, "float64")
    finite = np.isfinite(first)
    largest = np.max(np.abs(first), where=finite, initial=0.0)
    return np.where(finite, ~(np.abs(other - first) <= ROUNDING * largest), np.isfinite(other))
