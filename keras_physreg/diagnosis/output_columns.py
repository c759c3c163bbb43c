"""Finds the model's outputs in predictions that are slices of them, or their parts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg.diagnosis.constant_trials import scope_of
from keras_physreg.diagnosis.labels import Columns
from keras_physreg.diagnosis.observation import call_unnoticed, unweighted_step
from keras_physreg.diagnosis.probe_rows import Rows

MAX_COLUMNS = 1024
MAX_ROWS = 32


def output_columns(
    model: keras.Model, rows: Rows, skipped: frozenset[str] = frozenset()
) -> Columns:
    """Returns which column of which output each column of a prediction is, where all are one.

    A physics layer may take slices of an output as a dict, or the parts that an output is
    concatenated from: its prediction is then no output of the model, but has the same numbers.

    Args:
        model: A built model.
        rows: The rows, of which the first are looked at.
        skipped: Terms of a `PhysicsModel` that are not computed on these rows.

    Returns:
        Per physics layer, by its `id`, and per tensor of its prediction the places of its columns;
        without layers that take outputs themselves, or something else.
    """
    if rows.y is None or len(rows.numbers) < 2:
        return {}
    batch = next(rows.batches(MAX_ROWS))
    found: Columns = {}
    try:
        with scope_of([], []), unweighted_step(model, skipped) as step:
            outputs = keras.tree.flatten(call_unnoticed(model, batch.x, False))
            for evaluation in list(step.evaluations):
                parts = keras.tree.flatten(evaluation.prediction)
                if not all(any(part is output for output in outputs) for part in parts):
                    found[id(evaluation.layer)] = [_places(part, outputs) for part in parts]
    except Exception:  # Physics that runs in a traced step alone: it has no floor in any case.
        return {}
    return {layer: places for layer, places in found.items() if all(places)}


def _places(part: Any, outputs: list[Any]) -> list[tuple[int, int]]:
    """Returns the places of all columns of a tensor; nothing where one has none, or several."""
    columns = _flat(part)
    if columns is None:
        return []
    places = []
    for column in columns.T:
        same = [
            (k, j)
            for k, output in enumerate(outputs)
            if (flat := _flat(output)) is not None
            for j in np.flatnonzero((flat == column[:, None]).all(axis=0)).tolist()
        ]
        if len(same) != 1:
            return []
        places += same
    return places


def _flat(tensor: Any) -> np.ndarray | None:
    values = np.asarray(ops.convert_to_numpy(tensor))
    if values.ndim not in (1, 2):
        return None
    values = values.reshape(len(values), -1)
    return values if values.shape[1] <= MAX_COLUMNS else None
