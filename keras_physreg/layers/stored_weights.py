"""Term weights in files and checkpoints: their keys, their checks, and what TensorFlow finds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np


def weight_keys(term_names: Sequence[str]) -> dict[str, str]:
    """Returns the keys under which a physics layer stores its weights, by term name."""
    return {name: f"{name}_weight" for name in term_names}


def checked_weights(
    layer: str, term_names: Sequence[str], stored: Mapping[str, Any]
) -> dict[str, float]:
    """Returns the stored weights of a physics layer by term name, or raises.

    Args:
        layer: Name of the layer, for the message.
        term_names: Names of its terms.
        stored: What the file holds for it: arrays by key.

    Raises:
        ValueError: If these are the weights of other terms, or one can be no weight.
    """
    keys = weight_keys(term_names)
    found = sorted(stored.keys())
    if not found:
        raise ValueError(message_without_terms(layer, term_names))
    if found != sorted(keys.values()):
        raise ValueError(
            f"The file holds other terms than physics layer '{layer}'. "
            f"Expected: {sorted(keys.values())}. Found: {found}."
        )
    return {name: stored_weight(name, stored[key]) for name, key in keys.items()}


def stored_weight(term: str, value: Any) -> float:
    """Returns a stored weight as a float; raises where it is NaN, negative or infinite."""
    weight = float(np.asarray(value))
    if not 0 <= weight < np.inf:
        raise ValueError(
            f"The file holds {weight!r} as the weight of physics term '{term}', which must be "
            "finite and >= 0. Set it with `keras_physreg.set_term_weights` in the model that was "
            "saved, and save it again."
        )
    return weight


def message_without_terms(layer: str, term_names: Sequence[str]) -> str:
    """Returns what to do with a file of a model without physics."""
    return (
        f"The file holds no term weights, and physics layer '{layer}' has those of "
        f"{list(term_names)}: it is of a model without this physics. Load it into the encoder, "
        "which shares its layers with this model (`encoder.load_weights(path)`); or leave the "
        "term weights as they are: `load_weights(path, skip_mismatch=True)`."
    )


def let_tensorflow_track(
    layer: keras.layers.Layer, what: str, variables: Iterable[keras.Variable]
) -> None:
    """Makes variables part of `tf.train.Checkpoint` and SavedModel, and of nothing in Keras.

    TensorFlow follows attributes alone; Keras would take a variable of its own in an attribute
    for a weight of the layer. So the attribute is the variable of the backend.

    Args:
        layer: The layer.
        what: What the variables are, which names the attributes.
        variables: Variables that metrics, lists or dicts hold.
    """
    if keras.backend.backend() != "tensorflow":
        return
    for number, variable in enumerate(variables):
        value = variable.value
        if hasattr(value, "assign"):  # Within a stateless scope of Keras it is a tensor.
            setattr(layer, f"{what} {number}", value)
