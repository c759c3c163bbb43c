"""What physics layers do with constants: log their values, and refuse those that never train."""

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

from keras import ops

from keras_physreg._utils import serialization
from keras_physreg._utils.user_errors import unwrapped
from keras_physreg.constants.constant import Constant


def check_no_constants(function: Callable) -> None:
    """Raises where physics that is no layer uses a constant: that would never train."""
    for name, value in _around(function).items():
        if isinstance(value, Constant) and value.trainable:
            raise ValueError(
                f"The physics function `{serialization.display_name(function)}` uses the constant "
                f"'{value.name}' (as `{name}`), which would not train there: Keras finds variables "
                "in layers only. Write the physics as a `keras.layers.Layer` that holds the "
                "constant as an attribute."
            )


def _around(function: Any) -> dict[str, Any]:
    """Returns what a callable uses beside its arguments, by name, as far as Python tells."""
    if isinstance(function, functools.partial):
        given = {f"argument {place}": value for place, value in enumerate(function.args)}
        return {**given, **function.keywords, **_around(function.func)}
    inner = unwrapped(function)
    owner = getattr(inner, "__self__", None) if inspect.ismethod(inner) else inner
    held = {} if inspect.isfunction(owner) else dict(getattr(owner, "__dict__", {}))
    if isinstance(inner, type):
        return {}
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    try:
        around = inspect.getclosurevars(inner)
    except (TypeError, ValueError):  # No Python function, or one that is not complete yet.
        return held
    return {**held, **around.globals, **around.nonlocals}


def names_of_constants(
    constants: Sequence[Constant], taken: Collection[str], layer: str
) -> dict[str, Constant]:
    """Returns the constants by their names in the logs; raises where names collide.

    Args:
        constants: The constants of a physics layer.
        taken: Names in the logs that stand for something else.
        layer: Name of the layer, for messages.
    """
    owners: dict[str, Constant] = {}
    for constant in constants:
        for name in constant.log_names or [constant.name]:
            if name in taken or name in owners:
                raise ValueError(
                    f"Constant '{constant.name}' in the physics of layer '{layer}' would be logged "
                    f"as '{name}', as another constant or a term is. Give it another `name`."
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
