"""The physics of a layer: one function for all terms, or one function per term."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_physreg._utils import serialization
from keras_physreg._utils.errors import did_you_mean, received
from keras_physreg.constants.constant import Constant, find_constants
from keras_physreg.layers.build_physics import (
    build_physics,
    compute_in_float32,
    is_built,
)
from keras_physreg.layers.constant_logs import check_no_constants

BY_TERM = "physics_by_term"  # Key of a configuration with one function per term.


class PhysicsFunctions:
    """Functions or layers `(inputs, prediction) -> outputs`, by the term that they compute.

    Args:
        physics: A function or layer that computes all terms; or a dict with one per term, each of
            which returns the output of its term alone.
        term_names: Names of the terms.

    Raises:
        TypeError: If a function is not callable.
        ValueError: If the keys of a dict are not the terms, or a function uses a `Constant`.
    """

    def __init__(self, physics: Any, term_names: Sequence[str]) -> None:
        self.is_by_term = isinstance(physics, Mapping)
        if self.is_by_term:
            _check_keys(physics, term_names)
        self._by_term = {n: physics[n] if self.is_by_term else physics for n in term_names}
        for name, function in self._by_term.items():
            _check_callable(function, f"physics[{name!r}]" if self.is_by_term else "physics")
        for function in self:
            if isinstance(function, keras.layers.Layer):
                compute_in_float32(function)
            else:
                check_no_constants(function)

    def __iter__(self) -> Iterator[Any]:
        """Yields each function and layer once."""
        yield from {id(function): function for function in self._by_term.values()}.values()

    def __getitem__(self, term: str) -> Any:
        """Returns the function or layer that computes a term."""
        return self._by_term[term]

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The functions that are layers."""
        return [function for function in self if isinstance(function, keras.layers.Layer)]

    @property
    def constants(self) -> list[Constant]:
        """The `Constant`s of all layers, each once."""
        found = [constant for layer in self.layers for constant in find_constants(layer)]
        return list({id(constant): constant for constant in found}.values())

    def served_with(self, term: str) -> list[str]:
        """Returns the other terms that the same call of the physics computes."""
        return [] if self.is_by_term else [name for name in self._by_term if name != term]

    def build(self, inputs: Any, prediction: Any) -> bool:
        """Calls layers that are not built on symbolic tensors; returns whether there were any."""
        new = [layer for layer in self.layers if not is_built(layer)]
        for layer in new:
            build_physics(layer, inputs, prediction)
        return bool(new)

    def serialize(self, layer: str) -> Any:
        """Returns the configuration; raises `ValueError` if a function could not be loaded."""
        if not self.is_by_term:
            function = next(iter(self))
            return serialization.serialize(function, f"the physics of layer '{layer}'")
        found: dict[str, Any] = {}
        first: dict[int, str] = {}
        for name, function in self._by_term.items():
            what = f"the physics of term '{name}' of layer '{layer}'"
            known = first.setdefault(id(function), name)  # One object stays one object.
            found[name] = known if known != name else serialization.serialize(function, what)
        return {BY_TERM: found}


def deserialize_physics(config: Any) -> Any:
    """Returns the physics that `PhysicsFunctions.serialize` has described."""
    if not isinstance(config, dict) or BY_TERM not in config:
        return keras.saving.deserialize_keras_object(config)
    parts = config[BY_TERM]
    loaded = {
        name: keras.saving.deserialize_keras_object(part)
        for name, part in parts.items()
        if not isinstance(part, str)
    }
    return {name: loaded[part if isinstance(part, str) else name] for name, part in parts.items()}


def _check_keys(physics: Mapping[str, Callable], term_names: Sequence[str]) -> None:
    missing = [name for name in term_names if name not in physics]
    unknown = [name for name in physics if name not in term_names]
    if missing or unknown:
        raise ValueError(
            "A dict of `physics` must have one function per term, by the term's name."
            + (f" Missing: {missing}." if missing else "")
            + (f" Without a term: {unknown}." if unknown else "")
            + "".join(did_you_mean(name, missing) for name in unknown)
            + f" Received: {list(physics)}. Terms: {list(term_names)}."
        )


def _check_callable(function: Any, name: str) -> None:
    is_class = isinstance(function, type) and issubclass(function, keras.layers.Layer)
    if is_class or not callable(function):
        raise TypeError(
            f"`{name}` must be a function `(inputs, prediction) -> outputs` or a Keras layer"
            f"{', an instance and not its class' if is_class else ''}. {received(name, function)}"
        )
