"""Checks of the options `where`, `at`, `trains` and `mask` of a term."""

import inspect
from typing import Any

import keras

from keras_physreg._utils.errors import received

AT_VALUES = ("prediction", "labels")
TRAINS_VALUES = (None, "network", "constants")


def check_options(term: str, where: Any, at: Any, trains: Any, mask: Any) -> None:
    """Raises unless the options of a term are valid and do not contradict each other.

    Args:
        term: Name of the term, for messages.
        where: Function of the inputs, or `None`.
        at: `"prediction"` or `"labels"`.
        trains: `"network"`, `"constants"` or `None`.
        mask: `True` or `False`.

    Raises:
        TypeError: If `where` is not a function of one argument, or `mask` not a boolean.
        ValueError: If `at` or `trains` is unknown, or they contradict each other.
    """
    of = f"of physics term '{term}'"
    if where is not None and (
        not callable(where) or inspect.isclass(where) or isinstance(where, keras.Layer)
    ):
        raise TypeError(
            f"`where` {of} must be a function of the inputs that returns one value per row: "
            "whether it counts, or a weight >= 0. To use values that the physics computes, return "
            f"`keras_physreg.on_rows(output, where)` there. {received('where', where)}"
        )
    if where is not None and not _takes_one_argument(where):
        raise TypeError(
            f"`where` {of} is called with one argument, the inputs, and not with the prediction. "
            "To use that, return `keras_physreg.on_rows(output, where)` from the physics. "
            f"{received('where', where)}"
        )
    if at not in AT_VALUES:
        raise ValueError(f"`at` {of} must be 'prediction' or 'labels'. {received('at', at)}")
    if trains not in TRAINS_VALUES:
        raise ValueError(
            f"`trains` {of} must be None (all), 'network' or 'constants'. "
            + received("trains", trains)
        )
    if at == "labels" and trains == "network":
        raise ValueError(
            f"Physics term '{term}' has `at='labels'` and `trains='network'`: at the labels there "
            "is no prediction, so the term can train constants only. Leave one of the two out."
        )
    if not isinstance(mask, bool):
        raise TypeError(f"`mask` {of} must be True or False. {received('mask', mask)}")


def _takes_one_argument(function: Any) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # Built-in functions may have none.
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True
