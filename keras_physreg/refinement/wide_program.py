"""Rewrites a traced program so that it computes in float64.

A model in float32 casts to float32 in each of its layers, and a constant in the user's physics is a
float32 tensor once it is traced. The program that TensorFlow traced is data, though: here every
floating type in it becomes float64. Its formula stays the same, and so do its constants, as they
were rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_physreg._utils.backend import tensorflow as tf


def in_float64(program: Any, jit_compile: bool | None = None) -> Callable:
    """Returns a program that computes the same in float64.

    Args:
        program: A concrete function of tensors.
        jit_compile: Whether to compile the new program with XLA.

    Returns:
        A function of the same arguments, with floating ones in float64, that returns the outputs
        of `program` in a flat list.

    Raises:
        Exception: If TensorFlow cannot run the program in float64, here or in the first call: it
            reads a floating variable, or has an operation for float32 only.
    """
    graph = _widened(program.graph.as_graph_def())
    names = [tensor.name for tensor in program.inputs]
    outputs = [tensor.name for tensor in program.outputs]
    captured = [_in_float64(tensor) for tensor in program.captured_inputs]

    def run(*arguments: Any) -> list[Any]:
        feeds = dict(zip(names, [*map(_in_float64, arguments), *captured], strict=True))
        return tf.graph_util.import_graph_def(
            graph, input_map=feeds, return_elements=outputs, name="float64"
        )

    return tf.function(run, autograph=False, jit_compile=jit_compile)


def operations(program: Any) -> set[str]:
    """Returns the types of the operations in a program and the functions that it calls."""
    graph = program.graph.as_graph_def()
    functions = (node for function in graph.library.function for node in function.node_def)
    return {node.op for node in (*graph.node, *functions)}


def _in_float64(tensor: Any) -> Any:
    floats = (tf.float16, tf.bfloat16, tf.float32)
    return tf.cast(tensor, tf.float64) if tensor.dtype in floats else tensor


def _widened(graph: Any) -> Any:
    wide = type(graph)()
    wide.CopyFrom(graph)
    nodes = list(wide.node)
    for function in wide.library.function:
        nodes += function.node_def
        for argument in [*function.signature.input_arg, *function.signature.output_arg]:
            argument.type = _wide(argument.type)
            argument.ClearField("experimental_full_type")
    for node in nodes:
        node.ClearField("experimental_type")
        for value in node.attr.values():
            _widen(value)
    return wide


def _widen(value: Any) -> None:
    """Widens the value of one attribute of an operation."""
    kind = value.WhichOneof("value")
    if kind == "type":
        value.type = _wide(value.type)
    elif kind == "list":
        value.list.type[:] = [_wide(each) for each in value.list.type]
    elif kind == "tensor" and value.tensor.dtype != _wide(value.tensor.dtype):
        array = tf.make_ndarray(value.tensor).astype("float64")
        value.tensor.CopyFrom(tf.make_tensor_proto(array))


def _wide(number: int) -> int:
    narrow = (tf.float16, tf.bfloat16, tf.float32)
    return tf.float64.as_datatype_enum if tf.as_dtype(number) in narrow else number
