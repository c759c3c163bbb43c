"""Warns of terms whose loss has no way back to what trains, while a training step is traced."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.models.distribution import replica_count

# Operations without a gradient whose output is floating. What passes integers or booleans, as an
# integer cast or a comparison does, shows by their dtype.
WITHOUT_GRADIENT = ("StopGradient", "PyFunc", "PyFuncStateless", "Round", "Rint", "Floor", "Ceil")
_warned: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


def warn_of_unreached(model: keras.Model, losses: dict[str, Any], weights: dict[str, Any]) -> None:
    """Warns, once per model, of terms that train nothing.

    The traced graph is walked from the loss of each term to the variables it is computed from, past
    no operation that has no gradient. That adds nothing to the graph, so that a step costs what it
    did. Where steps run eagerly there is no graph, and nothing is said.

    Args:
        model: The model that trains.
        losses: The unweighted loss of each term, as traced.
        weights: The variable that holds the weight of each term.
    """
    if keras.backend.backend() != "tensorflow" or replica_count() > 1:
        return
    known = _warned.setdefault(model, set())
    for name, loss in losses.items():
        if name in known or not _is_traced(loss) or not _is_on(weights[name]):
            continue
        known.add(name)
        handles = {_handle_in(loss.graph, v) for v in model.trainable_variables}
        if handles and not _reaches(loss, handles):
            warnings.warn(
                f"Physics term '{name}' of model '{model.name}' has a weight above 0 and trains "
                "nothing: no gradient of it reaches the network or a constant. Compute its output "
                "from the `prediction` argument with `keras.ops`: no NumPy, no prediction made "
                "outside and captured, no integer cast, no `stop_gradient`. "
                "`keras_physreg.diagnose` says more.",
                stacklevel=2,
            )


def _is_traced(loss: Any) -> bool:
    return tf.is_symbolic_tensor(loss) and hasattr(loss.graph, "capture")


def _is_on(weight: Any) -> bool:
    with tf.init_scope():
        return float(weight.numpy()) > 0


def _handle_in(graph: Any, variable: keras.Variable) -> str:
    """Returns the name of what stands for a variable in a graph."""
    return graph.capture(variable.value.handle).name


def _reaches(loss: Any, handles: set[str]) -> bool:
    """Returns whether one of the handles is on the way back from a loss."""
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
