"""What differs between backends of Keras: TensorFlow, loaded on use; state of JAX."""

from importlib import import_module
from typing import Any

import keras


class _TensorFlow:
    """TensorFlow, which is imported when it is first used: on other backends it need not exist."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("tensorflow"), name)


tensorflow: Any = _TensorFlow()


def synchronise(model: keras.Layer) -> None:
    """Brings the variables of a model up to date: on JAX, `fit` keeps their values elsewhere.

    A callback of Keras does so by `self.model`; one that closes over a model does not.
    """
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def needs_tensorflow(what: str) -> None:
    """Raises where Keras runs on another backend: call it before anything is touched.

    Args:
        what: What needs it, as the sentence's subject: "`diagnose`".

    Raises:
        NotImplementedError: If Keras runs on another backend than TensorFlow.

    Example:
    >>> needs_tensorflow("`diagnose`")  # Keras runs on TensorFlow here.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise NotImplementedError(
            f"{what} needs the TensorFlow backend, and Keras runs on '{backend}': set the "
            "environment variable KERAS_BACKEND=tensorflow before Keras is imported."
        )
