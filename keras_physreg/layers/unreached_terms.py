"""Warns, while a training step is traced, of terms whose gradient reaches no trainable variable."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterable
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.layers.symbolic_origins import variables_behind

# Operations without a gradient, but with a floating output. Integer casts and comparisons are
# found by the dtype of their output.
WITHOUT_GRADIENT = ("StopGradient", "PyFunc", "PyFuncStateless", "Round", "Rint", "Floor", "Ceil")
_warned: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


def warn_of_unreached(layer: Any, losses: dict[str, Any], model: keras.Model | None = None) -> None:
    """Warns, once per layer, of terms that train nothing.

    This walks the traced graph from the loss of each term back to the variables, and stops at
    operations without a gradient. It adds nothing to the graph, so a step costs the same. Steps
    that run eagerly have no graph and are not checked.

    Without its model, a layer cannot list what trains. Then each variable that is reached counts,
    unless it is known not to train: as one of the layer, or of a functional model before it. So
    frozen layers of a subclassed `keras.Model` are not noticed.

    Args:
        layer: The physics layer.
        losses: The unweighted loss of each term, as traced.
        model: The model that trains; `None` where the layer adds its losses by itself.
    """
    if keras.backend.backend() != "tensorflow":
        return
    known = _warned.setdefault(layer, set())
    for name, loss in losses.items():
        if name in known or not _is_traced(loss) or not _is_on(layer.weight_variable(name)):
            continue
        handles = _not_fixed(layer, loss) if model is None else _trained(model, loss)
        if handles is None:
            continue
        if not _reaches(loss, handles):
            known.add(name)
            of = f"layer '{layer.name}'" if model is None else f"model '{model.name}'"
            warnings.warn(
                f"Physics term '{name}' of {of} has a weight above 0 and trains nothing: no "
                "gradient of it reaches the network or a constant. Compute its output from the "
                "`prediction` argument with `keras.ops`: no NumPy, no prediction made outside and "
                "captured, no integer cast, no `stop_gradient`. Layers and constants with "
                "`trainable=False` do not count. Run `keras_physreg.diagnose` for details.",
                stacklevel=2,
            )


def _is_traced(loss: Any) -> bool:
    return tf.is_symbolic_tensor(loss) and hasattr(loss.graph, "captures")


def _is_on(weight: keras.Variable) -> bool:
    if not hasattr(weight.value, "handle"):
        return False  # A `StatelessScope` replaces variables: there is no graph back to them.
    with tf.init_scope():
        return float(weight.numpy()) > 0


def _trained(model: keras.Model, loss: Any) -> set[str] | None:
    """Returns the tensors by which a graph reads what a model trains, by name."""
    variables = model.trainable_variables
    return _read_in(loss.graph, variables) if variables else None


def _not_fixed(layer: Any, loss: Any) -> set[str] | None:
    """Returns what a graph takes from outside, but for constants and variables known to be fixed.

    What another graph computed may depend on variables that train. `None` where the graph reads no
    variable but those of the layer: Keras first runs an unbuilt model on symbolic tensors, where
    its variables have no values yet.
    """
    behind = [*variables_behind(layer), *layer.variables]
    fixed = _read_in(loss.graph, [v for v in behind if not v.trainable])
    own = _read_in(loss.graph, layer.variables)
    taken = {
        inside.name
        for outside, inside in loss.graph.captures
        if inside.dtype == tf.resource or tf.is_symbolic_tensor(outside)
    }
    return taken - fixed if taken - own else None


def _read_in(graph: Any, variables: Iterable[keras.Variable]) -> set[str]:
    """Returns the names of the tensors by which a graph reads variables."""
    wanted = {id(v.value.handle) for v in variables if hasattr(v.value, "handle")}
    return {inside.name for outside, inside in graph.captures if id(outside) in wanted}


def _reaches(loss: Any, handles: set[str]) -> bool:
    """Returns whether a gradient of the loss reaches one of the tensors."""
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
