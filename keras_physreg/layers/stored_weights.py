"""Weights and scales of terms, in files and checkpoints: keys, checks, tracking by TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg._utils.owners import register_owner
from keras_physreg.terms.scale import AUTO
from keras_physreg.terms.term import PhysicsTerm

SCALE = "_scale"  # The end of the key of a scale.


def add_term_weight(layer: keras.layers.Layer, term: PhysicsTerm) -> keras.Variable:
    """Adds the variable that holds the weight of a term to a physics layer."""
    variable = layer.add_weight(
        name=f"{term.name}_weight",
        shape=(),
        initializer=keras.initializers.Constant(term.weight),
        dtype="float32",
        trainable=False,
        autocast=False,
    )
    register_owner(variable, layer)
    # `tf.train.Checkpoint` finds attributes only. The spaces avoid the names of methods.
    setattr(layer, f"weight of {term.name}", variable)
    return variable


def store_terms(layer: Any, store: Any) -> None:
    """Stores the weights and scales of a physics layer by term name: their order may change."""
    for name, key in weight_keys(layer.term_names).items():
        store[key] = ops.convert_to_numpy(layer.weight_variable(name))
    for term in layer.terms:
        if term.scale not in (None, AUTO):
            store[f"{term.name}{SCALE}"] = np.atleast_1d(np.asarray(term.scale))


def load_terms(layer: Any, store: Any) -> None:
    """Loads the weights of a physics layer, and the scales of its terms with `scale="auto"`.

    Raises:
        ValueError: If a weight is missing or not valid.
    """
    for name, weight in checked_weights(layer.name, layer.term_names, store).items():
        layer.weight_variable(name).assign(weight)
    layer.terms = tuple(
        replace(term, scale=_stored_scale(store[f"{term.name}{SCALE}"]))
        if term.scale == AUTO and f"{term.name}{SCALE}" in store.keys()  # noqa: SIM118
        else term
        for term in layer.terms
    )


def _stored_scale(value: Any) -> Any:
    numbers = np.asarray(value)
    return numbers if len(numbers) > 1 else float(numbers[0])


def weight_keys(term_names: Sequence[str]) -> dict[str, str]:
    """Returns the keys under which a physics layer stores its weights, by term name."""
    return {name: f"{name}_weight" for name in term_names}


def checked_weights(
    layer: str, term_names: Sequence[str], stored: Mapping[str, Any]
) -> dict[str, float]:
    """Returns the stored weights of a physics layer by term name, or raises.

    Args:
        layer: Name of the layer, for messages.
        term_names: Names of its terms.
        stored: Arrays of the layer in the file, by key.

    Raises:
        ValueError: If the file holds the weights of other terms, or one is not a valid weight.
    """
    keys = weight_keys(term_names)
    found = sorted(key for key in stored.keys() if not key.endswith(SCALE))  # noqa: SIM118
    if not found:
        raise ValueError(message_without_terms(layer, term_names))
    if found != sorted(keys.values()):
        raise ValueError(
            f"The file holds weights of other terms than those of physics layer '{layer}'. "
            f"Expected: {sorted(keys.values())}. Received: {found}. Load a file of a model with "
            "the same terms."
        )
    return {name: stored_weight(name, stored[key]) for name, key in keys.items()}


def stored_weight(term: str, value: Any) -> float:
    """Returns a stored weight as a float; raises if it is NaN, negative or infinite."""
    weight = float(np.asarray(value))
    if not 0 <= weight < np.inf:
        raise ValueError(
            f"The weight of physics term '{term}' must be finite and >= 0. The file holds "
            f"{weight!r}. Set it with `keras_physreg.set_term_weights` in the saved model, and "
            "save that model again."
        )
    return weight


def message_without_terms(layer: str, term_names: Sequence[str]) -> str:
    """Returns the error message for a file of a model without physics."""
    return (
        f"The file holds no term weights, but physics layer '{layer}' has the terms "
        f"{list(term_names)}: a model without this physics was saved. Load the file into the "
        "encoder, which shares its layers with this model (`encoder.load_weights(path)`), or keep "
        "the present term weights: `load_weights(path, skip_mismatch=True)`."
    )


def track_in_tensorflow(
    layer: keras.layers.Layer, what: str, variables: Iterable[keras.Variable]
) -> None:
    """Adds variables to `tf.train.Checkpoint` and SavedModel, without adding weights in Keras.

    TensorFlow tracks only attributes. Keras would take a `keras.Variable` in an attribute for a
    weight of the layer; the attribute is therefore the TensorFlow variable behind it.

    Args:
        layer: The layer.
        what: Name for the attributes.
        variables: Variables that metrics, lists or dicts hold.
    """
    if keras.backend.backend() != "tensorflow":
        return
    for number, variable in enumerate(variables):
        value = variable.value
        if hasattr(value, "assign"):  # In a `StatelessScope` it is a tensor.
            setattr(layer, f"{what} {number}", value)
