"""Differences between Keras backends: TensorFlow, imported on first use, and the state of JAX."""

from importlib import import_module
from typing import Any

import keras


class _TensorFlow:
    """TensorFlow, imported on first use: with another backend it need not be installed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("tensorflow"), name)


tensorflow: Any = _TensorFlow()


def synchronise(model: keras.Layer) -> None:
    """Updates the variables of a model: on JAX, `fit` keeps the current values outside of them.

    Keras does this for a callback that reads `self.model`, but not for one that reads the model
    from a variable of its own.
    """
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def needs_tensorflow(what: str) -> None:
    """Raises if Keras does not run on TensorFlow; call it before anything is changed.

    Args:
        what: The feature that needs TensorFlow, as the subject of a sentence: "`diagnose`".

    Raises:
        NotImplementedError: If Keras runs on another backend than TensorFlow.

    Example:
    >>> needs_tensorflow("`diagnose`")  # Keras runs on TensorFlow here.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise NotImplementedError(
            f"{what} needs the TensorFlow backend, but Keras runs on '{backend}'. Set the "
            "environment variable KERAS_BACKEND=tensorflow before you import Keras."
        )
