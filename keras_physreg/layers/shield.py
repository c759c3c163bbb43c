"""Sets the gradient of physics at weight 0 to exactly 0, even if it is not finite.

`where` does so: its gradient selects, and 0 * NaN does not occur. The derivatives that the physics
takes itself must pass, however, and only `tf.gradients` can take them through a shield. TensorFlow
lets one operation have a gradient of its own for `tf.gradients`. A `tf.custom_gradient` would do
both, but TensorFlow keeps each one for ever, with the whole graph in which it is traced.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import keras

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.select import select
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


def shield(tensor: Any, active: Any, holds: Any = None) -> Any:
    """Returns the tensor with a gradient of exactly 0 if `active` is false.

    The gradient is replaced, not multiplied by 0, because 0 * NaN is NaN. Physics that
    differentiates the prediction by the input itself gets the true derivative at any weight.

    Args:
        tensor: Tensor of any shape.
        active: Scalar boolean tensor.
        holds: Boolean tensor with the shape of the first axes: the gradient is exactly 0 where it
            is false, too. `None`: it is true everywhere.

    Returns:
        A tensor of the same value, shape and dtype. A tensor that is not floating is returned
        unchanged. In an `unshielded` step `active` counts as true.
    """
    step = current_step()
    passes = None if step is not None and step.unshielded else active
    if holds is not None:
        passes = holds if passes is None else keras.ops.logical_and(passes, holds)
    floating = keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))
    if not floating or passes is None:
        return tensor
    if keras.backend.backend() != "tensorflow":
        # This also stops derivatives inside the physics, which only TensorFlow can take.
        return select(passes, tensor, keras.ops.stop_gradient(tensor))
    stopped = tf.stop_gradient(tensor)
    if tf.executing_eagerly():
        return select(passes, tensor, stopped)
    graph = tf.compat.v1.get_default_graph()
    with graph.gradient_override_map({"Select": _registered_gradient()}):
        return select(passes, tensor, stopped)


@functools.cache
def _registered_gradient() -> str:
    """Returns the name of a shield's gradient in `tf.gradients`; registers it when first called."""
    name = f"PhysicsShield{id(_local)}"

    @tf.RegisterGradient(name)
    def gradient(shielded: Any, upstream: Any, *more: Any) -> list[Any]:
        if shielded is None:  # `tf.saved_model.save` traces it, for whoever calls it after a load.
            return [None, None, None]
        if not getattr(_local, "inside_physics", False):
            upstream = select(shielded.inputs[0], upstream, tf.zeros_like(upstream))
        return [None, upstream, None]

    return name
