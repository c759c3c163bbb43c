"""Two ways to run a function on every replica inside a program."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def stacked(function: Callable, values: Any) -> Any:
    """Runs all replicas at once, each operation on all of them."""
    return tf.vectorized_map(function, values, fallback_to_while_loop=True, warn=False)


def in_turn(function: Callable, values: Any) -> Any:
    """Runs the replicas one after the other, inside the program."""
    return tf.map_fn(function, values, fn_output_signature=_signature(function, values))


def _signature(function: Callable, values: Any) -> Any:
    one = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), values)
    traced = tf.function(function, autograph=False).get_concrete_function(one)
    return tf.nest.map_structure(
        lambda t: tf.TensorSpec(t.shape, t.dtype), traced.structured_outputs
    )
