"""Keeps the gradient of physics that is switched off exactly zero, also where it is not finite."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras

from keras_physreg.layers.step import current_step

_local = threading.local()


@contextlib.contextmanager
def physics_running() -> Iterator[None]:
    """Marks that the user's physics runs: derivatives taken in it pass the shield untouched."""
    outer = getattr(_local, "running", False)
    _local.running = True
    try:
        yield
    finally:
        _local.running = outer


def shield(tensor: Any, active: Any) -> Any:
    """Returns the tensor, with a gradient of exactly 0 where `active` is false.

    A zero weight alone does not shield: 0 * NaN is NaN. The gradient is therefore replaced, not
    multiplied. Physics that itself differentiates the prediction by the input sees the true
    derivative, whatever the weight.

    Args:
        tensor: Tensor of any shape.
        active: Scalar boolean tensor.

    Returns:
        A tensor of the same value, shape and dtype; what is not floating comes back as it is, and
        so does every tensor in a step that is `unshielded`.
    """
    step = current_step()
    floating = keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))
    if not floating or (step is not None and step.unshielded):
        return tensor
    if keras.backend.backend() != "tensorflow":
        # There physics cannot differentiate the prediction by the input, from which this differs.
        return keras.ops.where(active, tensor, keras.ops.stop_gradient(tensor))

    @keras.ops.custom_gradient
    def pass_through(value: Any) -> Any:
        def grad(*args: Any, upstream: Any = None) -> Any:
            gradient = args[0] if upstream is None else upstream
            if getattr(_local, "running", False):
                return gradient
            return keras.ops.where(active, gradient, keras.ops.zeros_like(gradient))

        return value, grad

    return pass_through(tensor)
