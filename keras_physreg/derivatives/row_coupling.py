"""Whether the output of a network for a row depends on other rows, found by calling it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras.ops import convert_to_numpy

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.owners import with_sublayers

ROWS = 4
RELATIVE_ROUNDING = 1e-4


def depends_on_other_rows(network: keras.layers.Layer, shapes: Any, training: bool) -> bool:
    """Returns whether the output of a network for a row changes with another row.

    The network is called twice on random rows, of which one differs, and keeps its state.

    Args:
        network: A built network.
        shapes: Shape of the input, or a dict of shapes by name.
        training: Whether to call the network in training mode.

    Returns:
        Whether other rows change. `False` if the network cannot be called here.
    """
    first, second = _rows(shapes, 0), _rows(shapes, 0)
    for array, other in zip(*map(keras.tree.flatten, (first, second)), strict=True):
        other[0] = array[0] + 1.0
    try:
        with _eagerly():
            before, after = (_called(network, rows, training) for rows in (first, second))
    except Exception:  # The network has other demands on its input, or has no values here.
        return False
    scale = np.max(np.abs(before), initial=0.0)
    if not np.isfinite(scale):
        return False
    return not np.allclose(before, after, rtol=0.0, atol=RELATIVE_ROUNDING * scale)


def layers_over_rows(network: keras.layers.Layer) -> list[str]:
    """Returns the layers of a network that normalise over the batch in training, for messages."""
    return [
        f"'{layer.name}' ({type(layer).__name__})"
        for layer in with_sublayers(network)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]


def _rows(shapes: Any, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    if isinstance(shapes, dict):
        return {key: rng.normal(size=(ROWS, *shape[1:])) for key, shape in shapes.items()}
    return rng.normal(size=(ROWS, *shapes[1:]))


def _called(network: keras.layers.Layer, rows: Any, training: bool) -> np.ndarray:
    tensors = keras.tree.map_structure(lambda a: keras.ops.convert_to_tensor(a, "float32"), rows)
    with keras.StatelessScope(initialize_variables=False):
        return convert_to_numpy(network(tensors, training=training))[1:]


@contextlib.contextmanager
def _eagerly() -> Iterator[None]:
    """Leaves the trace of a program, in which tensors have no values."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        with tf.init_scope():
            yield
    elif backend == "jax":
        import jax

        with jax.ensure_compile_time_eval():
            yield
    else:
        yield
