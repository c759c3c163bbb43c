"""The user's own functions and classes that a model uses, found by walking through its objects."""

from __future__ import annotations

import contextlib
import gc
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_physreg._utils.names import duplicates

# Packages whose functions a worker finds by name, and into whose objects the search does not go.
CONTAINERS = (dict, list, tuple, set, frozenset, types.MethodType, types.CellType)
CLOSED = ("tensorflow", "numpy", "h5py", "builtins")
INSTALLED = (*CLOSED, "keras", "keras_physreg")
LEAVES = (type, types.ModuleType, types.CodeType, types.FrameType, str, bytes, int, float)
ALIAS = "function_{}_by_value"


class UserObjects:
    """The user's own functions and classes that are reached from a model.

    Args:
        model: A Keras model.
    """

    def __init__(self, model: keras.Model) -> None:
        functions: dict[int, types.FunctionType] = {}
        self.classes: list[type] = []
        for found in _reached(model):
            if isinstance(found, types.FunctionType):
                if _package(found.__module__) not in INSTALLED:
                    functions[id(found)] = found
            elif _is_of_user(type(found)) and type(found) not in self.classes:
                self.classes.append(type(found))
        self.functions = list(functions.values())

    @contextlib.contextmanager
    def named(self) -> Iterator[dict[str, Any]]:
        """Gives each function a name of its own during the block: Keras saves functions by name.

        Two functions may have one name, and every lambda has the same.

        Yields:
            The objects by the names under which Keras saves them.
        """
        self._check_classes()
        names = [function.__name__ for function in self.functions]
        try:
            yield self.name()
        finally:
            for function, name in zip(self.functions, names, strict=True):
                function.__name__ = name

    def name(self) -> dict[str, Any]:
        """Gives each function a name of its own, and returns the objects by these names."""
        objects: dict[str, Any] = {}
        for kind in self.classes:
            objects |= dict.fromkeys(_class_names(kind), kind)
        for number, function in enumerate(self.functions):
            if not _is_registered(function):
                function.__name__ = ALIAS.format(number)
            objects[keras.saving.get_registered_name(function)] = function
        return objects

    def _check_classes(self) -> None:
        """Raises if Keras could take one class for another: it saves them by name, too."""
        if both := duplicates([kind.__name__ for kind in self.classes]):
            raise ValueError(f"two different classes have the name {both[0]}")

    def explained(self, text: str) -> str:
        """Returns a text in which the functions have their own names again."""
        for number, function in reversed([*enumerate(self.functions)]):
            text = text.replace(ALIAS.format(number), function.__name__)
        return text


def _reached(model: keras.Model) -> Iterator[Any]:
    """Yields the objects that are reached from a model, as far as they may hold the user's own."""
    seen: dict[int, Any] = {id(model): model}  # It holds the objects, so that no id is given again.
    waiting: list[Any] = [model]
    while waiting:
        found = waiting.pop()
        yield found
        if isinstance(found, types.FunctionType) or not _is_open(found):
            continue
        for other in gc.get_referents(found):
            if id(other) not in seen and not isinstance(other, LEAVES):
                seen[id(other)] = other
                waiting.append(other)


def _is_open(value: Any) -> bool:
    if isinstance(value, (*CONTAINERS, Mapping)):
        return True
    return _package(type(value).__module__) not in CLOSED


def _is_of_user(kind: type) -> bool:
    return _package(kind.__module__) not in INSTALLED and hasattr(kind, "get_config")


def _class_names(kind: type) -> set[str]:
    return {kind.__name__, keras.saving.get_registered_name(kind)}


def _is_registered(function: Any) -> bool:
    name = keras.saving.get_registered_name(function)
    return keras.saving.get_registered_object(name) is function


def _package(module: str | None) -> str:
    return (module or "").split(".")[0]
