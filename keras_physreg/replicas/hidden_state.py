"""State that a model keeps outside of the variables that it lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.owners import stateful_layers, with_sublayers


def hidden_variables(model: keras.Model) -> list[tuple[str, Any]]:
    """Returns variables that neither the model nor its optimizer lists, with their owners.

    These are the states of recurrent layers with `stateful=True`, which Keras does not track, and
    `tf.Variable`s of the user's own layers and optimizers.

    Returns:
        Pairs of a description of the owner, such as "layer 'gru'", and the variable.
    """
    listed = [*model.variables, *model.metrics_variables]
    holders: list[tuple[str, Any]] = [
        (f"layer '{layer.name}'", layer) for layer in with_sublayers(model)
    ]
    if model.optimizer is not None:
        listed += model.optimizer.variables
        holders.append((f"optimizer '{model.optimizer.name}'", model.optimizer))
    known = {id(each) for variable in listed for each in (variable, variable.value)}
    found = {
        id(leaf): (name, leaf)
        for name, holder in holders
        for leaf in _leaves(list(vars(holder).values()))
        if isinstance(leaf, keras.Variable | tf.Variable) and id(leaf) not in known
    }
    return list(found.values())


def why_hidden(
    model: keras.Model, hidden: list[tuple[str, Any]], before: list[np.ndarray]
) -> str | None:
    """Returns why replicas cannot share hidden variables; `None` if these did not change.

    Args:
        model: The model.
        hidden: Its hidden variables.
        before: Their values before some steps of the model.
    """
    for (name, variable), value in zip(hidden, before, strict=True):
        if not np.array_equal(convert_to_numpy(variable), value, equal_nan=True):
            return hidden_reason(model, name)
    return None


def hidden_reason(model: keras.Model, name: str) -> str:
    """Returns a sentence about an owner of hidden state, such as "layer 'gru'"."""
    if name in [f"layer '{layer.name}'" for layer in stateful_layers(model)]:
        return f"{name} is stateful: it carries its state from one batch to the next"
    return f"{name} keeps state in a variable that neither the model nor its optimizer lists"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
