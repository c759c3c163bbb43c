"""Finds out from the code of physics whether it calls `on_rows`."""

from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import keras

from keras_physreg._utils.user_errors import unwrapped
from keras_physreg.terms.on_rows import OnRows, on_rows

LIBRARIES = ("keras", "tensorflow", "numpy", "jax", "torch", "builtins")


def uses_on_rows(physics: Any) -> bool:
    """Returns whether `on_rows` occurs in the code of physics, or of functions that it calls.

    Args:
        physics: Function, callable object or Keras layer.
    """
    waiting, seen = [physics], set()
    while waiting:
        value = unwrapped(waiting.pop())
        value = getattr(value, "__func__", value)  # The function of a bound method.
        if value is on_rows or value is OnRows:
            return True
        if id(value) not in seen:
            seen.add(id(value))
            functions = [value] if isinstance(value, FunctionType) else [*_methods(value)]
            for function in functions:
                names = {*_names(function.__code__)}
                if "on_rows" in names:
                    return True
                waiting += [v for v in _reached(function, names) if _is_of_user(v)]
    return False


def _methods(value: Any) -> Iterator[FunctionType]:
    for kind in type(value).__mro__:
        if _is_of_user(kind):
            yield from (f for f in vars(kind).values() if isinstance(f, FunctionType))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _reached(function: FunctionType, names: set[str]) -> Iterator[Any]:
    yield from (function.__globals__[name] for name in names if name in function.__globals__)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # An empty cell.
            continue


def _is_of_user(value: Any) -> bool:
    if isinstance(value, ModuleType | keras.Variable):
        return False
    module = getattr(value, "__module__", None) or type(value).__module__
    return module.split(".")[0] not in LIBRARIES
