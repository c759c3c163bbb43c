"""Partial derivatives of any network, by differentiation of the network as a whole.

On TensorFlow by nested gradient tapes, on JAX by nested forward mode.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.derivatives.columns import basis, joined
from keras_physreg.derivatives.multi_index import with_lower

Columns = dict[str, Any]
NO_GRADIENT = "XlaDynamicUpdateSlice"


def derivatives(
    network: Callable[[Columns], Any], columns: Columns, indices: Sequence[str], layer: str
) -> dict[str, Any]:
    """Returns the output of a network, by "", and its partial derivatives, by multi-index.

    Args:
        network: Function from tensors `(rows, 1)` by input name to a tensor `(rows, components)`.
        columns: These tensors.
        indices: The multi-indices; their lower ones are returned, too.
        layer: Name of the layer, for messages.

    Raises:
        LookupError: If XLA compiles the network and it joins tensors of unknown size.
        NotImplementedError: If Keras runs on another backend than TensorFlow or JAX.
    """
    wanted = with_lower(indices)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        try:
            parts = _by_tapes(network, columns, wanted, max(map(len, wanted)))
        except LookupError as error:
            explain_lookup(error, f"Derivatives layer '{layer}'")
            raise
        return {index: joined(found) for index, found in parts.items()}
    if backend == "jax":
        return _by_jvp(network, columns, wanted)
    raise NotImplementedError(
        "`Derivatives` of a network with layers for which it has no rules needs the TensorFlow or "
        f"JAX backend, but Keras runs on '{backend}'. Build the network of Dense layers with "
        "smooth activations, or choose another backend."
    )


def _by_tapes(
    network: Callable[[Columns], Any], columns: Columns, wanted: Sequence[str], order: int
) -> dict[str, list[Any]]:
    """Returns derivatives up to an order, each as a list of its components of shape (rows, 1)."""
    if not order:
        output = network(columns)
        one_hot = basis(output.shape[-1], output.dtype)
        return {"": [ops.sum(output * row, axis=-1, keepdims=True) for row in one_hot]}
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(columns)
        lower = _by_tapes(network, columns, wanted, order - 1)
    found = dict(lower)
    for index in wanted:
        if len(index) == order:
            found[index] = [
                tape.gradient(part, columns[index[-1]], unconnected_gradients="zero")
                for part in lower[index[:-1]]
            ]
    return found


def _by_jvp(
    network: Callable[[Columns], Any], columns: Columns, wanted: Sequence[str]
) -> dict[str, Any]:
    import jax

    def by(letter: str, function: Callable[[Columns], Any]) -> Callable[[Columns], Any]:
        def derivative(at: Columns) -> Any:
            column = at[letter]
            along = ops.ones_like(column)
            return jax.jvp(lambda c: function({**at, letter: c}), (column,), (along,))[1]

        return derivative

    functions = {"": network}
    for index in wanted[1:]:
        functions[index] = by(index[-1], functions[index[:-1]])
    return {index: function(columns) for index, function in functions.items()}


def explain_lookup(error: LookupError, subject: str) -> None:
    """Raises an error that names the cure if TensorFlow has no further derivative of a slice.

    The derivative of a concatenation of tensors of unknown size is a slice; under XLA, TensorFlow
    can differentiate the latter once, and no more.

    Args:
        error: What TensorFlow raised.
        subject: What was differentiated, for the message.
    """
    if NO_GRADIENT not in str(error):
        return
    raise LookupError(
        f"{subject}: the network joins tensors (`keras.ops.concatenate`) or takes a `tf.slice` in "
        "its `call`, and TensorFlow cannot differentiate that several times where XLA compiles a "
        "batch of unknown size (`jit_compile=True`). Build the network as a functional model of "
        "layers, for which `keras_physreg.Derivatives` has rules; or use a batch size that divides "
        "the number of rows, so that it is known; or compile with `jit_compile=False`; or join "
        f"columns `a` and `b` as `a * [[1.0, 0.0]] + b * [[0.0, 1.0]]`. TensorFlow says: {error}"
    ) from error
