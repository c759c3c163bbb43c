"""The predictions of all replicas."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.variables import assign, unchanged, values_of
from keras_physreg.replicas.batches import Batches
from keras_physreg.replicas.engines import has_own
from keras_physreg.replicas.hidden_state import hidden_variables
from keras_physreg.replicas.outcome import Outcome
from keras_physreg.replicas.preparation import as_batches
from keras_physreg.replicas.trained_weights import weights_at, without_weights


def predict(
    model: keras.Model, outcome: Outcome, x: Any, which: str, batch_size: int | None
) -> Any:
    """Returns the predictions of all replicas, as `ReplicaTrainer.predict` does."""
    values = weights_at(outcome, which)
    data = as_batches("x", (x,), batch_size)
    run = _in_turn if _needs_predict(model) else _in_graph
    parts = run(model, outcome.variables, values, data)
    missing = without_weights(outcome, which)
    return keras.tree.map_structure(lambda *arrays: _stacked(arrays, missing), *parts)


def _needs_predict(model: keras.Model) -> bool:
    """Returns whether predictions need `model.predict` itself, not only `predict_step`."""
    own = any(has_own(model, name) for name in ("predict", "make_predict_function"))
    return own or model.run_eagerly or bool(hidden_variables(model))


def _in_graph(
    model: keras.Model, variables: list[Any], values: list[np.ndarray], data: Batches
) -> list[Any]:
    """Predicts by one graph with the weights as inputs, as each `predict` takes long to start."""

    def step(weights: list[Any], x: Any) -> Any:
        mapping = list(zip(variables, weights, strict=True))
        with keras.StatelessScope(mapping, initialize_variables=False):
            return model.predict_step((x,))

    run = tf.function(step, autograph=False)
    batches = [data.take(rows)[0] for rows in _rows(data)]
    found = []
    for replica in range(len(values[0])):
        weights = [tf.constant(value[replica]) for value in values]
        parts = [run(weights, batch) for batch in batches]
        found.append(keras.tree.map_structure(_joined, *parts))
    return found


def _in_turn(
    model: keras.Model, variables: list[Any], values: list[np.ndarray], data: Batches
) -> list[Any]:
    """Predicts by `model.predict`, for each replica from the present hidden state of the model."""
    hidden = [variable for _, variable in hidden_variables(model)]
    present = values_of(hidden)
    found = []
    with unchanged([*variables, *hidden]):
        for replica in range(len(values[0])):
            assign(variables, [value[replica] for value in values])
            assign(hidden, present)
            found.append(model.predict(data.data[0], batch_size=data.batch_size, verbose=0))
    return found


def _rows(data: Batches) -> list[np.ndarray]:
    starts = range(0, data.size, data.batch_size)
    return [np.arange(start, min(start + data.batch_size, data.size)) for start in starts]


def _joined(*parts: Any) -> np.ndarray:
    return np.concatenate([convert_to_numpy(part) for part in parts])


def _stacked(arrays: tuple[Any, ...], missing: np.ndarray) -> np.ndarray:
    """Stacks the predictions of the replicas; NaN where a replica has no trained weights."""
    stacked = np.stack([np.asarray(array) for array in arrays])
    if np.issubdtype(stacked.dtype, np.inexact):
        stacked[missing] = np.nan
    return stacked
