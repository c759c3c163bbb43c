"""Rewrites errors of the user's functions: names the function and line, explains NumPy errors."""

import functools
import traceback
from collections.abc import Sequence
from types import CodeType
from typing import Any

import keras


def explained(
    error: Exception, function: Any, subject: str, terms: Sequence[str] = ()
) -> Exception:
    """Returns an error of the same type that names the user's function and the line.

    Where the function calls NumPy on a symbolic tensor, the message says so, and the error is a
    `TypeError`.

    It also explains a derivative that is None: `tf.gradients` returns None, and the error of the
    function that uses it does not name the cause. And it names the cure where `tf.gradients` cannot
    work.

    Args:
        error: What the function raised.
        function: The user's callable.
        subject: What the function is: "The physics `f` of layer 'l'".
        terms: Names of the terms that it computes.
    """
    last = _last_frame(error, function)
    message = (
        f"{subject} raised {type(error).__name__} at line {last.lineno} of {last.filename} "
        f"(in `{last.name}`): {error}"
    )
    kind: type[Exception] = type(error)
    if _is_of_numpy(error):
        kind = TypeError
        message += (
            "\n\nIt calls NumPy, or `.numpy()`, on a symbolic tensor: tensors have no values while "
            "Keras traces the training step, and NumPy passes no gradient back. Use `keras.ops` "
            "instead (`np.exp` becomes `keras.ops.exp`)."
        )
    if is_of_none(error):
        of = f"of {', '.join(map(repr, terms))} " if terms else ""
        message += (
            f"\n\nSomething {of}is None. `tf.gradients(u, x)` is None where `u` was not computed "
            "from this very `x`: from a slice such as `z[:, :1]` that the physics makes itself, "
            "from inputs that the prediction does not depend on, or where `u` is linear in `x` and "
            "`x` is no longer in its derivative. Differentiate by the `inputs` that the physics "
            "gets, as a whole, and take the columns of the derivative."
        )
    if "tf.gradients is not supported" in str(error):
        message += (
            "\n\n`tf.gradients` works only while TensorFlow traces a program, as in `fit`. Let "
            "`keras_physreg.Derivatives` compute the derivatives: it works everywhere."
        )
    try:
        rewritten = kind(message)
    except Exception:  # Some errors, such as those of TensorFlow, take other arguments.
        rewritten = RuntimeError(message)
    # Keras drops the cause of errors raised in a layer, but keeps the traceback.
    return rewritten.with_traceback(error.__traceback__)


def unwrapped(function: Any) -> Any:
    """Returns the Python function inside a `functools.partial`, a `tf.function` or a wrapper."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(type(function), "python_function"):  # A `tf.function`.
            function = function.python_function
        elif "__wrapped__" in getattr(function, "__dict__", {}):
            function = function.__wrapped__
        else:
            return function


def _code(function: Any) -> CodeType | None:
    """Returns the code object that a call runs, or `None` if it is not written in Python."""
    function = unwrapped(function)
    if isinstance(function, type):
        function = vars(function).get("__init__")
    elif isinstance(function, keras.layers.Layer):
        function = function.call
    elif not hasattr(function, "__code__"):
        function = type(function).__call__
    return getattr(unwrapped(function), "__code__", None)


def _last_frame(error: Exception, function: Any) -> traceback.FrameSummary:
    """Returns the last frame in the file of the function, or the last frame if none is there."""
    frames = traceback.extract_tb(error.__traceback__)
    code = _code(function)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    return (own or frames)[-1]


def is_of_none(error: Exception) -> bool:
    """Returns whether an error comes from using None, such as a missing derivative."""
    return isinstance(error, AttributeError | TypeError | ValueError) and (
        "NoneType" in str(error) or "None values not supported" in str(error)
    )


def _is_of_numpy(error: Exception) -> bool:
    text = str(error)
    if isinstance(error, NotImplementedError):
        return "numpy" in text.lower()
    return isinstance(error, AttributeError) and "has no attribute 'numpy'" in text
