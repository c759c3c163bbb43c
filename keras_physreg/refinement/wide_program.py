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
    inputs = [tensor.op.name for tensor in program.inputs]
    outputs = [tensor.name for tensor in program.outputs]
    captured = [_in_float64(tensor) for tensor in program.captured_inputs]
    used = {name.split(":")[0] for node in graph.node for name in node.input}
    _remove(graph, inputs)
    _register_functions(graph)

    def run(*arguments: Any) -> list[Any]:
        given = zip(inputs, (*arguments, *captured), strict=True)
        feeds = {f"{n}:0": tf.identity(_in_float64(value)) for n, value in given if n in used}
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


def _remove(graph: Any, names: list[str]) -> None:
    """Removes operations from a graph: the placeholders that are fed, which XLA cannot compile."""
    nodes = [node for node in graph.node if node.name not in names]
    del graph.node[:]
    graph.node.extend(nodes)


def _register_functions(graph: Any) -> None:
    """Makes the functions that a program calls known to TensorFlow."""
    library = type(graph)()
    library.versions.CopyFrom(graph.versions)
    library.library.CopyFrom(graph.library)
    tf.graph_util.import_graph_def(library, name="float64")


def _widened(graph: Any) -> Any:
    wide = type(graph)()
    wide.CopyFrom(graph)
    functions = wide.library.function
    # TensorFlow knows the functions of the program by their names, which must be new.
    names = {f.signature.name: f"{f.signature.name}_in_float64" for f in functions}
    nodes = list(wide.node)
    for function in functions:
        nodes += function.node_def
        function.signature.name = names[function.signature.name]
        for argument in [*function.signature.input_arg, *function.signature.output_arg]:
            argument.type = _wide(argument.type)
            argument.ClearField("experimental_full_type")
    for gradient in wide.library.gradient:
        gradient.function_name = names[gradient.function_name]
        gradient.gradient_func = names[gradient.gradient_func]
    for node in nodes:
        node.op = names.get(node.op, node.op)
        node.ClearField("experimental_type")
        for value in node.attr.values():
            _widen(value, names)
    return wide


def _widen(value: Any, names: dict[str, str]) -> None:
    """Widens the value of one attribute of an operation, and renames the functions in it."""
    kind = value.WhichOneof("value")
    if kind == "type":
        value.type = _wide(value.type)
    elif kind == "list":
        value.list.type[:] = [_wide(each) for each in value.list.type]
    elif kind == "tensor" and value.tensor.dtype != _wide(value.tensor.dtype):
        array = tf.make_ndarray(value.tensor).astype("float64")
        value.tensor.CopyFrom(tf.make_tensor_proto(array))
    called = value.list.func if kind == "list" else [value.func] if kind == "func" else []
    for function in called:
        function.name = names.get(function.name, function.name)


def _wide(number: int) -> int:
    narrow = (tf.float16, tf.bfloat16, tf.float32)
    return tf.float64.as_datatype_enum if tf.as_dtype(number) in narrow else number
