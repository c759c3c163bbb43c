"""Checks that physics at the labels depends on the label."""

from collections.abc import Callable
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.layers.call_physics import Outputs


def check_needs_prediction(call: Callable[[Any], Outputs], label: Any) -> Outputs:
    """Calls physics with the label as its prediction; raises if an output does not depend on it.

    Only TensorFlow can check this.

    Args:
        call: Function from a prediction to the outputs of the terms at the labels.
        label: Tensor or structure.

    Raises:
        ValueError: If the output of a term does not depend on the label.
    """
    if keras.backend.backend() != "tensorflow":
        return call(label)
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        watched = [t for t in keras.tree.flatten(label) if t is not None]
        tape.watch(watched)
        outputs = call(label)
    for name, output in outputs.values.items():
        try:
            gradient = tape.gradient(output, watched)
        except (LookupError, NotImplementedError):  # An operation without a gradient.
            continue
        if all(part is None for part in gradient):
            raise ValueError(
                f"Physics term '{name}' has `at='labels'`, but its physics does not use the "
                "prediction, which the label would replace. Leave `at` out."
            )
    return outputs
