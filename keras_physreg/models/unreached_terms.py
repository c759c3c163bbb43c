"""Warns, while a training step is traced, of terms whose gradient reaches no trainable variable."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.models.distribution import replica_count

# Operations without a gradient, but with a floating output. Integer casts and comparisons are
# found by the dtype of their output.
WITHOUT_GRADIENT = ("StopGradient", "PyFunc", "PyFuncStateless", "Round", "Rint", "Floor", "Ceil")
_warned: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


def warn_of_unreached(model: keras.Model, losses: dict[str, Any], weights: dict[str, Any]) -> None:
    """Warns, once per model, of terms that train nothing.

    This walks the traced graph from the loss of each term back to the variables, and stops at
    operations without a gradient. It adds nothing to the graph, so a step costs the same. Steps
    that run eagerly have no graph and are not checked.

    Args:
        model: The model that trains.
        losses: The unweighted loss of each term, as traced.
        weights: The variable that holds the weight of each term.
    """
    if keras.backend.backend() != "tensorflow" or replica_count() > 1:
        return
    known = _warned.setdefault(model, set())
    for name, loss in losses.items():
        # A layer that the model calls but does not track has no weight here.
        is_new = name in weights and name not in known
        if not is_new or not _is_traced(loss) or not _is_on(weights[name]):
            continue
        known.add(name)
        trained = model.trainable_variables
        if trained and not _reaches(loss, _handles(loss.graph, trained)):
            warnings.warn(
                f"Physics term '{name}' of model '{model.name}' has a weight above 0 and trains "
                "nothing: no gradient of it reaches the network or a constant. Compute its output "
                "from the `prediction` argument with `keras.ops`: no NumPy, no prediction made "
                "outside and captured, no integer cast, no `stop_gradient`. Layers and constants "
                "with `trainable=False` do not count. Run `keras_physreg.diagnose` for details.",
                stacklevel=2,
            )


def _is_traced(loss: Any) -> bool:
    return tf.is_symbolic_tensor(loss) and hasattr(loss.graph, "captures")


def _is_on(weight: Any) -> bool:
    with tf.init_scope():
        return float(weight.numpy()) > 0


def _handles(graph: Any, variables: list[keras.Variable]) -> set[str]:
    """Returns the names of the tensors by which a graph reads variables."""
    wanted = {id(variable.value.handle) for variable in variables}
    return {inside.name for outside, inside in graph.captures if id(outside) in wanted}


def _reaches(loss: Any, handles: set[str]) -> bool:
    """Returns whether a gradient of the loss reaches one of the handles."""
    seen, waiting = {loss.name}, [loss]
    while waiting:
        tensor = waiting.pop()
        if tensor.name in handles:
            return True
        if tensor.op.type in WITHOUT_GRADIENT:
            continue
        for source in tensor.op.inputs:
            passes = source.dtype.is_floating or source.dtype.is_complex
            passes = passes or source.dtype in (tf.resource, tf.variant)
            if passes and source.name not in seen:
                seen.add(source.name)
                waiting.append(source)
    return False
