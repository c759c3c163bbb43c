"""Logs the constants of a physics layer, and refuses constants that would never train."""

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

from keras import ops

from keras_physreg._utils import serialization
from keras_physreg._utils.user_errors import unwrapped
from keras_physreg.constants.constant import Constant


def check_no_constants(function: Callable) -> None:
    """Raises if a physics function, which is no layer, uses a constant: it would never train."""
    for name, value in _values_used_by(function).items():
        if isinstance(value, Constant) and value.trainable:
            raise ValueError(
                f"The physics function `{serialization.display_name(function)}` uses the constant "
                f"'{value.name}' (as `{name}`), which would not train: Keras finds variables in "
                "layers only. Write the physics as a `keras.layers.Layer` that has the constant as "
                "an attribute."
            )


def _values_used_by(function: Any) -> dict[str, Any]:
    """Returns the bound arguments, attributes, globals and closure of a callable, by name."""
    if isinstance(function, functools.partial):
        given = {f"argument {number}": value for number, value in enumerate(function.args)}
        return {**given, **function.keywords, **_values_used_by(function.func)}
    inner = unwrapped(function)
    owner = getattr(inner, "__self__", None) if inspect.ismethod(inner) else inner
    held = {} if inspect.isfunction(owner) else dict(getattr(owner, "__dict__", {}))
    if isinstance(inner, type):
        return {}
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    try:
        around = inspect.getclosurevars(inner)
    except (TypeError, ValueError):  # Not a Python function, or one with an empty closure cell.
        return held
    return {**held, **around.globals, **around.nonlocals}


def constants_by_log_name(
    constants: Sequence[Constant], taken: Collection[str], layer: str
) -> dict[str, Constant]:
    """Returns the constants by their names in the logs; raises if names collide.

    Args:
        constants: The constants of a physics layer.
        taken: Names in the logs that are already in use.
        layer: Name of the layer, for messages.
    """
    owners: dict[str, Constant] = {}
    for constant in constants:
        for name in constant.log_names or [constant.name]:
            if name in taken or name in owners:
                raise ValueError(
                    f"Constant '{constant.name}' in the physics of layer '{layer}' would be logged "
                    f"as '{name}', like another constant or a term. Give it another `name`."
                )
            owners[name] = constant
    return {name: owner for name, owner in owners.items() if name in owner.log_names}


def logged_values(constants: Sequence[Constant]) -> dict[str, Any]:
    """Returns the values of the constants by their names in the logs."""
    values: dict[str, Any] = {}
    for constant in filter(lambda constant: constant.log_names, constants):
        names, value = constant.log_names, ops.reshape(constant(), (-1,))
        values |= dict(zip(names, ops.unstack(value, len(names)), strict=True))
    return values
