"""What the terms are at other values of the constants than the present ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg.constants.constant import Constant
from keras_physreg.constants.transforms import MAX_RAW
from keras_physreg.diagnosis.graphs import compiled
from keras_physreg.diagnosis.observation import call_unnoticed, unweighted_step
from keras_physreg.diagnosis.probe_rows import Rows
from keras_physreg.layers.evaluation import Evaluation

# How many random moves of the dimensionless variables each term is looked at, and how far.
RANDOM_MOVES = 4
MOVE_SIZE = 1.5


def try_constants(
    model: keras.Model,
    constants: Sequence[Constant],
    rows: Rows,
    batch_size: int,
    skipped: frozenset[str] = frozenset(),
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    """Returns `tried` and `escapes`, as in `Sensitivities`.

    Args:
        model: A built model.
        constants: Its trainable constants.
        rows: The rows to look at.
        batch_size: Rows in a batch.
        skipped: Terms of a `PhysicsModel` that are not computed on these rows.
    """
    tried: dict[str, Any] = {}
    escapes: dict[str, dict[str, float]] = {}
    try:
        program = compiled(model, _Trials(model, constants, skipped).look, rows, batch_size)
        for batch in rows.batches(batch_size):
            share = len(batch.numbers) / len(rows.numbers)
            losses, escaped = program(batch.x, batch.y, batch.sample_weight)
            for name, values in losses.items():
                tried[name] = tried.get(name, 0.0) + share * ops.convert_to_numpy(values).astype(
                    "float64"
                )
            for name, places in escaped.items():
                known = escapes.setdefault(name, {})
                for place, loss in places.items():
                    known[place] = known.get(place, 0.0) + share * float(loss)
    except Exception:  # The user's physics need not run at every value: the root of a matrix.
        return {}, {}
    return tried, escapes


def scope_of(variables: Sequence[keras.Variable], values: Sequence[Any]) -> keras.StatelessScope:
    """Returns a scope in which variables have other values, and nothing is assigned."""
    pairs = list(zip(variables, values, strict=True))
    return keras.StatelessScope(pairs, collect_losses=True, initialize_variables=False)


class _Trials:
    def __init__(
        self, model: keras.Model, constants: Sequence[Constant], skipped: frozenset[str]
    ) -> None:
        self._model, self._skipped = model, skipped
        self._raws = [constant.raw for constant in constants]
        rng = np.random.default_rng(0)
        self._moves = [
            [
                (MOVE_SIZE / constant.rate * rng.normal(size=raw.shape)).astype(raw.dtype)
                for constant, raw in zip(constants, self._raws, strict=True)
            ]
            for _ in range(RANDOM_MOVES)
        ]
        self._places = _places(constants)

    def look(self, x: Any, y: Any, sample_weight: Any) -> tuple[dict, dict]:
        """Returns losses at the tried values, and those with the predictions of other rows."""
        values = [ops.copy(raw) for raw in self._raws]
        losses: dict[str, Any] = {}
        escapes: dict[str, Any] = {}
        with unweighted_step(self._model, self._skipped) as step:
            with scope_of(self._raws, values):
                call_unnoticed(self._model, x, False)
            for evaluation in list(step.evaluations):
                losses |= self._tried(evaluation, values, y, sample_weight)
                escapes |= self._escapes(evaluation, values, y, sample_weight)
        return losses, escapes

    def _tried(
        self, evaluation: Evaluation, values: list[Any], y: Any, sample_weight: Any
    ) -> dict[str, Any]:
        losses: dict[str, list[Any]] = {}
        for moves in [[0.0] * len(values), *self._moves]:
            moved = [value + move for value, move in zip(values, moves, strict=True)]
            for name, loss in self._losses(evaluation, moved, y, sample_weight).items():
                losses.setdefault(name, []).append(loss)
        return {name: ops.stack(several) for name, several in losses.items()}

    def _escapes(
        self, evaluation: Evaluation, values: list[Any], y: Any, sample_weight: Any
    ) -> dict[str, Any]:
        """Returns losses with the predictions of other rows, which fit no physics."""
        rolled = keras.tree.map_structure(lambda t: ops.roll(t, 1, axis=0), evaluation.prediction)
        elsewhere = replace(evaluation, prediction=rolled)
        found: dict[str, Any] = {}
        for place, moved in {"present": {}, **self._places}.items():
            there = [moved.get(k, value) for k, value in enumerate(values)]
            try:
                losses = self._losses(elsewhere, there, y, sample_weight)
            except Exception:  # Physics that differentiates the prediction by the input.
                return {}
            for name, loss in losses.items():
                found.setdefault(name, {})[place] = loss
        return found

    def _losses(
        self, evaluation: Evaluation, values: list[Any], y: Any, sample_weight: Any
    ) -> dict[str, Any]:
        layer = evaluation.layer
        with scope_of(self._raws, values):
            there = layer.evaluate_again(evaluation, evaluation.prediction)
            found = layer.compare(there, y, sample_weight, skip_unlabelled=True)
        return {value.name: value.loss for value in found}


def _places(constants: Sequence[Constant]) -> dict[str, dict[int, Any]]:
    """Returns extreme values of the variables, by the constant's position: of each, and of all."""
    near = {k: constant.nearest_to_zero() for k, constant in enumerate(constants)}
    far = {k: np.full_like(raw, MAX_RAW) for k, raw in near.items()}
    places: dict[str, dict[int, Any]] = {}
    for k, constant in enumerate(constants):
        places[f"'{constant.name}' to zero"] = {k: near[k]}
        places[f"'{constant.name}' to its largest"] = {k: far[k]}
    return {**places, "all constants to zero": near} if len(near) > 1 else places
