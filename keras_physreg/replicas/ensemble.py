"""The ensemble: one model that predicts the mean over several replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg._utils.owners import with_sublayers
from keras_physreg._utils.variables import assign
from keras_physreg.models.strip import check_functional, inputs_and_outputs, strip_physics
from keras_physreg.replicas.fresh_weights import twin
from keras_physreg.replicas.outcome import Outcome
from keras_physreg.replicas.trained_weights import checked_replicas, weights_at

SPREAD_SUFFIX = "_spread"


def ensemble(
    model: keras.Model, outcome: Outcome, replicas: Sequence[int] | None, which: str, spread: bool
) -> keras.Model:
    """Returns the ensemble of some replicas, as `ReplicaTrainer.ensemble` does."""
    check_functional(model, "`ensemble`", "average `predict(x)` over its first axis")
    values = weights_at(outcome, which)
    positions = checked_replicas(outcome, which, replicas)
    if spread and len(positions) < 2:
        raise ValueError(
            "The spread of an ensemble needs at least 2 replicas: give more `replicas`, or "
            f"spread=False. Received: spread=True, replicas={positions}"
        )
    stripped = strip_physics(model)
    inputs = keras.tree.map_structure(_input_like, inputs_and_outputs(stripped)[0])
    predictions = []
    for replica in positions:
        known = zip(outcome.variables, values, strict=True)
        weights = {id(variable): value[replica] for variable, value in known}
        predictions.append(_member(stripped, weights, replica)(inputs))
    names = keras.tree.pack_sequence_as(inputs_and_outputs(stripped)[1], stripped.output_names)
    means = keras.tree.map_structure(_mean, names, *predictions)
    if not spread:
        return keras.Model(inputs, means, name=f"{model.name}_ensemble")
    spreads = keras.tree.map_structure(_spread, names, *predictions)
    return keras.Model(inputs, _side_by_side(means, spreads), name=f"{model.name}_ensemble")


def _member(stripped: keras.Model, weights: dict[int, np.ndarray], replica: int) -> keras.Model:
    """Returns a copy of a model with the weights of a replica."""
    pairs: list[tuple[Any, Any]] = []

    def copy(layer: Any) -> Any:
        # Layers without weights are copied, too: Keras cannot load a model whose parts share one.
        pairs.append((layer, twin(layer)))
        return pairs[-1][1]

    clone = keras.models.clone_model(stripped, clone_function=copy, recursive=True)
    for layer, other in pairs:
        if isinstance(layer, keras.layers.Layer):  # Else it is an operation: a sum, a slice.
            _set_weights(other, [weights[id(variable)] for variable in layer.weights])
    return keras.Model(*inputs_and_outputs(clone), name=f"{stripped.name}_replica_{replica}")


def _set_weights(layer: keras.layers.Layer, weights: list[np.ndarray]) -> None:
    """Sets the weights of a layer, and the state that adapted layers derive from them."""
    assign(layer.weights, weights)
    for part in with_sublayers(layer):
        if hasattr(part, "finalize_state"):
            part.finalize_state()


def _input_like(tensor: Any) -> Any:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def _mean(name: str, *predictions: Any) -> Any:
    return _named(name, ops.mean(_together(predictions), axis=0))


def _spread(name: str, *predictions: Any) -> Any:
    """Returns the sample standard deviation: the sum of squares is divided by n - 1."""
    count = len(predictions)
    deviation = ops.std(_together(predictions), axis=0) * float(np.sqrt(count / (count - 1)))
    return _named(f"{name}{SPREAD_SUFFIX}", deviation)


def _named(name: str, tensor: Any) -> Any:
    return keras.layers.Identity(name=name, dtype=tensor.dtype)(tensor)


def _together(predictions: Sequence[Any]) -> Any:
    dtype = keras.backend.result_type("float32", *(p.dtype for p in predictions))
    return ops.stack([p if p.dtype == dtype else ops.cast(p, dtype) for p in predictions])


def _side_by_side(means: Any, spreads: Any) -> Any:
    """Joins two structures into a flat one, which `export` supports."""
    if isinstance(means, dict):
        return {**means, **{f"{key}{SPREAD_SUFFIX}": value for key, value in spreads.items()}}
    if isinstance(means, list | tuple):
        return [*means, *spreads]
    return [means, spreads]
