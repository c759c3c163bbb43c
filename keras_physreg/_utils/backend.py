"""Which backend Keras runs on, and the one sentence of what needs TensorFlow."""

import keras


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
