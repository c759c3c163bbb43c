"""Compiles functions of batches, records gradients, and reads what was traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg.diagnosis.probe_rows import Rows

# Operations that hide others.
OPAQUE = (
    *("PartitionedCall", "StatefulPartitionedCall", "PyFunc", "PyFuncStateless", "EagerPyFunc"),
    *("If", "StatelessIf", "While", "StatelessWhile"),
)


def compiled(
    model: keras.Model, function: Callable, rows: Rows, batch_size: int, *others: np.ndarray
) -> Callable:
    """Returns a function of `(x, y, sample_weight, *others)`, traced once for any number of rows.

    Args:
        model: The model that runs in it.
        function: What to compile.
        rows: Rows of the shapes and dtypes to come.
        batch_size: Rows in a batch.
        *others: Arrays of the shapes and dtypes of what comes beside the rows.
    """
    if model.run_eagerly:
        return function
    program = tf.function(function, autograph=False)
    first = next(rows.batches(batch_size))
    data = (first.x, first.y, first.sample_weight)
    specs = [tf.TensorSpec(other.shape, other.dtype) for other in others]
    program.get_concrete_function(*tf.nest.map_structure(of_any_size, data), *specs)
    return program


def broadcasts_rows(output: Any, sources: Sequence[Any]) -> bool | None:
    """Returns whether `(rows,)` is broadcast against `(rows, 1)` on the way to a tensor.

    Args:
        output: A tensor.
        sources: The tensors at which the way begins.

    Returns:
        `None` where the way cannot be seen: it is not traced, or leads through another program.
    """
    if not tf.is_symbolic_tensor(output):
        return None
    seen, waiting, opaque = {source.ref() for source in sources}, [output], False
    while waiting:
        tensor = waiting.pop()
        if tensor.ref() not in seen:
            seen.add(tensor.ref())
            if _pairs_rows(tensor.op):
                return True
            opaque |= tensor.op.type in OPAQUE
            waiting += tensor.op.inputs
    return None if opaque else False


def new_tape() -> tf.GradientTape:
    """Returns a tape from which more than one gradient may be taken."""
    return tf.GradientTape(persistent=True)


def gradient_or_none(
    tape: tf.GradientTape, target: Any, sources: list[Any], start: Any = None
) -> list[Any] | None:
    """Returns a gradient by several tensors; `None` where an operation has none.

    Args:
        tape: A tape that has recorded how the target came about.
        target: Tensor to differentiate.
        sources: Tensors to differentiate by; of those it does not depend on the gradient is `None`.
        start: The gradient that comes in from above, of the target's shape.
    """
    try:
        return tape.gradient(target, sources, output_gradients=start)
    except (LookupError, NotImplementedError):
        return None


def of_any_size(array: Any) -> Any:
    """Returns the spec of batches like this one, with any number of rows."""
    return None if array is None else tf.TensorSpec((None, *array.shape[1:]), array.dtype)


def _pairs_rows(operation: tf.Operation) -> bool:
    """Returns whether an operation makes `(rows, rows)` of `(rows, 1)` and `(rows,)`."""
    shapes = [tensor.shape for tensor in operation.inputs if tensor.shape.rank]
    for made in (tensor.shape for tensor in operation.outputs if tensor.shape.rank):
        longest = [s for s in shapes if s.rank == made.rank and s[0] is None]
        for shape in shapes:
            axis = made.rank - shape.rank
            if axis and shape[0] is None and made[0] is None and made[axis] is None:
                return any(other[axis] == 1 for other in longest)
    return False
