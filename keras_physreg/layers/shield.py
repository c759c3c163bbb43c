"""Sets the gradient of physics at weight 0 to exactly 0, even if it is not finite."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras

from keras_physreg.layers.step import current_step

_local = threading.local()


@contextlib.contextmanager
def inside_physics() -> Iterator[None]:
    """Marks that the user's physics runs: derivatives that it takes itself are not shielded."""
    outer = getattr(_local, "inside_physics", False)
    _local.inside_physics = True
    try:
        yield
    finally:
        _local.inside_physics = outer


def shield(tensor: Any, active: Any) -> Any:
    """Returns the tensor with a gradient of exactly 0 if `active` is false.

    The gradient is replaced, not multiplied by 0, because 0 * NaN is NaN. Physics that
    differentiates the prediction by the input itself gets the true derivative at any weight.

    Args:
        tensor: Tensor of any shape.
        active: Scalar boolean tensor.

    Returns:
        A tensor of the same value, shape and dtype. A tensor that is not floating is returned
        unchanged, and so is every tensor in an `unshielded` step.
    """
    step = current_step()
    floating = keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))
    if not floating or (step is not None and step.unshielded):
        return tensor
    if keras.backend.backend() != "tensorflow":
        # This also stops derivatives inside the physics, which only TensorFlow can take.
        return keras.ops.where(active, tensor, keras.ops.stop_gradient(tensor))

    @keras.ops.custom_gradient
    def pass_through(value: Any) -> Any:
        def grad(*args: Any, upstream: Any = None) -> Any:
            gradient = args[0] if upstream is None else upstream
            if getattr(_local, "inside_physics", False):
                return gradient
            return keras.ops.where(active, gradient, keras.ops.zeros_like(gradient))

        return value, grad

    return pass_through(tensor)
