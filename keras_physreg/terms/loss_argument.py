"""Checks of arguments that are a Keras loss."""

import inspect
from typing import Any

import keras

from keras_physreg._utils.errors import received


def check_loss(loss: Any, of: str) -> None:
    """Raises unless an argument is a Keras loss.

    Args:
        loss: Name of a Keras loss, `keras.losses.Loss` or function `(y_true, y_pred)`.
        of: What has the argument, for messages: "of physics term 'x'".

    Raises:
        TypeError: If it is something else.
        ValueError: If there is no Keras loss of this name.
    """
    if isinstance(loss, str):
        _check_name(loss, of)
    elif inspect.isclass(loss):
        raise TypeError(
            f"`loss` {of} must be an instance, not a class: `{loss.__name__}()`. "
            + received("loss", loss)
        )
    elif isinstance(loss, keras.metrics.Metric | keras.Layer):
        what = "metric" if hasattr(loss, "update_state") else "layer"
        raise TypeError(
            f"`loss` {of} must not be a {what}: its state would not belong to the model. Give a "
            f"Keras loss, or a function `(y_true, y_pred)`. {received('loss', loss)}"
        )
    elif not isinstance(loss, keras.losses.Loss) and not callable(loss):
        raise TypeError(
            f"`loss` {of} must be a Keras loss name, a `keras.losses.Loss` or a function "
            f"`(y_true, y_pred)`. {received('loss', loss)}"
        )


def _check_name(name: str, of: str) -> None:
    try:
        keras.losses.get(name)
    except ValueError as error:
        raise ValueError(
            f"`loss` {of} is not the name of a Keras loss. {received('loss', name)}"
        ) from error
