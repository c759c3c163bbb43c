"""SharedRun: one compiled function that several programs run at once, on their own variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf


class SharedRun:
    """Compiles a function whose variables become arguments, so that others can replace them.

    A `tf.function` is compiled anew for other variables that it reads from outside, but not for
    other arguments of the same shapes. TensorFlow runs it in several threads at once.

    Args:
        function: A function of structures of tensors, which reads and assigns variables.
        variables: The variables that a call replaces; all others stay those of the function.
        jit: Whether to compile with XLA.
        on_device: Returns a context in which the function is traced.
    """

    def __init__(
        self,
        function: Callable,
        variables: Sequence[keras.Variable],
        jit: bool,
        on_device: Callable[[], AbstractContextManager],
    ) -> None:
        self._function, self._on_device = function, on_device
        self._handles = [variable.value.handle for variable in variables]
        self._run = tf.function(self._traced, autograph=False, jit_compile=jit)

    @property
    def compiles(self) -> int:
        """How often the function was compiled: once, unless its inputs change in shape."""
        return self._run.experimental_get_tracing_count()

    def trace(self, variables: Sequence[keras.Variable], *arguments: Any) -> None:
        """Traces the function for arguments of these shapes, without running it."""
        self._run.get_concrete_function([v.value for v in variables], arguments)

    def __call__(self, variables: Sequence[keras.Variable], *arguments: Any) -> Any:
        """Runs the function on these variables, in the order of those that they replace."""
        return self._run([v.value for v in variables], arguments)

    def _traced(self, variables: list[Any], arguments: Any) -> Any:
        specs = tf.nest.map_structure(_spec, arguments)
        with self._on_device():
            traced = tf.function(self._function, autograph=False).get_concrete_function(*specs)
        positions = {id(handle): i for i, handle in enumerate(self._handles)}
        captured = [
            variables[positions[id(tensor)]].handle if id(tensor) in positions else tensor
            for tensor in traced.captured_inputs
        ]
        given = [tensor for tensor in tf.nest.flatten(arguments) if tensor is not None]
        with self._on_device():
            outputs = tf.raw_ops.StatefulPartitionedCall(
                args=[*given, *captured], Tout=[tensor.dtype for tensor in traced.outputs], f=traced
            )
        return tf.nest.pack_sequence_as(traced.structured_outputs, outputs)


def _spec(tensor: Any) -> Any:
    return None if tensor is None else tf.TensorSpec(tensor.shape, tensor.dtype)
