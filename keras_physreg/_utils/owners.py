"""Which layer a variable belongs to, and which layers are nested in a layer.

Keras has no public walk through layers nested in layers, but lists all their variables: these
lead back to the layers that registered them.
"""

import weakref
from typing import Any, TypeVar

import keras

_owner_of_variable: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
Owner = TypeVar("Owner")


def register_owner(variable: keras.Variable, owner: keras.layers.Layer) -> None:
    """Notes that a variable leads back to this layer."""
    _owner_of_variable[id(variable)] = owner


def owners(layer: keras.layers.Layer, kind: type[Owner]) -> list[Owner]:
    """Returns the layers of a class in a layer or model, at any depth, each once, in order."""
    found = (_owner_of_variable.get(id(variable)) for variable in layer.variables)
    return list({id(owner): owner for owner in found if isinstance(owner, kind)}.values())


def with_sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a layer and all layers that its attributes hold, those without variables, too."""
    found: dict[int, keras.layers.Layer] = {}
    waiting: list[Any] = [layer]
    while waiting:
        value = waiting.pop()
        if isinstance(value, keras.layers.Layer) and id(value) not in found:
            found[id(value)] = value
            waiting += vars(value).values()
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return list(found.values())
