"""Finds the layer that owns a variable, and the layers nested in a layer.

Keras has no public way to list the layers nested in a layer, but it lists their variables. A layer
that registers a variable here can therefore be found from any layer or model around it.
"""

import weakref
from typing import Any, TypeVar

import keras

_owner_of_variable: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
Owner = TypeVar("Owner")


def register_owner(variable: keras.Variable, owner: keras.layers.Layer) -> None:
    """Registers the layer that owns a variable."""
    _owner_of_variable[id(variable)] = owner


def owners(layer: keras.layers.Layer, kind: type[Owner]) -> list[Owner]:
    """Returns the registered layers of one class in a layer or model, at any depth.

    Args:
        layer: Layer or model to search.
        kind: Class of the layers to return.

    Returns:
        The layers in the order of `layer.variables`, each once.
    """
    found = (_owner_of_variable.get(id(variable)) for variable in layer.variables)
    return list({id(owner): owner for owner in found if isinstance(owner, kind)}.values())


def with_sublayers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a layer and all layers nested in its attributes, with or without variables."""
    return [part for part in _parts(layer) if isinstance(part, keras.layers.Layer)]


def stateful_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers nested in a layer that carry state from one batch to the next."""
    return [part for part in with_sublayers(layer) if getattr(part, "stateful", False)]


def seed_generators(layer: keras.layers.Layer) -> list[keras.random.SeedGenerator]:
    """Returns the generators of seeds in a layer, and in all layers nested in its attributes."""
    return [part for part in _parts(layer) if isinstance(part, keras.random.SeedGenerator)]


def _parts(layer: keras.layers.Layer) -> list[Any]:
    """Returns a layer with all layers and generators of seeds nested in its attributes."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [layer]
    while waiting:
        value = waiting.pop()
        if isinstance(value, keras.random.SeedGenerator):
            found[id(value)] = value
        elif isinstance(value, keras.layers.Layer) and id(value) not in found:
            found[id(value)] = value
            waiting += vars(value).values()
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return list(found.values())
