"""A digest of a graph, by which graphs are compared that were traced at different times."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

# Attributes that differ between equal graphs: a count of gradients, and names of nodes.
LEFT_OUT = ("_gradient_op_type", "_class", "_user_specified_name")


def digest(graph: Any) -> bytes:
    """Returns a digest of the operations of a `tf.Graph` and of the functions that it calls.

    Names of nodes and functions, which count up through a process, do not enter it.
    """
    definition = graph.as_graph_def()
    functions = _Functions(definition.library)
    hashed = hashlib.sha256()
    _hash_nodes(hashed, definition.node, {}, functions)
    for function in functions.called:  # It grows while functions are hashed that call others.
        _hash_function(hashed, function, functions)
    return hashed.digest()


class _Functions:
    """The functions of a graph, numbered in the order in which they are called.

    Args:
        library: A `FunctionDefLibrary`.
    """

    def __init__(self, library: Any) -> None:
        self.called: list[Any] = []
        self._by_name = {function.signature.name: function for function in library.function}
        self._numbers: dict[str, str] = {}

    def number(self, name: str) -> str:
        """Returns what stands for the name of a function; other text is returned unchanged."""
        if name not in self._by_name:
            return name
        if name not in self._numbers:
            self._numbers[name] = f"function{len(self._numbers)}"
            self.called.append(self._by_name[name])
        return self._numbers[name]


def _hash_function(hashed: Any, function: Any, functions: _Functions) -> None:
    signature = function.signature
    names = {argument.name: f"input{i}" for i, argument in enumerate(signature.input_arg)}
    hashed.update(repr([argument.type for argument in signature.input_arg]).encode())
    _hash_nodes(hashed, function.node_def, names, functions)
    results = [function.ret[argument.name] for argument in signature.output_arg]
    results += [function.control_ret[name] for name in signature.control_output]
    hashed.update(repr([_renamed(result, names) for result in results]).encode())


def _hash_nodes(
    hashed: Any, nodes: Iterable[Any], names: dict[str, str], functions: _Functions
) -> None:
    nodes = list(nodes)
    names |= {node.name: f"node{i}" for i, node in enumerate(nodes)}
    for node in nodes:
        node.name = names[node.name]
        node.op = functions.number(node.op)
        node.input[:] = [_renamed(source, names) for source in node.input]
        for name in LEFT_OUT:
            node.attr.pop(name, None)
        for name in sorted(node.attr):
            _renumber(node.attr[name], functions.number)
        node.ClearField("experimental_debug_info")
        hashed.update(node.SerializeToString(deterministic=True))


def _renumber(attribute: Any, number: Callable[[str], str]) -> None:
    """Replaces the names of functions in the attribute of a node."""
    kind = attribute.WhichOneof("value")
    if kind == "func":
        attribute.func.name = number(attribute.func.name)
    elif kind == "s":
        attribute.s = _numbered_text(attribute.s, number)
    elif kind == "list":
        for function in attribute.list.func:
            function.name = number(function.name)


def _numbered_text(text: bytes, number: Callable[[str], str]) -> bytes:
    try:
        return number(text.decode()).encode()
    except UnicodeDecodeError:
        return text


def _renamed(source: str, names: dict[str, str]) -> str:
    """Returns the source of a node's input, such as `"^name"` or `"name:1"`, by the new name."""
    control, name = ("^", source[1:]) if source.startswith("^") else ("", source)
    name, *rest = name.split(":")
    return control + ":".join([names.get(name, name), *rest])
